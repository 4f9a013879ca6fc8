//! Peers that are not known: views return `None`, verbs return `UnknownPeer` and change nothing.

use std::{collections::BTreeSet, time::Instant};

use quicpool_core::{
    Config, Identity, Incarnation, Losses, Manager, MessageKey, PeerAddr, PeerError, PeerId,
    SendDatagramError, SendError, Undeliverable,
    driver::{BatchLimits, DatagramQueue, OpenBatch, TakenMessages},
};

type Verb = fn(&mut Manager, Instant, PeerId) -> Result<(), PeerError>;
type View = fn(&Manager, Instant, PeerId) -> bool;

/// Each verb about a peer, but for those that make it known.
const VERBS: &[(&str, Verb)] = &[
    ("remove_address", |m, now, id| {
        m.remove_address(now, address(id))
    }),
    ("protect", |m, _, id| m.protect(id)),
    ("unprotect", |m, _, id| m.unprotect(id)),
    ("disconnect", |m, now, id| m.disconnect(now, id)),
    ("forget", |m, now, id| m.forget(now, id)),
    ("unblock", |m, _, id| m.unblock(id)),
    ("verdict", |m, _, id| m.verdict(id)),
    ("connect", |m, now, id| m.connect(now, id)),
    ("send", |m, now, id| sent(m.send(now, id, b"").map(drop))),
    ("send_many", |m, now, id| {
        sent(m.send_many(now, id, &[b""]).map(drop))
    }),
    ("send_express", |m, now, id| {
        sent(m.send_express(now, id, b"").map(drop))
    }),
    ("send_confirmed", |m, now, id| {
        sent(m.send_confirmed(now, id, b"", 7))
    }),
    ("send_until", |m, now, id| {
        sent(m.send_until(now, id, b"", now).map(drop))
    }),
    ("cancel", |m, now, id| m.cancel(now, id, 7.into()).map(drop)),
    ("flush", |m, now, id| m.flush(now, id, 7)),
    ("cancel_flush", |m, now, id| m.cancel_flush(now, id, 7)),
    ("return_losses", |m, now, id| {
        let losses = Losses::new(0..1, Undeliverable::Disconnected);
        m.driver().return_losses(now, id, &losses)
    }),
    ("want_room", |m, now, id| m.want_room(now, id, 1)),
    ("receive", |m, now, id| {
        m.receive(now, id, 1, &mut Vec::new()).map(drop)
    }),
    ("send_datagram", |m, now, id| {
        match m.send_datagram(now, id, b"") {
            Err(SendDatagramError::Peer(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    }),
    ("receive_datagrams", |m, now, id| {
        m.receive_datagrams(now, id, 1, &mut Vec::new()).map(drop)
    }),
    ("receive_held", |m, now, id| {
        m.receive_held(now, id, 1, &mut Vec::new()).map(drop)
    }),
    ("done", |m, now, id| m.done(now, key_of(id))),
    ("mark_taken", |m, now, id| {
        m.driver().mark_taken(now, &TakenMessages::new(key_of(id)))
    }),
];

/// Each view of a peer: whether there is nothing to see.
const VIEWS: &[(&str, View)] = &[
    ("status", |m, _, id| m.status(id).is_none()),
    ("health", |m, _, id| m.health(id).is_none()),
    ("datagram_bytes_max", |m, _, id| {
        m.datagram_bytes_max(id).is_none()
    }),
    ("message_bytes_max", |m, _, id| {
        m.message_bytes_max(id).is_none()
    }),
    ("peer_metrics", |m, _, id| m.peer_metrics(id).is_none()),
    ("connections", |m, _, id| m.connections(id).is_none()),
    ("explain", |m, now, id| m.explain(now, id).is_none()),
    ("room", |m, _, id| m.room(id).is_none()),
];

/// Each verb that makes a peer known.
const INTRODUCTIONS: &[(&str, Verb)] = &[
    ("add_peer", |m, now, id| m.add_peer(now, id)),
    ("add_address", |m, now, id| m.add_address(now, address(id))),
    ("block", |m, now, id| m.block(now, id)),
    ("handle_staged", |m, now, id| {
        let mut staged = OpenBatch::new(BatchLimits::of(m.config()));
        staged.append(now, b"accepted before");
        m.driver().handle_staged(now, id, &mut staged);
        Ok(())
    }),
    ("number_next", |m, now, id| {
        m.driver().number_next(now, id, 7.into());
        Ok(())
    }),
    ("expire_next", |m, now, id| {
        m.driver().expire_next(now, id, now);
        Ok(())
    }),
    ("confirm_next", |m, now, id| {
        m.driver().confirm_next(now, id, 7);
        Ok(())
    }),
];

#[test]
fn a_verb_names_a_peer_that_is_not_known_and_changes_nothing() {
    let (now, id) = (epoch(), stranger());
    for (name, verb) in VERBS {
        let mut machine = machine(now);
        let before = (machine.occupancy(), machine.metrics(now));
        assert_eq!(
            verb(&mut machine, now, id),
            Err(PeerError::UnknownPeer(id)),
            "{name}"
        );
        let own = machine.local_id();
        assert_eq!(
            verb(&mut machine, now, own),
            Err(PeerError::OwnId(own)),
            "{name}"
        );
        assert_eq!(
            (machine.occupancy(), machine.metrics(now)),
            before,
            "{name}"
        );
        assert!(machine.driver().poll_event(now).is_none(), "{name}");
    }
}

#[test]
fn a_view_of_a_peer_that_is_not_known_is_none() {
    let (now, id) = (epoch(), stranger());
    let machine = machine(now);
    for (name, is_none) in VIEWS {
        assert!(is_none(&machine, now, id), "{name}");
    }
}

#[test]
fn a_peer_is_known_from_its_introduction_until_it_is_forgotten() {
    let (now, id) = (epoch(), stranger());
    for (name, introduce) in INTRODUCTIONS {
        let mut machine = machine(now);
        assert_eq!(introduce(&mut machine, now, id), Ok(()), "{name}");
        assert!(machine.status(id).is_some(), "{name}");
        // One that is blocked stays so, and known as such.
        assert_eq!(machine.unblock(id), Ok(()), "{name}");
        assert_eq!(machine.forget(now, id), Ok(()), "{name}");
        assert_eq!(machine.status(id), None, "{name}");
    }
}

/// Datagrams that other threads have staged are lost as all are that cannot be sent.
#[test]
fn staged_datagrams_for_a_peer_that_is_not_known_are_dropped_and_counted() {
    let (now, id) = (epoch(), stranger());
    let mut machine = machine(now);
    let mut staged = DatagramQueue::default();
    staged.push("too late".into(), 4_096);
    machine
        .driver()
        .handle_staged_datagrams(now, id, &mut staged);
    assert_eq!(machine.metrics(now).counters.unreliable.abandoned, 1);
    assert_eq!(machine.status(id), None);
}

#[test]
fn the_tables_have_each_verb_and_view() {
    let sources = [
        include_str!("../src/manager/verbs.rs"),
        include_str!("../src/manager/receiving.rs"),
        include_str!("../src/manager/views.rs"),
        include_str!("../src/manager/driver.rs"),
    ];
    let mut found = BTreeSet::new();
    for function in sources
        .iter()
        .flat_map(|source| source.split("pub fn ").skip(1))
    {
        let (signature, _) = function.split_once('{').expect("it has a body");
        let names_a_peer = ["peer: Peer", "key: MessageKey", "taken: &TakenMessages"];
        if names_a_peer.iter().any(|name| signature.contains(name)) {
            let name = signature.split('(').next().expect("it has a name");
            found.insert(name);
        }
    }
    // Checked by tests of their own, or about no peer of the machine: credit for any peer.
    let mut listed = BTreeSet::from(["handle_staged_datagrams", "credit"]);
    listed.extend(VERBS.iter().chain(INTRODUCTIONS).map(|(name, _)| *name));
    listed.extend(VIEWS.iter().map(|(name, _)| *name));
    assert_eq!(found, listed);
}

fn sent(result: Result<(), SendError>) -> Result<(), PeerError> {
    match result {
        Err(SendError::Peer(error)) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn machine(now: Instant) -> Manager {
    let credentials = Identity::from_seed(&[1; 32]).credentials();
    let incarnation = Incarnation {
        started_ms: 0,
        random: 1,
    };
    let machine = Manager::new(Config::default(), credentials, incarnation, [1; 32], now);
    machine.expect("the defaults are in range")
}

fn stranger() -> PeerId {
    Identity::from_seed(&[2; 32]).peer_id()
}

/// The key of a message that it may have sent.
fn key_of(id: PeerId) -> MessageKey {
    let mut key = [0; MessageKey::LEN];
    key[..PeerId::LEN].copy_from_slice(id.as_bytes());
    MessageKey::from_bytes(key)
}

fn address(id: PeerId) -> PeerAddr {
    PeerAddr::new(id, ([192, 0, 2, 1], 4433).into())
}

#[expect(clippy::disallowed_methods, reason = "an own event loop has a clock")]
fn epoch() -> Instant {
    Instant::now()
}
