//! Sealing as the other end sees it: which key and which nonce each record was sealed with.

use std::collections::BTreeSet;

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use quicpool_core::Config;
use quicpool_sim::{Net, ms};

use crate::{
    bytes::Heard,
    raw::{RawHello, RawPeer},
};

/// Header and tag of a record, in bytes.
const HEADER_LEN: usize = 16;
const TAG_LEN: usize = 16;

#[test]
fn no_pair_of_key_and_nonce_recurs_over_reconnects_and_resends() {
    let mut config = Config::default();
    config.batch_messages_max = 10;
    let mut net = Net::new(3);
    let node = net.node(config);
    let mut peer = RawPeer::new(9);
    let addr = peer.peer_addr();
    net.with(node, |m, now| m.add_address(now, addr))
        .expect("known");
    for number in 0..200u64 {
        net.with(node, |m, now| m.send(now, addr.id, &number.to_be_bytes()))
            .expect("room");
    }

    // Nothing is ever acknowledged, so each connection is given all of it again.
    let (mut keys, mut ciphertexts) = (BTreeSet::new(), BTreeSet::new());
    for connection in 0..5 {
        let records = receive(&mut net, &mut peer);
        let mut key = [0; 32];
        peer.export(b"EXPORTER-quicpool-seal", &mut key);
        assert!(
            keys.insert(key),
            "connection {connection} has a key of its own"
        );

        let half = Heard::of(&peer.read_control()).half;
        let mut messages = Vec::new();
        for (nonce, record) in records.iter().enumerate() {
            messages.extend(open(&key, nonce as u64, &half, record));
            assert!(
                ciphertexts.insert(record[HEADER_LEN..].to_vec()),
                "sealed anew"
            );
        }
        assert_eq!(messages, (0..200).collect::<Vec<u64>>());
        // Evicted: the session goes on.
        peer.close(&mut net, 0x02);
    }
    assert_eq!(ciphertexts.len(), 5 * 20);
    let counters = net.metrics(node).expect("it is up").counters;
    assert_eq!(counters.messages_resent, 4 * 200);
}

// Helpers

/// Waits for the next connection, greets, and reads the records that come.
fn receive(net: &mut Net, peer: &mut RawPeer) -> Vec<Vec<u8>> {
    peer.forget_connection();
    for _ in 0..10_000 {
        peer.run(net, ms(1));
        if peer.is_connected() {
            break;
        }
    }
    peer.greet(&RawHello::sealed());
    peer.run(net, ms(100));

    let mut rest = &peer.read_data()[..];
    let mut records = Vec::new();
    while let Some((len, _)) = rest.split_first_chunk() {
        let len = HEADER_LEN + u32::from_be_bytes(*len) as usize + TAG_LEN;
        records.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    records
}

/// Opens the record of line 0 that was sealed with this key as the one with this number, and no other.
pub(crate) fn open(key: &[u8; 32], number: u64, half: &[u8; 16], record: &[u8]) -> Vec<u64> {
    let cipher = ChaCha20Poly1305::new(key.into());
    let mut bytes = [0; 12];
    // The second stream of its end.
    bytes[3] = 1;
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    let (header, msg) = record.split_at(HEADER_LEN);
    let aad = &[&half[..], &[0; 8], header].concat();
    let body = cipher.decrypt(&Nonce::from(bytes), Payload { msg, aad });
    let body = body.expect("sealed with the key of this connection and the count of its records");
    numbers(&body)
}

/// The messages of a body, each of which is a number.
pub(crate) fn numbers(body: &[u8]) -> Vec<u64> {
    body.chunks(9)
        .map(|message| u64::from_be_bytes(message[1..].try_into().expect("eight bytes")))
        .collect()
}
