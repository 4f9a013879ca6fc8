//! Sessions of [`Checksum`] under quinn-proto: what TLS does, they do, and always the same way.

use bytes::BytesMut;
use proptest::prelude::*;
use quicpool_core::Credentials;
use quicpool_sim::{Checksum, HandshakeData};
use quinn_proto::{
    ConnectionError, ConnectionId, Side, TransportError, crypto::Session,
    transport_parameters::TransportParameters,
};

use crate::pair::{Damage, Pair, code, hang_up, id};

mod pair;

#[test]
fn both_ends_read_who_the_other_is() {
    let mut pair = Pair::connected(1);
    assert_eq!(pair.client.peer(), Some(id(2)));
    assert_eq!(pair.server.peer(), Some(id(1)));
    for host in [&mut pair.client, &mut pair.server] {
        let data = host.connection().crypto_session().handshake_data();
        let data = data.expect("it is negotiated").downcast::<HandshakeData>();
        let protocol = b"quicpool/1".to_vec();
        assert_eq!(
            data.ok().map(|data| *data),
            Some(HandshakeData { protocol })
        );
    }
}

#[test]
fn a_message_arrives() {
    let mut pair = Pair::connected(1);
    let sent: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
    pair.send_and_check(&sent);
}

#[test]
fn exports_agree_and_differ_by_label_context_and_connection() {
    let mut pair = Pair::connected(1);
    let first = pair.client.export(b"label", b"context");
    assert_eq!(first, pair.server.export(b"label", b"context"));
    assert_ne!(first, pair.client.export(b"lab", b"elcontext"));
    assert_ne!(first, pair.client.export(b"label", b"other"));

    hang_up(&mut pair);
    pair.dial();
    pair.run();
    let second = pair.client.export(b"label", b"context");
    assert_eq!(second, pair.server.export(b"label", b"context"));
    assert_ne!(first, second);
}

#[test]
fn nothing_is_exported_too_early_or_too_long() {
    let (mut client, mut server) = sessions();
    relay(&mut *client, &mut *server);
    assert!(server.is_handshaking());
    assert!(
        server
            .export_keying_material(&mut [0; 32], b"", b"")
            .is_err()
    );

    relay(&mut *server, &mut *client);
    relay(&mut *client, &mut *server);
    assert!(!server.is_handshaking());
    assert!(
        server
            .export_keying_material(&mut [0; 8_160], b"", b"")
            .is_ok()
    );
    assert!(
        server
            .export_keying_material(&mut [0; 8_161], b"", b"")
            .is_err()
    );
}

#[test]
fn damaged_datagrams_count_as_lost() {
    let damages: [fn(&mut BytesMut); 4] = [
        |bytes| bytes[9] ^= 0x10,
        |bytes| bytes[30] ^= 0x01,
        |bytes| *bytes.last_mut().expect("it is not empty") ^= 0x80,
        |bytes| bytes.truncate(bytes.len() / 2),
    ];
    for change in damages {
        let mut pair = Pair::connected(1);
        pair.damage = Some(Damage {
            place: pair.trace.len(),
            change,
        });
        pair.send_and_check(b"whole");
        assert!(pair.client.connection().stats().path.lost_packets > 0);
    }
}

#[test]
fn a_damaged_hello_is_sent_again() {
    let mut pair = Pair::new(Checksum::new(id(1), 1), Checksum::new(id(2), 1));
    pair.damage = Some(Damage {
        place: 0,
        change: |bytes| bytes[100] ^= 1,
    });
    pair.dial();
    pair.run();
    assert!(pair.client.connected && pair.server.connected);
}

#[test]
fn messages_arrive_across_key_updates_from_either_end() {
    let mut pair = Pair::connected(1);
    for round in 0..6u8 {
        // Keys may be updated again only once a packet under the present ones is acknowledged.
        pair.send_and_check(&[round]);
        match round % 2 {
            0 => pair.client.connection().force_key_update(),
            _ => pair.server.connection().force_key_update(),
        }
        pair.send_and_check(&[round; 3_000]);
    }
    assert_eq!(pair.client.lost, None);
    assert_eq!(pair.client.connection().stats().path.lost_packets, 0);
    assert_eq!(key_phase_flips(&pair), 6);
}

#[test]
fn a_restarted_process_resets_the_connections_of_its_predecessor() {
    let mut pair = Pair::connected(1);
    pair.restart_server(Checksum::new(id(2), 2));
    pair.client.send(&[0; 500]);
    pair.run();
    assert_eq!(pair.client.lost, Some(ConnectionError::Reset));
}

#[test]
fn a_retry_is_followed() {
    let mut pair = Pair::new(Checksum::new(id(1), 1), Checksum::new(id(2), 1));
    pair.server.retries = true;
    pair.dial();
    pair.run();
    assert!(pair.client.connected && pair.server.connected);
    let retry = &pair.trace[1].1;
    assert_eq!(
        retry[0] & 0xf0,
        0xf0,
        "the server's first packet is a Retry"
    );
}

#[test]
fn a_retry_is_valid_only_as_it_was_written() {
    let server = Checksum::new(id(2), 1).server_config();
    let (client, _) = sessions();
    let dialled = ConnectionId::new(&[8; 8]);
    let (header, token) = (*b"header", *b"token");
    let tag = server.retry_tag(1, &dialled, b"headertoken");
    let payload = [&token[..], &tag].concat();
    assert!(client.is_valid_retry(&dialled, &header, &payload));

    assert!(!client.is_valid_retry(&ConnectionId::new(&[9; 8]), &header, &payload));
    assert!(!client.is_valid_retry(&dialled, b"heater", &payload));
    assert!(!client.is_valid_retry(&dialled, &header, &payload[1..]));
    assert!(!client.is_valid_retry(&dialled, &header, &tag[1..]));
}

