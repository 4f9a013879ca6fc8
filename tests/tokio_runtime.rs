//! `bind` in and outside of a tokio runtime, and a manager after the runtime has ended.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use quicpool::{
    BindError, CloseReason, Config, ConnectionManager, ConnectionStatus, Event, Identity, PeerAddr,
    TokioRuntime,
};
use tokio::runtime::{Builder, Runtime};

async fn bind() -> Result<ConnectionManager, BindError> {
    let identity = Identity::generate();
    ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity, Config::default()).await
}

#[test]
fn outside_of_its_runtime_bind_is_an_error() {
    let bound = pin!(bind()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(bound, Poll::Ready(Err(BindError::Runtime(_)))));
}

#[test]
fn a_runtime_that_stops_ends_every_wait() {
    let runtime = Runtime::new().unwrap();
    let alice = runtime.block_on(bind()).unwrap();
    let (_, mut events) = alice.subscribe();
    let nobody = PeerAddr::new(Identity::generate().peer_id(), ([127, 0, 0, 1], 9).into());
    alice.peer(nobody).unwrap().try_send("never").unwrap();
    let bob = runtime.block_on(bind()).unwrap();
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    runtime.block_on(to_bob.connect()).unwrap();
    drop(runtime);
    assert_ne!(to_bob.status(), Some(ConnectionStatus::Connected));
    let other = Runtime::new().unwrap();
    let error = other.block_on(alice.recv()).unwrap_err();
    assert!(matches!(error.reason, CloseReason::RuntimeStopped));
    let reported = other.block_on(async {
        while let Ok(event) = events.next().await {
            if matches!(event, Event::Undelivered { .. }) {
                return true;
            }
        }
        false
    });
    assert!(reported, "a message that was accepted is reported");
}

#[test]
fn failure_59_a_runtime_without_a_driver_is_an_error_that_names_it() {
    let bound = |mut builder: Builder| builder.build().unwrap().block_on(bind());
    for new in [Builder::new_current_thread, Builder::new_multi_thread] {
        let mut without_io = new();
        without_io.enable_time();
        let mut without_time = new();
        without_time.enable_io();
        for (builder, missing) in [(without_io, "enable_io"), (without_time, "enable_time")] {
            let Err(BindError::Runtime(error)) = bound(builder) else {
                panic!("{missing} is needed");
            };
            assert!(error.to_string().contains(missing), "{error}");
        }
        let mut complete = new();
        complete.enable_io().enable_time();
        assert!(bound(complete).is_ok());
    }
}
