//! What is peculiar to sessions of [`Checksum`], and what they do with nonsense.

use proptest::prelude::*;
use quicpool_core::{Credentials, PeerId};
use quicpool_sim::{Checksum, Crypto, HandshakeData};
use quinn_proto::crypto::Session;

use crate::{
    pair::{Pair, code},
    sessions::{self, Damaged, relay},
};

#[test]
fn both_ends_read_which_protocol_is_spoken() {
    let mut pair = Pair::connected(Crypto::Checksum, 1);
    for host in [&mut pair.client, &mut pair.server] {
        let data = host.connection().crypto_session().handshake_data();
        let data = data.expect("it is negotiated").downcast::<HandshakeData>();
        let protocol = b"quicpool/1-d1".to_vec();
        assert_eq!(
            data.ok().map(|data| *data),
            Some(HandshakeData { protocol })
        );
    }
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
fn ends_with_different_protocols_do_not_meet() {
    let stranger = peer(2).with_protocol(b"quicpool/2");
    let mut pair = Pair::new(peer(1), stranger);
    pair.dial();
    pair.run();
    assert!(!pair.client.connected);
    assert_eq!(code(pair.client.lost.as_ref()), Some(0x178));
    assert_eq!(code(pair.server.lost.as_ref()), Some(0x178));
}

#[test]
fn an_anonymous_end_is_nobody() {
    let mut pair = Pair::new(peer(1).anonymous(), peer(2));
    pair.dial();
    pair.run();
    assert!(pair.client.connected && pair.server.connected);
    assert_eq!(pair.client.peer(), Some(peer(2).local_id()));
    assert_eq!(pair.server.peer(), None);
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

/// Both ends of a session, without QUIC around them.
fn sessions() -> (Box<dyn Session>, Box<dyn Session>) {
    sessions::sessions(&peer(1), &peer(2))
}

fn peer(number: u8) -> Checksum {
    Checksum::new(PeerId::from_bytes([number; 32]), 1)
}

/// Reads bytes as quinn-proto does, whatever comes of it.
fn offer(session: &mut dyn Session, bytes: &[u8]) {
    if session.read_handshake(bytes).is_ok() {
        let _ = session.transport_parameters();
        session.write_handshake(&mut Vec::new());
        session.peer_identity();
    }
}
