//! Two machines driven by hand, without sockets: what an own event loop has to do, in full.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use quicpool_core::{
    Action, Config, ConnectionStatus, Datagram, Event, Identity, Incarnation, Manager, PeerAddr,
    PeerError, PeerId, SendError, driver::OpenBatch,
};

struct Node {
    manager: Manager,
    address: SocketAddr,
    /// What others receive from: another name of `address` if it is mapped.
    seen_as: SocketAddr,
    events: Vec<Event>,
}

impl Node {
    fn new(number: u8, now: Instant) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let incarnation = Incarnation {
            started_ms: 0,
            random: u64::from(number),
        };
        let manager = Manager::new(
            Config::default(),
            identity.credentials(),
            incarnation,
            [number; 32],
            now,
        )
        .expect("the defaults are in range");
        let address = SocketAddr::from(([127, 0, 0, number], 4433));
        Self {
            manager,
            address,
            seen_as: address,
            events: Vec::new(),
        }
    }

    fn peer_addr(&self) -> PeerAddr {
        PeerAddr {
            id: self.manager.local_id(),
            addr: self.address,
        }
    }

    /// Drains the actions: events are kept, packets go to the other node at once.
    fn drain(&mut self, now: Instant, other: &mut Self) {
        let mut buf = Vec::new();
        while let Some(action) = self.manager.poll_action(now, &mut buf) {
            match action {
                Action::Notify(event) => self.events.push(event),
                Action::Transmit(transmit) => {
                    for payload in transmit.datagrams(&buf) {
                        let datagram = Datagram {
                            ecn: transmit.ecn,
                            ..Datagram::new(self.seen_as, payload)
                        };
                        other.manager.handle_datagram(now, datagram);
                    }
                }
            }
        }
    }
}

fn run(now: &mut Instant, a: &mut Node, b: &mut Node, mut done: impl FnMut(&Node, &Node) -> bool) {
    for _ in 0..10_000 {
        a.drain(*now, b);
        b.drain(*now, a);
        if done(a, b) {
            return;
        }
        let deadlines = [a.manager.poll_timeout(), b.manager.poll_timeout()];
        let at = deadlines
            .into_iter()
            .flatten()
            .map(|deadline| deadline.at)
            .min();
        *now = at.expect("something is due").max(*now);
        a.manager.handle_timeout(*now);
        b.manager.handle_timeout(*now);
    }
    panic!("not done: {:?} {:?}", a.events, b.events);
}

#[test]
fn messages_travel_between_two_machines() {
    let mut now = epoch();
    let (mut alice, mut bob) = (Node::new(1, now), Node::new(2, now));
    let to: PeerId = bob.manager.local_id();
    alice
        .manager
        .add_address(now, bob.peer_addr())
        .expect("a peer");
    for number in 0..1_000u32 {
        let message = number.to_be_bytes();
        alice
            .manager
            .send(now, to, &message)
            .expect("there is room");
    }
    alice.manager.flush(now, to, 7).expect("a known peer");

    let from = alice.manager.local_id();
    let mut received = Vec::new();
    let start = now;
    run(&mut now, &mut alice, &mut bob, |_, bob| {
        bob.manager.status(from) == Some(ConnectionStatus::Connected)
    });
    let mut flushed = false;
    while !flushed {
        run(&mut now, &mut alice, &mut bob, |alice, bob| {
            bob.events
                .iter()
                .any(|event| matches!(event, Event::Readable { .. }))
                || alice
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Flushed { .. }))
        });
        bob.events.clear();
        let read = bob.manager.receive(now, from, usize::MAX, &mut received);
        read.expect("a known peer");
        flushed = alice.events.contains(&Event::Flushed {
            peer: to,
            token: 7,
            result: Ok(()),
        });
    }
    let numbers: Vec<u32> = received
        .iter()
        .map(|message| u32::from_be_bytes(message.payload[..].try_into().expect("four bytes")))
        .collect();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
    assert!(now - start < Duration::from_secs(1));
}

