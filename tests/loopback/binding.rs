//! What can be bound, and where.

use quicpool::{BindError, CloseReason, Config, ConnectionManager, Identity, TokioRuntime};

use crate::support::{manager, soon};

#[tokio::test]
async fn what_cannot_be_bound_is_an_error() {
    let alice = manager(Config::default()).await;
    let bind = |addr: String, config| async move {
        ConnectionManager::bind(TokioRuntime, addr, Identity::generate(), config).await
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

#[test]
fn outside_of_its_runtime_bind_is_an_error() {
    let bind = ConnectionManager::bind(
        TokioRuntime,
        "127.0.0.1:0",
        Identity::generate(),
        Config::default(),
    );
    let waker = std::task::Waker::noop();
    let bound = std::pin::pin!(bind).poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(
        bound,
        std::task::Poll::Ready(Err(BindError::Runtime(_)))
    ));
}

#[test]
fn a_runtime_that_stops_ends_every_wait() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let alice = runtime.block_on(manager(Config::default()));
    drop(runtime);
    let other = tokio::runtime::Runtime::new().unwrap();
    let error = other.block_on(alice.recv()).unwrap_err();
    assert!(matches!(error.reason, CloseReason::RuntimeStopped));
}

#[tokio::test]
async fn one_socket_serves_both_versions_of_ip() {
    let alice = manager(Config::default()).await;
    let identity = Identity::generate();
    let bound = ConnectionManager::bind(TokioRuntime, "[::]:0", identity, Config::default()).await;
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