#[test]
fn ends_with_different_protocols_do_not_meet() {
    let stranger = Checksum::new(id(2), 1).with_protocol(b"quicpool/2");
    let mut pair = Pair::new(Checksum::new(id(1), 1), stranger);
    pair.dial();
    pair.run();
    assert!(!pair.client.connected);
    assert_eq!(code(pair.client.lost.as_ref()), Some(0x178));
    assert_eq!(code(pair.server.lost.as_ref()), Some(0x178));
}

#[test]
fn an_anonymous_end_is_nobody() {
    let mut pair = Pair::new(Checksum::new(id(1), 1).anonymous(), Checksum::new(id(2), 1));
    pair.dial();
    pair.run();
    assert!(pair.client.connected && pair.server.connected);
    assert_eq!(pair.client.peer(), Some(id(2)));
    assert_eq!(pair.server.peer(), None);
}

#[test]
fn flights_are_as_long_as_those_of_tls() {
    let (mut client, mut server) = sessions();
    let lens = [
        relay(&mut *client, &mut *server),
        relay(&mut *server, &mut *client),
        relay(&mut *client, &mut *server),
    ];
    assert_eq!(lens, [260, 90 + 700, 300]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed| {
        let mut pair = Pair::connected(seed);
        pair.send_and_check(&[5; 10_000]);
        pair.trace
    };
    let first = run(1);
    assert!(first == run(1));
    assert!(first != run(2));
}

#[test]
fn a_message_across_a_change_of_keys_is_refused() {
    let (mut client, mut server) = sessions();
    let mut hello = Vec::new();
    assert!(client.write_handshake(&mut hello).is_none());
    hello.push(11);
    let error = server.read_handshake(&hello).expect_err("a byte is left");
    assert_eq!(u64::from(error.code), 0x10a);
}

proptest! {
    #[test]
    fn noise_for_a_hello_never_panics(
        kind in 0u8..16,
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (mut client, mut server) = sessions();
        client.write_handshake(&mut Vec::new());
        let mut message = vec![kind, 0, (body.len() >> 8) as u8, body.len() as u8];
        message.extend_from_slice(&body);
        offer(&mut *server, &message);
        offer(&mut *client, &message);
        offer(&mut *server, &body);
    }

    #[test]
    fn a_damaged_handshake_never_panics_nor_ends_well(
        place in 0usize..4,
        at in 0usize..90,
        flip in 1u8..,
    ) {
        let (mut client, mut server) = sessions();
        let mut damage = Damaged { place, at, flip };
        let _ = damage.relay(&mut *client, &mut *server);
        let _ = damage.relay(&mut *server, &mut *client);
        let _ = damage.relay(&mut *client, &mut *server);
        prop_assert!(client.is_handshaking() || server.is_handshaking());
    }
}

/// How often the key phase bit (RFC 9001 section 6) has changed on the wire.
fn key_phase_flips(pair: &Pair) -> usize {
    let first_bytes = pair.trace.iter().map(|(_, bytes)| bytes[0]);
    let mut phases: Vec<u8> = first_bytes
        .filter(|first| first & 0x80 == 0)
        .map(|first| first & 0x04)
        .collect();
    phases.dedup();
    phases.len() - 1
}

/// Both ends of a session, without QUIC around them.
fn sessions() -> (Box<dyn Session>, Box<dyn Session>) {
    let (client, server) = (Checksum::new(id(1), 1), Checksum::new(id(2), 1));
    let params = TransportParameters::read(Side::Client, &mut &[][..]).expect("none is needed");
    let client = client.client_config(id(2));
    let client = client.start_session(1, "", &params);
    let server = server.server_config().start_session(1, &params);
    (client.expect("version 1 is spoken"), server)
}

/// Carries all that `from` has to say to `to`, and gives its length.
fn relay(from: &mut dyn Session, to: &mut dyn Session) -> usize {
    let mut none = Damaged {
        place: usize::MAX,
        at: 0,
        flip: 0,
    };
    none.relay(from, to).expect("the handshake goes on")
}

/// Changes one byte of the message after the next `place`.
struct Damaged {
    place: usize,
    at: usize,
    flip: u8,
}

impl Damaged {
    fn relay(
        &mut self,
        from: &mut dyn Session,
        to: &mut dyn Session,
    ) -> Result<usize, TransportError> {
        let mut carried = 0;
        for mut message in messages(from) {
            if carried > 0 {
                // Keys are taken between two messages, as quinn-proto does between two packets.
                to.write_handshake(&mut Vec::new());
            }
            if self.place == 0 {
                message[self.at] ^= self.flip;
            }
            self.place = self.place.wrapping_sub(1);
            to.read_handshake(&message)?;
            carried += message.len();
        }
        Ok(carried)
    }
}

/// All that a session has to say.
fn messages(session: &mut dyn Session) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    loop {
        let mut message = Vec::new();
        let keys = session.write_handshake(&mut message);
        if message.is_empty() && keys.is_none() {
            return messages;
        }
        if !message.is_empty() {
            messages.push(message);
        }
    }
}

/// Reads bytes as quinn-proto does, whatever comes of it.
fn offer(session: &mut dyn Session, bytes: &[u8]) {
    if session.read_handshake(bytes).is_ok() {
        let _ = session.transport_parameters();
        session.write_handshake(&mut Vec::new());
        session.peer_identity();
    }
}
