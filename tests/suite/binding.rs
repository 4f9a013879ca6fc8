//! Binding a manager: addresses, sockets and errors.

use quicpool::{BindError, Config, ConnectionManager, Identity};

use crate::{
    Tested,
    support::{manager, soon},
};

#[tokio::test]
async fn what_cannot_be_bound_is_an_error() {
    let alice = manager(Config::default()).await;
    let bind = |addr: String, config| async move {
        ConnectionManager::bind(Tested, addr, Identity::generate(), config).await
    };
    let taken = bind(alice.local_addr().to_string(), Config::default()).await;
    assert!(matches!(taken, Err(BindError::Bind { addr, .. }) if addr == alice.local_addr()));
    let nonsense = bind("nonsense".into(), Config::default()).await;
    assert!(matches!(nonsense, Err(BindError::Address(_))));
    let mut config = Config::default();
    config.connections_max = 0;
    let Err(BindError::Config(error)) = bind("127.0.0.1:0".into(), config).await else {
        panic!("no connection is too few");
    };
    assert_eq!(error.field(), "connections_max");
}

#[tokio::test]
async fn one_socket_serves_both_versions_of_ip() {
    let alice = manager(Config::default()).await;
    let identity = Identity::generate();
    let bound = ConnectionManager::bind(Tested, "[::]:0", identity, Config::default()).await;
    let bob = bound.unwrap();
    let port = bob.local_addr().port();
    let id = bob.id();
    let by_v4 = quicpool::PeerAddr::new(id, ([127, 0, 0, 1], port).into());
    soon(alice.peer(by_v4).unwrap().send("hello"))
        .await
        .unwrap();
    let hello = soon(bob.recv()).await.unwrap();
    soon(bob.send(hello.from, "welcome")).await.unwrap();
    soon(alice.recv()).await.unwrap();
    let carol = manager(Config::default()).await;
    soon(bob.peer(carol.peer_addr()).unwrap().send("out"))
        .await
        .unwrap();
    soon(carol.recv()).await.unwrap();
}
