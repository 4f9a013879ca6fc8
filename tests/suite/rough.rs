//! Rough handling: callers that contradict each other, give up half-way, or come in crowds.

use std::time::Duration;

use crate::{
    Tested,
    support::{black_hole, counts, manager, pair, soon, status_is},
};
use quicpool::{
    Config, ConnectError, ConnectionManager, ConnectionStatus, Identity, PeerAddr, PeerError,
    Reason, SendError,
};

/// A manager whose dials fail soon, and a peer that never answers, and is in backoff.
async fn in_backoff() -> (ConnectionManager, std::net::UdpSocket, PeerAddr) {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(100);
    config.backoff.initial = Duration::from_secs(60);
    let alice = manager(config).await;
    let (socket, nobody) = black_hole();
    let connected = soon(alice.peer(nobody).expect("a new peer").connect()).await;
    assert!(connected.is_err(), "nobody answers");
    (alice, socket, nobody)
}

#[tokio::test]
async fn whoever_waits_to_connect_is_told_that_the_session_was_ended() {
    let (alice, _socket, nobody) = in_backoff().await;
    let to_nobody = alice.peer(nobody).unwrap();

    for ending in ["disconnect", "block", "forget"] {
        alice.add_address(nobody).unwrap();
        let (connected, ()) = soon(async {
            tokio::join!(to_nobody.connect(), async {
                tokio::task::yield_now().await;
                match ending {
                    "disconnect" => alice.disconnect(nobody.id).await.unwrap(),
                    "block" => alice.block(nobody.id).await.unwrap(),
                    _ => alice.forget(nobody.id).await.unwrap(),
                }
            })
        })
        .await;
        assert!(
            matches!(
                connected,
                Err(ConnectError::Failed {
                    reason: Reason::CalledOff,
                    ..
                })
            ),
            "{ending}: {connected:?}"
        );
        let unblocked = alice.unblock(nobody.id).await;
        assert_eq!(unblocked.is_err(), ending == "forget", "{unblocked:?}");
    }
}

#[tokio::test]
async fn whoever_waits_to_connect_to_an_address_that_is_removed_is_told() {
    let (alice, _socket, nobody) = in_backoff().await;
    let to_nobody = alice.peer(nobody).unwrap();
    let (connected, removed) = soon(async {
        tokio::join!(to_nobody.connect(), async {
            tokio::task::yield_now().await;
            alice.remove_address(nobody)
        })
    })
    .await;
    removed.unwrap();
    assert!(connected.is_err());
}

#[tokio::test]
async fn a_disconnect_fails_no_connect_that_follows_it() {
    for _ in 0..20 {
        let (alice, bob) = pair().await;
        let to_bob = alice.peer(bob.peer_addr()).unwrap();
        let (one, ended, two) =
            soon(async { tokio::join!(to_bob.connect(), to_bob.disconnect(), to_bob.connect()) })
                .await;
        ended.unwrap();
        two.unwrap();
        drop(one);
    }
}

#[tokio::test]
async fn an_unblocked_peer_is_sent_to_again() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(alice.block(bob.id())).await.unwrap();
    alice.add_address(bob.peer_addr()).unwrap();
    // Once this is answered the address has been refused.
    soon(to_bob.metrics()).await.unwrap();
    let error = soon(to_bob.send("refused")).await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::Blocked(_))));
    soon(alice.unblock(bob.id())).await.unwrap();
    soon(to_bob.send("welcome")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "welcome");
}

#[tokio::test]
async fn an_address_of_version_4_written_as_version_6_is_the_same_address() {
    for bind in ["127.0.0.1:0", "[::]:0"] {
        let alice = ConnectionManager::bind(Tested, bind, Identity::generate(), Config::default())
            .await
            .unwrap();
        let bob = manager(Config::default()).await;
        let port = bob.local_addr().port();
        let mapped = PeerAddr::new(
            bob.id(),
            format!("[::ffff:127.0.0.1]:{port}").parse().unwrap(),
        );
        let to_bob = alice.peer(mapped).unwrap();
        soon(to_bob.connect()).await.unwrap();
    }
}

#[tokio::test]
async fn a_dial_that_waits_is_called_off_with_its_last_address() {
    let mut config = Config::default();
    config.dial_rate = 1;
    config.handshake_timeout = Duration::from_secs(2);
    let alice = manager(config).await;
    let (_socket, nobody) = black_hole();
    let (_socket, nowhere) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    let (_, mut events) = alice.subscribe();
    let first = tokio::spawn(async move { to_nobody.connect().await });
    status_is(&mut events, nobody.id, ConnectionStatus::Connecting).await;

    let to_nowhere = alice.peer(nowhere).unwrap();
    let (connected, removed) = soon(async {
        tokio::join!(to_nowhere.connect(), async {
            tokio::task::yield_now().await;
            alice.remove_address(nowhere)
        })
    })
    .await;
    removed.unwrap();
    assert!(
        matches!(
            connected,
            Err(ConnectError::Peer(PeerError::NoAddress(id))) if id == nowhere.id
        ),
        "{connected:?}"
    );
    let first = soon(first).await.unwrap();
    assert!(
        matches!(
            first,
            Err(ConnectError::Failed {
                reason: Reason::HandshakeTimeout,
                ..
            })
        ),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_caller_that_never_waits_lets_others_run() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    // On one thread the event loop runs only when the caller waits.
    let caller = tokio::spawn({
        let to_bob = to_bob.clone();
        async move { while to_bob.connect().await.is_ok() {} }
    });
    soon(to_bob.send("through")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "through");
    caller.abort();
}

#[tokio::test]
async fn a_forgotten_peer_leaves_no_message_behind() {
    let (alice, bob) = pair().await;
    let to_alice = bob.peer(alice.peer_addr()).unwrap();
    for _ in 0..10 {
        to_alice.send("old").await.unwrap();
    }
    counts(&alice, |counters| counters.messages_received, 10).await;
    let (_, mut events) = bob.subscribe();
    soon(alice.forget(bob.id())).await.unwrap();
    status_is(&mut events, alice.id(), ConnectionStatus::Disconnected).await;

    soon(to_alice.flush()).await.unwrap_err();
    soon(to_alice.send("new")).await.unwrap();
    assert_eq!(soon(alice.recv()).await.unwrap().payload, "new");
    soon(to_alice.flush()).await.unwrap();
}