#[test]
fn many_messages_are_accepted_in_order_up_to_the_first_that_does_not_fit() {
    let mut now = epoch();
    let (mut alice, mut bob) = (Node::new(1, now), Node::new(2, now));
    let (from, to) = (alice.manager.local_id(), bob.manager.local_id());
    let none: [&[u8]; 0] = [];
    assert_eq!(alice.manager.send_many(now, to, &none), Ok(0));
    let unknown = alice.manager.send_many(now, to, &["to a stranger"]);
    assert_eq!(unknown, Err(PeerError::UnknownPeer(to).into()));

    alice
        .manager
        .add_address(now, bob.peer_addr())
        .expect("a peer");
    let too_large = vec![0; Config::default().message_bytes_max + 1];
    let mixed: [&[u8]; 4] = [b"one", b"two", &too_large, b"not reached"];
    assert_eq!(alice.manager.send_many(now, to, &mixed), Ok(2));
    let (size, max) = (too_large.len(), too_large.len() - 1);
    let refused = alice.manager.send_many(now, to, &mixed[2..]);
    assert_eq!(refused, Err(SendError::TooLarge { size, max }));
    assert_eq!(alice.manager.send_many(now, to, &["three"]), Ok(1));

    let mut received = Vec::new();
    run(&mut now, &mut alice, &mut bob, |_, bob| {
        bob.events.contains(&Event::Readable { peer: from })
    });
    let read = bob.manager.receive(now, from, usize::MAX, &mut received);
    read.expect("a known peer");
    let payloads: Vec<_> = received
        .into_iter()
        .map(|message| message.payload)
        .collect();
    assert_eq!(payloads, ["one", "two", "three"]);
}

#[test]
fn many_messages_fill_an_outbox_and_no_more() {
    let now = epoch();
    let (mut alice, bob) = (Node::new(1, now), Node::new(2, now));
    let to = bob.manager.local_id();
    alice
        .manager
        .add_address(now, bob.peer_addr())
        .expect("a peer");
    let room = alice.manager.room(to).expect("a known peer");
    let messages = vec![[0; 1_000]; 10_000];
    let sent = alice.manager.send_many(now, to, &messages);
    let fit = room / OpenBatch::cost(1_000);
    assert_eq!(sent, Ok(fit));
    let left = room - fit * OpenBatch::cost(1_000);
    assert_eq!(alice.manager.room(to), Some(left));
    let more = alice.manager.send_many(now, to, &messages);
    assert_eq!(more, Err(SendError::Full));
}

/// What a socket bound to `[::]` receives from IPv4 has a mapped address.
#[test]
fn a_mapped_address_and_the_plain_one_are_one_peer() {
    let mapped = |number| {
        format!("[::ffff:127.0.0.{number}]:4433")
            .parse()
            .expect("an address")
    };
    let mut now = epoch();
    let (mut alice, mut bob) = (Node::new(1, now), Node::new(2, now));
    (alice.seen_as, bob.seen_as) = (mapped(1), mapped(2));
    let to = bob.manager.local_id();
    for peer in [PeerAddr::new(to, mapped(2)), bob.peer_addr()] {
        alice.manager.add_address(now, peer).expect("a peer");
    }
    alice
        .manager
        .send(now, to, b"hello")
        .expect("there is room");
    run(&mut now, &mut alice, &mut bob, |alice, _| {
        alice.manager.status(to) == Some(ConnectionStatus::Connected)
    });
    assert_eq!(alice.manager.metrics(now).counters.dials, 1);
    let known = |alice: &Node| alice.manager.explain(now, to).map(|told| told.to_string());
    assert!(known(&alice).is_some_and(|told| !told.contains("::ffff")));

    let removed = alice
        .manager
        .remove_address(now, PeerAddr::new(to, mapped(2)));
    assert_eq!(removed, Ok(()));
    assert_eq!(alice.manager.disconnect(now, to), Ok(()));
    let error = alice.manager.connect(now, to);
    assert_eq!(error, Err(PeerError::NoAddress(to)));
}

#[expect(
    clippy::disallowed_methods,
    reason = "an own event loop has a clock of its own"
)]
fn epoch() -> Instant {
    Instant::now()
}
