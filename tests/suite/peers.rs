//! Peers: connected, refused, blocked, forgotten, protected.

use std::time::Duration;

use quicpool::{
    Accept, Config, ConnectError, ConnectionStatus, FlushError, Identity, NextAttempt, PeerError,
    Reason, Rejected, SendError, WaitingFor,
};

use crate::support::{black_hole, manager, pair, soon};

#[tokio::test]
async fn two_who_connect_at_once_share_a_dial() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let (one, two) = soon(async { tokio::join!(to_bob.connect(), alice.connect(bob.id())) }).await;
    one.unwrap();
    two.unwrap();
    soon(to_bob.connect()).await.unwrap();
    let metrics = soon(to_bob.metrics()).await.unwrap().unwrap();
    assert_eq!((metrics.dials, metrics.connections), (1, 1));
    // On other threads the dial may be done before the second call is made.
    assert!(metrics.pool_misses >= 1, "{metrics:?}");
    assert_eq!(metrics.pool_misses + metrics.pool_hits, 3);
}

#[tokio::test]
async fn a_dial_that_nobody_answers_fails_with_its_reason() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(200);
    let alice = manager(config).await;
    let (_socket, nobody) = black_hole();
    let error = soon(alice.peer(nobody).unwrap().connect())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Failed { peer, reason: Reason::HandshakeTimeout } if peer == nobody.id),
        "{error}"
    );
    assert_eq!(alice.status(nobody.id), Some(ConnectionStatus::Failed));
}

#[tokio::test]
async fn somebody_else_at_an_address_is_not_the_peer() {
    let (alice, bob) = pair().await;
    let mut carol = bob.peer_addr();
    carol.id = Identity::generate().peer_id();
    let error = soon(alice.peer(carol).unwrap().connect())
        .await
        .unwrap_err();
    let ConnectError::Failed { reason, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(
        reason,
        Reason::WrongPeer {
            found: Some(bob.id())
        }
    );
}

#[tokio::test]
async fn misuse_is_an_error_that_says_so() {
    let (alice, bob) = pair().await;
    let own = alice.id();
    let error = alice.peer(own).unwrap_err();
    assert!(matches!(error, Rejected::Peer(PeerError::OwnId(id)) if id == own));
    let error = alice.send(own, "").await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::OwnId(id)) if id == own));

    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let max = Config::default().message_bytes_max;
    let error = to_bob.send(vec![0; max + 1]).await.unwrap_err();
    assert!(
        matches!(error, SendError::TooLarge { size, max: limit } if size == max + 1 && limit == max)
    );
}

#[tokio::test]
async fn a_peer_that_is_added_by_its_id_is_known() {
    let mut config = Config::default();
    config.accept = Accept::Known;
    let (alice, bob) = (manager(Config::default()).await, manager(config).await);
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let error = soon(to_bob.connect()).await.unwrap_err();
    let refused = |error: &ConnectError| matches!(error, ConnectError::Failed { reason, .. } if *reason == Reason::NotAccepted);
    assert!(refused(&error), "{error}");
    for _ in 0..3 {
        let to_alice = bob.peer(alice.id()).unwrap();
        assert!(soon(to_alice.explain()).await.unwrap().is_some());
    }
    soon(to_bob.connect()).await.unwrap();
}

#[tokio::test]
async fn an_address_that_comes_later_is_used() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.id()).unwrap();
    assert!(to_bob.send("too early").await.is_err());
    alice.add_address(bob.peer_addr()).unwrap();
    soon(to_bob.send("in time")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "in time");
}

#[tokio::test]
async fn a_blocked_peer_is_refused_until_it_is_unblocked() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(alice.block(bob.id())).await.unwrap();
    let error = soon(to_bob.connect()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Peer(PeerError::Blocked(id)) if id == bob.id()),
        "{error}"
    );
    soon(alice.unblock(bob.id())).await.unwrap();
    alice.add_address(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
}

#[tokio::test]
async fn a_handle_blocks_unblocks_and_forgets_its_peer() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    soon(to_bob.block()).await.unwrap();
    let error = soon(to_bob.send("refused")).await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::Blocked(id)) if id == bob.id()));
    soon(to_bob.unblock()).await.unwrap();
    soon(to_bob.send("accepted")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "accepted");

    soon(to_bob.forget()).await.unwrap();
    assert_eq!((to_bob.status(), alice.status(bob.id())), (None, None));
    let error = soon(to_bob.send("forgotten")).await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::UnknownPeer(id)) if id == bob.id()));
    alice.add_address(bob.peer_addr()).unwrap();
    assert_eq!(to_bob.status(), Some(ConnectionStatus::New));
    soon(to_bob.send("known again")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "known again");
}

#[tokio::test]
async fn a_forgotten_peer_begins_anew() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for _ in 0..10 {
        to_bob.send("old").await.unwrap();
    }
    let (flushed, ()) = soon(async {
        tokio::join!(to_bob.flush(), async {
            bob.recv().await.unwrap();
            bob.forget(alice.id()).await.unwrap();
        })
    })
    .await;
    assert!(matches!(flushed, Err(FlushError::Undelivered(_))));
    soon(to_bob.send("new")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "new");
    soon(to_bob.flush()).await.unwrap();
}

#[tokio::test]
async fn a_protected_peer_keeps_the_only_slot() {
    let mut config = Config::default();
    config.connections_max = 1;
    let hub = manager(config).await;
    let (first, second) = pair().await;
    let to_first = hub.peer(first.peer_addr()).unwrap();
    let to_second = hub.peer(second.peer_addr()).unwrap();
    soon(to_first.connect()).await.unwrap();
    soon(to_first.protect()).await.unwrap();
    let connecting = to_second.connect();
    tokio::pin!(connecting);
    let waits = tokio::time::timeout(Duration::from_millis(500), connecting.as_mut()).await;
    assert!(waits.is_err(), "{waits:?}");
    let told = soon(to_second.explain()).await.unwrap().unwrap();
    assert!(
        matches!(
            told.next_attempt,
            NextAttempt::Waiting {
                waits_for: WaitingFor::Slot,
                ..
            }
        ),
        "{told}"
    );
    soon(to_first.unprotect()).await.unwrap();
    soon(connecting).await.unwrap();
    assert_eq!(to_first.status(), Some(ConnectionStatus::Disconnected));
}
