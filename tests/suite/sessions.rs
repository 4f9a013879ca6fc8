//! The fate of messages that are not taken is reported, at both ends.

use std::time::Duration;

use quicpool::{
    Config, ConnectionManager, Event, Events, EventsError, Identity, PeerId, Undeliverable,
};

use crate::{
    Tested,
    support::{black_hole, counts, event_where, lost, manager, soon},
};

/// Two managers, each with messages of the other that it has received and not taken: three of the
/// first, two of the second.
async fn with_unread(config: Config) -> (ConnectionManager, ConnectionManager) {
    let alice = manager(config).await;
    let bob = manager(Config::default()).await;
    let to_bob = alice.peer(bob.peer_addr()).expect("a new peer");
    for _ in 0..3 {
        let sent = soon(to_bob.send("unread")).await;
        sent.expect("there is room");
    }
    counts(&bob, |counters| counters.messages_received, 3).await;
    for _ in 0..2 {
        let sent = soon(bob.send(alice.id(), "unread")).await;
        sent.expect("there is room");
    }
    counts(&alice, |counters| counters.messages_received, 2).await;
    (alice, bob)
}

async fn undelivered(events: &mut Events) -> Event {
    event_where(events, |event| matches!(event, Event::Undelivered { .. })).await
}

fn told(peer: PeerId, count: u64, reason: Undeliverable) -> Event {
    let messages = 0..count;
    Event::Undelivered {
        peer,
        messages,
        reason,
    }
}

#[tokio::test]
async fn a_disconnect_is_told_at_both_ends() {
    let (alice, bob) = with_unread(Config::default()).await;
    let [mut at_alice, mut at_bob] = [&alice, &bob].map(|manager| manager.subscribe().1);
    soon(alice.disconnect(bob.id())).await.unwrap();
    let expected = told(bob.id(), 3, Undeliverable::Disconnected);
    assert_eq!(undelivered(&mut at_alice).await, expected);
    let expected = told(alice.id(), 2, Undeliverable::Goodbye);
    assert_eq!(undelivered(&mut at_bob).await, expected);
}

#[tokio::test]
async fn what_a_close_could_not_deliver_in_time_is_told_at_both_ends() {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(200);
    let (alice, bob) = with_unread(config).await;
    let [mut at_alice, mut at_bob] = [&alice, &bob].map(|manager| manager.subscribe().1);
    let error = soon(alice.close()).await.unwrap_err();
    assert_eq!(lost(&error), [(bob.id(), 3)]);
    let expected = told(bob.id(), 3, Undeliverable::Closed);
    assert_eq!(undelivered(&mut at_alice).await, expected);
    let expected = told(alice.id(), 2, Undeliverable::Goodbye);
    assert_eq!(undelivered(&mut at_bob).await, expected);
}

#[tokio::test]
async fn a_session_that_expires_is_told() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(100);
    config.backoff.initial = Duration::from_millis(10);
    config.backoff.max = Duration::from_millis(100);
    config.session_timeout = Duration::from_millis(500);
    let alice = manager(config).await;
    let (_, mut events) = alice.subscribe();
    let (_socket, nobody) = black_hole();
    soon(alice.peer(nobody).unwrap().send("never"))
        .await
        .unwrap();
    let expected = told(nobody.id, 1, Undeliverable::SessionExpired);
    assert_eq!(undelivered(&mut events).await, expected);
}

#[tokio::test]
async fn a_restart_of_a_peer_is_told_with_what_it_may_have_lost() {
    let alice = manager(Config::default()).await;
    let seed = *Identity::generate().seed();
    let bind = |addr: String| {
        let identity = Identity::from_seed(&seed);
        ConnectionManager::bind(Tested, addr, identity, Config::default())
    };
    let bob = bind("127.0.0.1:0".to_owned()).await.unwrap();
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.send("received, and not taken")).await.unwrap();
    counts(&bob, |counters| counters.messages_received, 1).await;
    let (_, mut events) = alice.subscribe();
    let addr = bob.local_addr().to_string();
    soon(bob.abandon()).await;
    let bob = bind(addr).await.unwrap();

    let restarted = |event: &Event| matches!(event, Event::PeerRestarted { .. });
    let expected = Event::PeerRestarted {
        peer: bob.id(),
        resent: 0,
        undelivered: 1,
    };
    assert_eq!(event_where(&mut events, restarted).await, expected);
    let expected = told(bob.id(), 1, Undeliverable::PeerRestarted);
    assert_eq!(undelivered(&mut events).await, expected);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_told() {
    let mut config = Config::default();
    config.stall_timeout = Duration::from_secs(1);
    let (alice, bob) = with_unread(config).await;
    let (_, mut events) = alice.subscribe();
    let stalled = Event::Stalled { peer: bob.id() };
    event_where(&mut events, |event| *event == stalled).await;
}

#[tokio::test]
async fn of_two_processes_with_one_identity_the_earlier_is_told() {
    let carol = manager(Config::default()).await;
    let seed = *Identity::generate().seed();
    let bind = || {
        let identity = Identity::from_seed(&seed);
        ConnectionManager::bind(Tested, "127.0.0.1:0", identity, Config::default())
    };
    let earlier = bind().await.unwrap();
    let (_, mut events) = earlier.subscribe();
    soon(earlier.peer(carol.peer_addr()).unwrap().connect())
        .await
        .unwrap();
    let later = bind().await.unwrap();
    soon(later.peer(carol.peer_addr()).unwrap().connect())
        .await
        .unwrap();
    let told = Event::IdentityInUse { peer: carol.id() };
    event_where(&mut events, |event| *event == told).await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_listen_is_told_how_much_it_has_missed() {
    /// More than a subscription holds.
    const ROUNDS: u64 = 4_500;
    let alice = manager(Config::default()).await;
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    let (_, mut events) = alice.subscribe();
    for _ in 0..ROUNDS {
        soon(to_nobody.send("never")).await.unwrap();
        soon(to_nobody.disconnect()).await.unwrap();
    }
    let Err(EventsError::Missed(missed)) = soon(events.next()).await else {
        panic!("some were missed");
    };
    assert!(missed >= ROUNDS - 4_096, "{missed}");
    // What they were about can still be asked for.
    counts(&alice, |counters| counters.messages_undelivered, ROUNDS).await;
    let metrics = soon(alice.metrics()).await.unwrap();
    assert_eq!(metrics.counters.messages_accepted, ROUNDS);
}
