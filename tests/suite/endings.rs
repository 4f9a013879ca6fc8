//! The ways out: close, drop, abandon.

use std::{future::Future, time::Duration};

use quicpool::{
    CloseError, CloseReason, Closed, Config, ConnectionManager, ConnectionStatus, Event,
    FlushError, Identity, Message, PeerId, Rejected, SendError,
};

use quicpool_conformance::seam::FaultyRuntime;

use crate::{
    Tested,
    support::{black_hole, event_where, lost, manager, pair, soon, status_is},
};

#[tokio::test]
async fn failure_19_close_loses_no_tail() {
    const COUNT: u32 = 20_000;
    let (alice, bob) = pair().await;
    let receiver = tokio::spawn({
        let bob = bob.clone();
        async move {
            let mut count = 0;
            while let Ok(Message { payload, .. }) = bob.recv().await {
                assert_eq!(payload, u32::to_le_bytes(count)[..]);
                count += 1;
            }
            count
        }
    });
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for number in 0..COUNT {
        to_bob.send(number.to_le_bytes()).await.unwrap();
    }
    soon(alice.close()).await.unwrap();
    soon(bob.close()).await.unwrap();
    assert_eq!(soon(receiver).await.unwrap(), COUNT);
}

#[tokio::test]
async fn close_gives_up_in_time_and_says_what_is_left() {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(300);
    let alice = manager(config).await;
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    for _ in 0..7 {
        to_nobody.send("never").await.unwrap();
    }
    let error = soon(alice.close()).await.unwrap_err();
    assert_eq!(lost(&error), [(nobody.id, 7)]);
}

#[tokio::test]
async fn everyone_who_closes_gets_the_same_answer() {
    let (alice, bob) = pair().await;
    soon(alice.peer(bob.peer_addr()).unwrap().send("x"))
        .await
        .unwrap();
    soon(bob.recv()).await.unwrap();
    let (one, two) = soon(async { tokio::join!(alice.close(), alice.close()) }).await;
    one.unwrap();
    two.unwrap();
    soon(alice.close()).await.unwrap();

    let closed = |closed: &Closed| matches!(closed.reason, CloseReason::Closed);
    assert!(closed(&soon(alice.recv()).await.unwrap_err()));
    let error = alice.send(bob.id(), "late").await.unwrap_err();
    assert!(matches!(error, SendError::Closed(reason) if closed(&reason)));
    let error = alice.peer(bob.peer_addr()).unwrap_err();
    assert!(matches!(error, Rejected::Closed(reason) if closed(&reason)));
    assert!(closed(&soon(alice.metrics()).await.unwrap_err()));
    assert!(closed(
        &soon(alice.peer_metrics(bob.id())).await.unwrap_err()
    ));
}

#[tokio::test]
async fn dropping_the_last_manager_tells_the_peers() {
    let (alice, bob) = pair().await;
    let (_, mut events) = bob.subscribe();
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    status_is(&mut events, alice.id(), ConnectionStatus::Connected).await;

    let id = alice.id();
    let another = alice.clone();
    drop(alice);
    soon(to_bob.send("one clone is left")).await.unwrap();
    soon(bob.recv()).await.unwrap();
    drop(another);
    status_is(&mut events, id, ConnectionStatus::Disconnected).await;
    let error = soon(to_bob.flush()).await.unwrap_err();
    assert!(
        matches!(&error, FlushError::Closed(closed) if matches!(closed.reason, CloseReason::Dropped)),
        "{error}"
    );
}

#[tokio::test]
async fn an_abandoned_manager_frees_its_port_and_may_come_back() {
    let seed = *Identity::generate().seed();
    let identity = || Identity::from_seed(&seed);
    let config = Config::default();
    let bob = ConnectionManager::bind(Tested, "127.0.0.1:0", identity(), config.clone())
        .await
        .unwrap();
    let addr = bob.local_addr();
    let alice = manager(config.clone()).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.send("before")).await.unwrap();
    soon(bob.recv()).await.unwrap();
    soon(to_bob.flush()).await.unwrap();
    soon(bob.abandon()).await;
    let error = soon(bob.close()).await.unwrap_err();
    assert!(
        matches!(error, CloseError::Closed(closed) if matches!(closed.reason, CloseReason::Abandoned))
    );

    let (_, mut events) = alice.subscribe();
    let bob = ConnectionManager::bind(Tested, addr, identity(), config)
        .await
        .unwrap();
    soon(to_bob.send("after")).await.unwrap();
    event_where(&mut events, |event| {
        matches!(event, Event::PeerRestarted { .. })
    })
    .await;
    drop(bob);
}

/// Sends 50 messages to bob. Bob takes all of them, and alice ends in some way at once.
async fn taken_before<End: Future<Output = ()>>(
    end: impl Fn(ConnectionManager, PeerId) -> End,
) -> Vec<String> {
    let mut failures = Vec::new();
    for _ in 0..20 {
        let (alice, bob) = pair().await;
        let to_bob = alice.peer(bob.peer_addr()).expect("a new peer");
        for _ in 0..50 {
            soon(to_bob.send("work")).await.expect("there is room");
        }
        let flushed = tokio::spawn(async move { to_bob.flush().await });
        for _ in 0..50 {
            soon(bob.recv()).await.expect("a message");
        }
        soon(end(bob, alice.id())).await;
        if let Err(error) = soon(flushed).await.expect("it does not panic") {
            failures.push(error.to_string());
        }
    }
    failures
}

