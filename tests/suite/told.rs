//! What users get: events, explanations, numbers.

use std::time::Duration;

use quicpool::{Config, ConnectionStatus, Event, EventsError, NextAttempt, Reason, Undeliverable};

use crate::support::{black_hole, counts, event_where, manager, pair, soon, status_is};

#[tokio::test]
async fn a_subscriber_sees_a_snapshot_and_what_follows() {
    let (alice, bob) = pair().await;
    let (before, mut events) = alice.subscribe();
    assert_eq!(before, []);
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    let (after, _) = alice.subscribe();
    assert_eq!(after, [(bob.id(), ConnectionStatus::Connected)]);

    status_is(&mut events, bob.id(), ConnectionStatus::Connecting).await;
    status_is(&mut events, bob.id(), ConnectionStatus::Connected).await;
    soon(bob.close()).await.unwrap();
    let event = event_where(&mut events, |event| {
        matches!(
            event,
            Event::StatusChanged {
                to: ConnectionStatus::Disconnected,
                ..
            }
        )
    });
    let Event::StatusChanged { reason, .. } = event.await else {
        panic!("a status has changed");
    };
    assert_eq!(reason, Reason::Goodbye);
    soon(alice.close()).await.unwrap();
    event_where(&mut events, |event| matches!(event, Event::Closed { .. })).await;
    assert!(matches!(
        soon(events.next()).await,
        Err(EventsError::Closed(_))
    ));
}

#[tokio::test]
async fn disconnect_reports_what_was_queued() {
    let alice = manager(Config::default()).await;
    let (_socket, nobody) = black_hole();
    let (_, mut events) = alice.subscribe();
    let to_nobody = alice.peer(nobody).unwrap();
    for _ in 0..10 {
        to_nobody.send("never").await.unwrap();
    }
    soon(to_nobody.disconnect()).await.unwrap();
    assert_eq!(to_nobody.status(), Some(ConnectionStatus::Disconnected));
    let undelivered = event_where(&mut events, |event| {
        matches!(event, Event::Undelivered { .. })
    });
    assert_eq!(
        undelivered.await,
        Event::Undelivered {
            peer: nobody.id,
            messages: 0..10,
            reason: Undeliverable::Disconnected,
        }
    );
}

#[tokio::test]
async fn a_peer_is_explained_in_words() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    let told = soon(to_bob.explain()).await.unwrap().unwrap();
    let expected = format!("{} is connected", bob.id());
    assert!(told.to_string().starts_with(&expected), "{told}");

    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    to_nobody.send("hello?").await.unwrap();
    let told = soon(to_nobody.explain()).await.unwrap().unwrap();
    assert!(
        matches!(told.next_attempt, NextAttempt::Dialling { address, .. } if address == nobody.addr),
        "{told}"
    );
    assert_eq!(told.queued_messages, 1);
}

#[tokio::test]
async fn the_numbers_follow_what_happens() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for _ in 0..10 {
        to_bob.send("x").await.unwrap();
        soon(bob.recv()).await.unwrap();
    }
    soon(to_bob.flush()).await.unwrap();
    counts(&alice, |counters| counters.messages_delivered, 10).await;
    let metrics = soon(alice.metrics()).await.unwrap();
    assert_eq!(metrics.connections, 1);
    assert!(metrics.avg_latency > Duration::ZERO);
    assert!(metrics.messages_per_second > 0.0);
    assert!(alice.socket_metrics().datagrams_received > 0);
    assert_eq!(alice.peer_metrics(alice.id()).await.unwrap(), None);
}
