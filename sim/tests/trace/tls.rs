//! What a trace shows of packets that are encrypted.

use quicpool_core::Config;
use quicpool_sim::{
    Crypto, Net, secs,
    trace::{PacketKind, Recorder},
};

#[test]
fn packets_of_tls_are_told_by_their_headers_alone() {
    let recorder = Recorder::new();
    let mut net = Net::new(1).crypto(Crypto::Tls);
    net.record(&recorder);
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    net.send(a, b, b"hello");
    net.advance(secs(1));
    assert!(net.are_connected(a, b));

    let recording = recorder.take();
    let packets = recording.datagrams.iter();
    let packets: Vec<_> = packets.flat_map(|datagram| &datagram.packets).collect();
    let is_closed = packets
        .iter()
        .all(|packet| packet.number.is_none() && packet.frames.is_empty());
    assert!(is_closed, "{packets:?}");
    for kind in [
        PacketKind::Initial,
        PacketKind::Handshake,
        PacketKind::OneRtt,
    ] {
        assert!(
            packets.iter().any(|packet| packet.kind == kind),
            "no {kind:?}"
        );
    }
    assert!(
        packets
            .iter()
            .all(|packet| packet.kind != PacketKind::Unknown)
    );
}