#[tokio::test]
async fn what_recv_has_returned_is_acknowledged_before_a_close() {
    let failures = taken_before(|bob, _| async move { drop(bob.close().await) });
    assert_eq!(failures.await, [""; 0]);
}

#[tokio::test]
async fn what_recv_has_returned_is_acknowledged_before_the_last_handle_is_dropped() {
    let failures = taken_before(|bob, _| async move { drop(bob) });
    assert_eq!(failures.await, [""; 0]);
}

#[tokio::test]
async fn what_recv_has_returned_is_acknowledged_before_a_session_ends() {
    let disconnected =
        taken_before(|bob, alice| async move { bob.disconnect(alice).await.unwrap() });
    assert_eq!(disconnected.await, [""; 0]);
    let forgotten = taken_before(|bob, alice| async move { bob.forget(alice).await.unwrap() });
    assert_eq!(forgotten.await, [""; 0]);
    let blocked = taken_before(|bob, alice| async move { bob.block(alice).await.unwrap() });
    assert_eq!(blocked.await, [""; 0]);
}

#[tokio::test]
async fn two_that_have_taken_everything_may_close_at_once() {
    for _ in 0..20 {
        let (alice, bob) = pair().await;
        let to_bob = alice.peer(bob.peer_addr()).unwrap();
        let to_alice = bob.peer(alice.peer_addr()).unwrap();
        for _ in 0..50 {
            soon(to_bob.send("work")).await.unwrap();
            soon(to_alice.send("work")).await.unwrap();
        }
        for _ in 0..50 {
            soon(async { tokio::join!(alice.recv(), bob.recv()) })
                .await
                .0
                .unwrap();
        }
        let (one, two) = soon(async { tokio::join!(alice.close(), bob.close()) }).await;
        one.unwrap();
        two.unwrap();
    }
}

/// A reader goes on until the end while its manager closes: its count is the one that the sender
/// gets.
#[tokio::test]
async fn what_recv_returns_during_a_close_is_acknowledged_too() {
    for _ in 0..20 {
        let (alice, bob) = pair().await;
        let (_, mut events) = alice.subscribe();
        let to_bob = alice.peer(bob.peer_addr()).unwrap();
        // Bob's close waits for alice to take this.
        soon(bob.peer(alice.peer_addr()).unwrap().send("owed"))
            .await
            .unwrap();
        for _ in 0..5_000 {
            soon(to_bob.send("work")).await.unwrap();
        }
        soon(bob.recv()).await.unwrap();
        let reader = tokio::spawn({
            let bob = bob.clone();
            async move {
                let mut count = 1;
                while bob.recv().await.is_ok() {
                    count += 1;
                }
                count
            }
        });
        let closing = tokio::spawn(async move { bob.close().await });
        soon(alice.recv()).await.unwrap();
        soon(closing).await.unwrap().unwrap();
        let taken = soon(reader).await.unwrap();
        if taken < 5_000 {
            let undelivered = |event: &Event| matches!(event, Event::Undelivered { .. });
            let Event::Undelivered { messages, .. } = event_where(&mut events, undelivered).await
            else {
                unreachable!("it is one");
            };
            assert_eq!(messages, taken..5_000);
        }
    }
}

/// Whatever ends a manager, no peer is shown as connected by it.
#[tokio::test]
async fn after_the_end_no_peer_is_connected() {
    for how in ["close", "abandon", "drop", "panic"] {
        let runtime = FaultyRuntime::new(Tested);
        let faults = runtime.faults().clone();
        let identity = Identity::generate();
        let bound = ConnectionManager::bind(runtime, "127.0.0.1:0", identity, Config::default());
        let (alice, bob) = (bound.await.unwrap(), manager(Config::default()).await);
        let to_bob = alice.peer(bob.peer_addr()).unwrap();
        soon(to_bob.connect()).await.unwrap();
        assert_eq!(to_bob.status(), Some(ConnectionStatus::Connected));
        let (_, mut events) = alice.subscribe();
        match how {
            "close" => soon(alice.close()).await.unwrap(),
            "abandon" => soon(alice.abandon()).await,
            "drop" => drop(alice),
            _ => {
                faults.panic();
                // Wakes the loop.
                let _ = soon(alice.block(Identity::generate().peer_id())).await;
            }
        }
        let end = soon(async {
            loop {
                if let Err(error) = events.next().await {
                    return error;
                }
            }
        })
        .await;
        let expected = match how {
            "panic" => ConnectionStatus::Failed,
            _ => ConnectionStatus::Disconnected,
        };
        assert_eq!(to_bob.status(), Some(expected), "{how}: {end}");
        assert_eq!((to_bob.health(), to_bob.datagram_bytes_max()), (None, None));
    }
}
