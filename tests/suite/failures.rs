//! Failures of the socket and of other peers that the event loop must survive or report.

use std::time::Duration;

use quicpool_conformance::seam::{Fault, Faults, FaultyRuntime};

use crate::support::{black_hole, fill, manager, pair, small_queues, soon};
use quicpool::{
    CloseError, CloseReason, Closed, Config, ConnectError, ConnectionManager, ConnectionStatus,
    Error, Event, EventsError, FlushError, Identity, PeerAddr, Rejected, SendError,
};

/// A manager whose socket fails on demand.
async fn faulty_manager(config: Config) -> (ConnectionManager, Faults) {
    let runtime = FaultyRuntime::new(crate::Tested);
    let faults = runtime.faults().clone();
    let bound = ConnectionManager::bind(runtime, "127.0.0.1:0", Identity::generate(), config);
    (bound.await.expect("loopback can be bound"), faults)
}

#[tokio::test]
async fn failure_16_nothing_waits_for_a_dial_that_hangs() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    let hanging = tokio::spawn(async move { to_nobody.connect().await });

    // Many rounds in a fraction of the time that the dial is given.
    let rounds = tokio::time::timeout(Config::default().handshake_timeout / 2, async {
        for round in 0..100_u8 {
            assert_eq!(alice.status(bob.id()), Some(ConnectionStatus::Connected));
            alice.send(bob.id(), [round]).await.unwrap();
            assert_eq!(bob.recv().await.unwrap().payload[..], [round]);
        }
    });
    rounds.await.unwrap();
    assert!(!hanging.is_finished());
    assert_eq!(alice.status(nobody.id), Some(ConnectionStatus::Connecting));
    let outcome = soon(hanging).await.unwrap();
    assert!(matches!(outcome, Err(ConnectError::Failed { .. })));
}

#[tokio::test]
async fn failure_18_a_closed_port_does_not_end_the_loop() {
    let (alice, bob) = pair().await;
    let (socket, closed) = black_hole();
    drop(socket);
    let to_closed = alice.peer(closed).unwrap();
    to_closed.send("refused by the system").await.unwrap();
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for round in 0..20_u8 {
        soon(to_bob.send([round])).await.unwrap();
        assert_eq!(soon(bob.recv()).await.unwrap().payload[..], [round]);
    }
}

#[tokio::test]
async fn failure_18_passing_socket_errors_are_counted_and_survived() {
    const CODES: [i32; 9] = [
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ENETDOWN,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EPERM,
        libc::EMSGSIZE,
    ];
    let (alice, faults) = faulty_manager(Config::default()).await;
    let bob = manager(Config::default()).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();

    for code in CODES {
        faults.on_receive([Fault::Error(code); 3]);
        // One only: each costs the packets that it hits, and their repetition takes time.
        faults.on_send([Fault::Error(code)]);
        soon(to_bob.send([0])).await.unwrap();
        soon(bob.recv()).await.unwrap();
        soon(to_bob.flush()).await.unwrap();
    }
    assert_eq!(faults.left(), 0);
    let metrics = alice.socket_metrics();
    assert_eq!(metrics.receive_errors, 3 * CODES.len() as u64);
    assert_eq!(metrics.send_errors, CODES.len() as u64);
}

#[tokio::test]
async fn failure_18_a_storm_of_receive_errors_passes() {
    let (alice, faults) = faulty_manager(Config::default()).await;
    let bob = manager(Config::default()).await;
    faults.on_receive([Fault::Error(libc::ECONNREFUSED); 2_000]);
    soon(alice.peer(bob.peer_addr()).unwrap().send("through"))
        .await
        .unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "through");
}

#[tokio::test]
async fn failure_18_an_address_of_the_wrong_kind_hurts_only_its_peer() {
    let (alice, bob) = pair().await;
    let stranger = Identity::generate().peer_id();
    let v6: PeerAddr = PeerAddr::new(stranger, "[::1]:9".parse().unwrap());
    let port_0 = PeerAddr::new(Identity::generate().peer_id(), ([127, 0, 0, 1], 0).into());
    for peer in [v6, port_0] {
        alice.peer(peer).unwrap().send("nowhere").await.unwrap();
    }
    soon(alice.peer(bob.peer_addr()).unwrap().send("here"))
        .await
        .unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "here");
}

