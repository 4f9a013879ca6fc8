//! The messages that a flush covers, and the losses that it names.

use std::{pin::Pin, task::Poll, time::Duration};

use quicpool::{
    Config, ConfirmError, ConnectionManager, Event, FlushError, Losses, Peer, Undeliverable,
};

use crate::support::{black_hole, counts, event_where, lost, manager, pair, soon};

/// A peer that takes nothing, and how to lose all that it was sent.
struct Hole {
    manager: ConnectionManager,
    peer: Peer,
    _socket: std::net::UdpSocket,
}

impl Hole {
    async fn new() -> Self {
        let mut config = Config::default();
        config.close_timeout = Duration::from_millis(200);
        let manager = manager(config).await;
        let (socket, nobody) = black_hole();
        let peer = manager.peer(nobody).expect("a new peer");
        Self {
            manager,
            peer,
            _socket: socket,
        }
    }

    async fn send(&self, count: usize) {
        for _ in 0..count {
            soon(self.peer.send("x")).await.expect("there is room");
        }
    }

    async fn lose(&self) {
        soon(self.peer.disconnect()).await.expect("it runs");
    }

    async fn losses(&self) -> Losses {
        match soon(self.peer.flush()).await {
            Err(FlushError::Undelivered(losses)) => losses,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_flush_fails_once_for_what_was_lost_before_it() {
    let hole = Hole::new().await;
    hole.send(3).await;
    hole.lose().await;
    hole.send(2).await;
    hole.lose().await;
    let losses = hole.losses().await;
    assert_eq!(
        losses,
        Losses::new(0..5, Undeliverable::Disconnected),
        "both"
    );
    soon(hole.peer.flush()).await.unwrap();
}

#[tokio::test]
async fn send_says_the_number_by_which_a_loss_is_named() {
    let hole = Hole::new().await;
    let (_, mut events) = hole.manager.subscribe();
    let first = soon(hole.peer.send("0")).await.unwrap();
    let second = hole.peer.try_send("1").unwrap();
    let third = soon(hole.peer.send_express("2")).await.unwrap();
    assert_eq!([first, second, third].map(|number| number.get()), [0, 1, 2]);
    // Numbers go on where the machine has forgotten the peer.
    soon(hole.manager.forget(hole.peer.id())).await.unwrap();
    let (_socket, nobody) = black_hole();
    let again = quicpool::PeerAddr::new(hole.peer.id(), nobody.addr);
    hole.manager.add_address(again).unwrap();
    let fourth = soon(hole.peer.send("3")).await.unwrap();
    assert_eq!(fourth.get(), 3);
    hole.lose().await;
    assert_eq!(hole.losses().await.ranges(), std::slice::from_ref(&(3..4)));
    for expected in [0..3, 3..4] {
        let event = event_where(&mut events, |event| {
            matches!(event, Event::Undelivered { .. })
        });
        assert!(matches!(event.await, Event::Undelivered { messages, .. } if messages == expected));
    }
}

#[tokio::test]
async fn a_flush_that_is_given_up_leaves_its_losses_for_the_next() {
    let hole = Hole::new().await;
    hole.send(2).await;
    // One is dropped before its loss, the other when its answer is there.
    let impatient = tokio::time::timeout(Duration::from_millis(20), hole.peer.flush());
    assert!(impatient.await.is_err());
    let mut unread = Box::pin(hole.peer.flush());
    let waits = tokio::time::timeout(Duration::from_millis(20), &mut unread);
    assert!(waits.await.is_err());
    hole.lose().await;
    drop(unread);
    assert_eq!(hole.losses().await.ranges(), std::slice::from_ref(&(0..2)));
    soon(hole.peer.flush()).await.unwrap();
}

#[tokio::test]
async fn a_loss_that_its_own_caller_is_told_of_is_none_to_a_flush() {
    let hole = Hole::new().await;
    hole.send(1).await;
    let confirm = hole.peer.send_confirmed("x");
    let (confirmed, ()) = soon(async {
        tokio::join!(confirm, async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            hole.send(1).await;
            hole.lose().await;
        })
    })
    .await;
    assert!(matches!(confirmed, Err(ConfirmError::Undelivered(_))));
    assert_eq!(hole.losses().await.ranges(), [0..1, 2..3]);
    // One whose caller has gone is.
    let impatient = hole.peer.send_confirmed("x");
    let impatient = tokio::time::timeout(Duration::from_millis(20), impatient);
    assert!(impatient.await.is_err());
    hole.lose().await;
    assert_eq!(hole.losses().await.ranges(), std::slice::from_ref(&(3..4)));
}

#[tokio::test]
async fn close_is_an_error_that_names_what_no_flush_has_named() {
    let hole = Hole::new().await;
    hole.send(3).await;
    hole.lose().await;
    hole.losses().await;
    hole.send(2).await;
    hole.lose().await;
    hole.send(1).await;
    let error = soon(hole.manager.close()).await.unwrap_err();
    assert_eq!(lost(&error), [(hole.peer.id(), 3)]);
    let text = error.to_string();
    assert!(
        text.starts_with("3 messages are undelivered; to qp1"),
        "{text}"
    );
    assert!(
        text.ends_with("messages 3..6 are undelivered: the manager was closed"),
        "{text}"
    );

    let (alice, bob) = pair().await;
    soon(alice.peer(bob.peer_addr()).unwrap().send("x"))
        .await
        .unwrap();
    soon(bob.recv()).await.unwrap();
    soon(alice.close()).await.unwrap();
}

#[tokio::test]
async fn a_flush_after_the_peer_has_ended_the_session_names_what_may_be_lost() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.send("taken")).await.unwrap();
    soon(bob.recv()).await.unwrap();
    soon(to_bob.flush()).await.unwrap();
    for _ in 0..10 {
        soon(to_bob.send("perhaps")).await.unwrap();
    }
    counts(&bob, |counters| counters.messages_received, 11).await;
    let (_, mut events) = alice.subscribe();
    soon(bob.forget(alice.id())).await.unwrap();
    event_where(&mut events, |event| {
        matches!(event, Event::Undelivered { .. })
    })
    .await;
    soon(to_bob.send("taken")).await.unwrap();
    soon(bob.recv()).await.unwrap();
    match soon(to_bob.flush()).await {
        Err(FlushError::Undelivered(losses)) => {
            assert_eq!(losses.ranges(), std::slice::from_ref(&(1..11)))
        }
        other => panic!("{other:?}"),
    }
    soon(to_bob.flush()).await.unwrap();
}

#[tokio::test]
async fn a_flush_that_is_dropped_at_any_moment_leaves_its_losses_to_the_next() {
    let hole = Hole::new().await;
    let mut dropped_unread = 0;
    for round in 0..40 {
        hole.send(1).await;
        hole.lose().await;
        let mut dropped = Box::pin(hole.peer.flush());
        if !is_pending_once(&mut dropped).await {
            continue; // the event loop was faster: this flush has named the loss
        }
        // Each other time before its order is carried out; else amid that, or after its answer.
        if round % 2 == 1 {
            tokio::time::sleep(Duration::from_micros(50 * round)).await;
        }
        drop(dropped);
        dropped_unread += 1;
        let losses = hole.losses().await;
        assert_eq!((losses.messages(), losses.ranges()[0].start), (1, round));
    }
    assert!(
        dropped_unread > 0,
        "no flush was dropped before it was answered"
    );
    soon(hole.manager.close()).await.expect("all were named");
}

/// Polls a future once. Returns whether it is pending.
async fn is_pending_once<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}
