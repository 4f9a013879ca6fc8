//! What a ticket costs in memory, and what it saves.

use std::time::{Duration, Instant};

use quicpool_core::{Credentials, Identity, PeerId};
use quinn_proto::crypto::Session;

use crate::heap::{alone, growth};

#[path = "../crypto/sessions.rs"]
#[expect(dead_code, reason = "the tests of the cryptographies need more of it")]
mod sessions;

const PEERS: usize = 500;

/// What a session with a ticket may take beyond one without, at both ends of it together.
const TICKET_BYTES_MAX: usize = 2_048;

#[test]
fn a_ticket_takes_less_than_two_kibibytes_at_both_ends_together() {
    let _alone = alone();
    let server = Identity::from_seed(&[1; 32]).credentials();
    let client = Identity::from_seed(&[2; 32]).credentials();
    // Buffers of the libraries that are made once.
    drop(handshake(&*client, &*server, name(0)));

    let ours = per_peer(|number| {
        let server = Identity::from_seed(&seed(number)).credentials();
        drop(handshake(&*client, &*server, server.local_id()));
    });
    let theirs = per_peer(|number| {
        let client = Identity::from_seed(&seed(number)).credentials();
        drop(handshake(&*client, &*server, server.local_id()));
    });
    println!("a ticket takes {ours} bytes at the dialler, and {theirs} at the other end");
    assert!(ours + theirs <= TICKET_BYTES_MAX);
    assert!(ours > 200 && theirs > 200, "something is kept");
}

#[test]
fn tickets_of_one_peer_do_not_add_up() {
    let _alone = alone();
    let server = Identity::from_seed(&[1; 32]).credentials();
    let client = Identity::from_seed(&[2; 32]).credentials();
    let peer = server.local_id();
    for _ in 0..3 {
        drop(handshake(&*client, &*server, peer));
    }
    let ((), grown) = growth(|| {
        for _ in 0..100 {
            drop(handshake(&*client, &*server, peer));
        }
    });
    assert!(grown < 2_048, "{grown} bytes");
}

#[test]
fn a_handshake_by_ticket_is_cheaper() {
    let _alone = alone();
    let server = Identity::from_seed(&[1; 32]).credentials();
    let client = Identity::from_seed(&[2; 32]).credentials();
    let full = measure(|number| handshake(&*client, &*server, name(number)).1);
    let resumed = measure(|_| handshake(&*client, &*server, name(0)).1);
    println!("full: {full:?}; by ticket: {resumed:?} (both ends, and bytes of TLS)");
    assert!(resumed.1 + 400 < full.1, "{resumed:?} and {full:?}");
}

/// The time and the bytes of a handshake, on average.
fn measure(handshake: impl Fn(usize) -> usize) -> (Duration, usize) {
    let start = Instant::now();
    let bytes: usize = (1..=PEERS).map(handshake).sum();
    (start.elapsed() / PEERS as u32, bytes / PEERS)
}

/// Bytes that each piece of work leaves behind, on average.
fn per_peer(mut work: impl FnMut(usize)) -> usize {
    let ((), grown) = growth(|| (1..=PEERS).for_each(&mut work));
    usize::try_from(grown).expect("it grows") / PEERS
}

/// Both ends of a connection whose handshake is complete, and the bytes of that.
type Ends = ([Box<dyn Session>; 2], usize);

fn handshake(client: &dyn Credentials, server: &dyn Credentials, name: PeerId) -> Ends {
    let (mut dialler, mut acceptor) = sessions::sessions_as(client, server, name);
    let mut bytes = 0;
    for _ in 0..2 {
        bytes += sessions::relay(&mut *dialler, &mut *acceptor);
        bytes += sessions::relay(&mut *acceptor, &mut *dialler);
    }
    assert!(!dialler.is_handshaking() && !acceptor.is_handshaking());
    ([dialler, acceptor], bytes)
}

fn name(number: usize) -> PeerId {
    PeerId::from_bytes(seed(number))
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed
}