#[tokio::test]
async fn failure_25_a_fatal_error_is_told_to_every_caller() {
    let (alice, faults) = faulty_manager(small_queues()).await;
    let bob = manager(small_queues()).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    fill(&alice, bob.id(), &[0; 512]).await;
    let (_, mut events) = alice.subscribe();
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();

    let pending = async {
        tokio::join!(
            alice.recv(),
            to_bob.send([0; 512]),
            to_bob.flush(),
            to_nobody.connect(),
            async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                faults.break_socket(libc::EBADF);
                // The socket is touched when the loop wakes up.
                to_bob.metrics().await
            },
        )
    };
    let (received, sent, flushed, connected, _) = soon(pending).await;
    assert!(is_fatal(received.unwrap_err().into()));
    assert!(is_fatal(sent.unwrap_err().into()));
    assert!(is_fatal(flushed.unwrap_err().into()));
    assert!(is_fatal(connected.unwrap_err().into()));

    assert!(is_fatal(alice.recv().await.unwrap_err().into()));
    assert!(is_fatal(alice.send(bob.id(), "").await.unwrap_err().into()));
    assert!(is_fatal(to_bob.send("").await.unwrap_err().into()));
    assert!(is_fatal(to_bob.try_send("").unwrap_err().into()));
    assert!(is_fatal(to_bob.flush().await.unwrap_err().into()));
    assert!(is_fatal(to_bob.connect().await.unwrap_err().into()));
    assert!(is_fatal(to_bob.disconnect().await.unwrap_err().into()));
    assert!(is_fatal(alice.close().await.unwrap_err().into()));
    assert!(is_fatal(alice.peer(bob.peer_addr()).unwrap_err().into()));
    assert!(is_fatal(alice.peer(bob.id()).unwrap_err().into()));
    let last = loop {
        if let Err(error) = soon(events.next()).await {
            break error;
        }
    };
    assert!(is_fatal(last.into()));
}

#[tokio::test]
async fn failure_25_a_fatal_error_reports_what_is_undelivered() {
    const COUNT: u64 = 7;
    let (alice, faults) = faulty_manager(Config::default()).await;
    let (_socket, nobody) = black_hole();
    let (_, mut events) = alice.subscribe();
    let to_nobody = alice.peer(nobody).unwrap();
    for _ in 0..COUNT {
        to_nobody.send("never").await.unwrap();
    }
    faults.break_socket(libc::EBADF);
    // The socket is touched when the loop wakes up.
    let _ = soon(to_nobody.metrics()).await;
    let mut reported = 0;
    let end = loop {
        match soon(events.next()).await {
            Ok(Event::Undelivered { messages, .. }) => reported += messages.end - messages.start,
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(reported, COUNT);
    assert!(is_fatal(end.into()));
}

#[tokio::test]
async fn failure_25_a_loop_that_panics_does_not_die_in_silence() {
    let (alice, faults) = faulty_manager(Config::default()).await;
    let (received, ()) = soon(async {
        tokio::join!(alice.recv(), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            faults.panic();
            // Wakes the loop.
            let _ = alice.block(Identity::generate().peer_id()).await;
        })
    })
    .await;
    assert!(matches!(
        received.unwrap_err().reason,
        CloseReason::Panicked
    ));
}

/// Whether an error is that the manager has ended, with its broken socket as the cause.
fn is_fatal(error: Error) -> bool {
    let (Error::Closed(closed)
    | Error::Send(SendError::Closed(closed))
    | Error::Rejected(Rejected::Closed(closed))
    | Error::Flush(FlushError::Closed(closed))
    | Error::Close(CloseError::Closed(closed))
    | Error::Connect(ConnectError::Closed(closed))
    | Error::Events(EventsError::Closed(closed))) = error
    else {
        panic!("{error}");
    };
    let Closed {
        reason: CloseReason::Socket(cause),
    } = closed
    else {
        panic!("{closed}");
    };
    cause.raw_os_error() == Some(libc::EBADF)
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_told_what_it_missed() {
    let alice = manager(Config::default()).await;
    let (_, mut events) = alice.subscribe();
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    // Each round is a message given up: at least one event.
    for _ in 0..6_000 {
        to_nobody.send("x").await.unwrap();
        soon(to_nobody.disconnect()).await.unwrap();
    }
    let missed = match events.next().await {
        Err(EventsError::Missed(missed)) => missed,
        other => panic!("{other:?}"),
    };
    assert!(missed > 0);
    let event = events.next().await.unwrap();
    assert!(matches!(
        event,
        Event::StatusChanged { .. } | Event::Undelivered { .. }
    ));
}
