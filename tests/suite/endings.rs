//! The ways out: close, drop, abandon.

use std::time::Duration;

use quicpool::{
    CloseReason, Closed, Config, ConnectionManager, ConnectionStatus, Event, FlushError, Identity,
    Message, Rejected, SendError,
};

use crate::{
    Tested,
    support::{black_hole, event_where, manager, pair, soon, status_is},
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
    assert_eq!(soon(alice.close()).await.unwrap().undelivered, 0);
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
    assert_eq!(soon(alice.close()).await.unwrap().undelivered, 7);
}

#[tokio::test]
async fn everyone_who_closes_gets_the_same_answer() {
    let (alice, bob) = pair().await;
    soon(alice.peer(bob.peer_addr()).unwrap().send("x"))
        .await
        .unwrap();
    soon(bob.recv()).await.unwrap();
    let (one, two) = soon(async { tokio::join!(alice.close(), alice.close()) }).await;
    assert_eq!(one.unwrap(), two.unwrap());
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
    assert!(matches!(error.reason, CloseReason::Abandoned));

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
