//! Managers on real sockets: what the handle promises, on tokio.

mod support;

use std::time::Duration;

use quicpool::{
    BindError, CloseReason, Closed, Config, ConfirmError, ConnectError, ConnectionManager,
    ConnectionStatus, Event, EventsError, FlushError, Identity, Lack, Message, Outlook, PeerError,
    Reason, SendError, TokioRuntime, TrySendError, Undeliverable,
};
use support::{
    black_hole, counts, event_where, fill, manager, pair, small_queues, soon, status_is,
};

#[tokio::test]
async fn hello_arrives_and_is_answered() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.send("hello")).await.unwrap();
    let hello = soon(bob.recv()).await.unwrap();
    assert_eq!(
        (hello.from, &hello.payload[..]),
        (alice.id(), &b"hello"[..])
    );

    soon(bob.send(hello.from, "welcome")).await.unwrap();
    let welcome = soon(alice.recv()).await.unwrap();
    assert_eq!(&welcome.payload[..], b"welcome");
    assert_eq!(to_bob.status(), ConnectionStatus::Connected);
    assert_eq!(bob.status(alice.id()), Some(ConnectionStatus::Connected));
    soon(alice.close()).await.unwrap();
    soon(bob.close()).await.unwrap();
}

#[tokio::test]
async fn an_empty_message_is_a_message() {
    let (alice, bob) = pair().await;
    soon(alice.peer(bob.peer_addr()).unwrap().send(""))
        .await
        .unwrap();
    assert!(soon(bob.recv()).await.unwrap().payload.is_empty());
}

#[tokio::test]
async fn the_largest_message_arrives_whole() {
    let (alice, bob) = pair().await;
    let large: Vec<u8> = (0..Config::default().message_bytes_max)
        .map(|n| (n % 251) as u8)
        .collect();
    soon(alice.peer(bob.peer_addr()).unwrap().send(&large))
        .await
        .unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_arrive_in_order() {
    const COUNT: u32 = 100_000;
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let sender = tokio::spawn(async move {
        for number in 0..COUNT {
            to_bob.send(number.to_le_bytes()).await.unwrap();
        }
        to_bob.flush().await.unwrap();
    });
    let mut messages = Vec::new();
    let mut expected = 0..COUNT;
    while !expected.is_empty() {
        soon(bob.recv_many(&mut messages, 1_000)).await.unwrap();
        for message in messages.drain(..) {
            let number = expected.next().unwrap();
            assert_eq!(message.payload, number.to_le_bytes()[..]);
        }
    }
    soon(sender).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_of_a_peer_keeps_its_own_order() {
    const TASKS: usize = 8;
    const COUNT: u32 = 5_000;
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for task in 0..TASKS {
        let to_bob = to_bob.clone();
        tokio::spawn(async move {
            for number in 0..COUNT {
                let mut message = number.to_le_bytes().to_vec();
                message.push(task as u8);
                to_bob.send(message).await.unwrap();
            }
        });
    }
    let mut next = [0; TASKS];
    for _ in 0..TASKS * COUNT as usize {
        let message = soon(bob.recv()).await.unwrap();
        let (number, task) = message.payload.split_first_chunk().unwrap();
        let next = &mut next[usize::from(task[0])];
        assert_eq!(u32::from_le_bytes(*number), *next);
        *next += 1;
    }
}

#[tokio::test]
async fn a_full_outbox_refuses_try_send_and_lets_send_wait() {
    let alice = manager(small_queues()).await;
    let bob = manager(small_queues()).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let filled = fill(&alice, bob.id(), &[1; 512]).await;
    let waiting = to_bob.send([2; 512]);
    tokio::pin!(waiting);
    assert!(is_pending(waiting.as_mut()).await, "send waits");
    assert!(matches!(to_bob.try_send([3; 512]), Err(TrySendError::Full)));

    for _ in 0..filled {
        assert_eq!(soon(bob.recv()).await.unwrap().payload[..], [1; 512]);
    }
    soon(waiting).await.unwrap();
    soon(to_bob.writable(512)).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_reads_nothing_holds_up_nobody_else() {
    let alice = manager(small_queues()).await;
    let [mute, carol] = [manager(small_queues()).await, manager(small_queues()).await];
    alice.add_address(mute.peer_addr()).unwrap();
    fill(&alice, mute.id(), &[0; 512]).await;

    let to_carol = alice.peer(carol.peer_addr()).unwrap();
    for number in 0..1_000_u32 {
        soon(to_carol.send(number.to_le_bytes())).await.unwrap();
        let message = soon(carol.recv()).await.unwrap();
        assert_eq!(message.payload, number.to_le_bytes()[..]);
    }
}

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
    assert_eq!((metrics.pool_misses, metrics.pool_hits), (2, 1));
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
    assert_eq!(
        alice.peer(own).unwrap_err(),
        PeerError::OwnId(own),
        "own id"
    );
    let error = alice.send(own, "").await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::OwnId(id)) if id == own));

    let stranger = Identity::generate().peer_id();
    let error = alice.send(stranger, "").await.unwrap_err();
    assert!(matches!(error, SendError::Peer(PeerError::NoAddress(id)) if id == stranger));
    let error = alice.peer(stranger).unwrap().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Peer(PeerError::NoAddress(id)) if id == stranger));
    let error = alice.flush(stranger).await.unwrap_err();
    assert!(matches!(error, FlushError::Peer(PeerError::NoAddress(id)) if id == stranger));

    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let max = Config::default().message_bytes_max;
    let error = to_bob.send(vec![0; max + 1]).await.unwrap_err();
    assert!(
        matches!(error, SendError::TooLarge { size, max: limit } if size == max + 1 && limit == max)
    );
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
async fn a_forgotten_peer_begins_anew() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for _ in 0..10 {
        to_bob.send("old").await.unwrap();
    }
    soon(bob.recv()).await.unwrap();
    soon(bob.forget(alice.id())).await.unwrap();
    assert!(matches!(
        soon(to_bob.flush()).await,
        Err(FlushError::Undelivered(_))
    ));
    soon(to_bob.send("new")).await.unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload, "new");
    soon(to_bob.flush()).await.unwrap();
}

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
    assert_eq!(to_nobody.status(), ConnectionStatus::Disconnected);
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
async fn flush_returns_when_the_other_application_has_taken_it() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    for _ in 0..100 {
        to_bob.send("x").await.unwrap();
    }
    let flushed = to_bob.flush();
    tokio::pin!(flushed);
    for _ in 0..99 {
        soon(bob.recv()).await.unwrap();
    }
    assert!(is_pending(flushed.as_mut()).await);
    soon(bob.recv()).await.unwrap();
    soon(flushed).await.unwrap();
    let metrics = soon(to_bob.metrics()).await.unwrap().unwrap();
    assert_eq!(
        (metrics.messages_accepted, metrics.messages_delivered),
        (100, 100)
    );
}

#[tokio::test]
async fn a_confirmed_message_waits_for_itself_and_not_for_those_after_it() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    to_bob.send("before").await.unwrap();
    let confirmed = to_bob.send_confirmed("this one");
    tokio::pin!(confirmed);
    assert!(is_pending(confirmed.as_mut()).await);
    to_bob.send("after").await.unwrap();
    for message in ["before", "this one"] {
        assert!(is_pending(confirmed.as_mut()).await);
        assert_eq!(soon(bob.recv()).await.unwrap().payload, message);
    }
    soon(confirmed).await.unwrap();

    let too_large = vec![0; Config::default().message_bytes_max + 1];
    let error = soon(to_bob.send_confirmed(too_large)).await.unwrap_err();
    assert!(matches!(
        error,
        ConfirmError::Send(SendError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn a_confirmed_message_that_nobody_can_take_is_not_confirmed() {
    let alice = manager(Config::default()).await;
    let (_socket, nobody) = black_hole();
    let to_nobody = alice.peer(nobody).unwrap();
    let confirmed = to_nobody.send_confirmed("hello?");
    tokio::pin!(confirmed);
    assert!(is_pending(confirmed.as_mut()).await);
    soon(to_nobody.disconnect()).await.unwrap();
    let error = soon(confirmed).await.unwrap_err();
    let why = Undeliverable::Disconnected;
    assert!(matches!(error, ConfirmError::Undelivered(undelivered) if undelivered == why));
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
        matches!(told.outlook, Outlook::Dialling { address, .. } if address == nobody.addr),
        "{told}"
    );
    assert_eq!(told.queued_messages, 1);
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
            told.outlook,
            Outlook::Waiting {
                lacks: Lack::Slot,
                ..
            }
        ),
        "{told}"
    );
    soon(to_first.unprotect()).await.unwrap();
    soon(connecting).await.unwrap();
    assert_eq!(to_first.status(), ConnectionStatus::Disconnected);
}

#[tokio::test]
async fn an_express_message_overtakes_a_fixed_delay() {
    let mut config = Config::default();
    config.flush = quicpool::Flush::Fixed;
    config.batch_delay_max = Duration::from_secs(10);
    let alice = manager(config).await;
    let bob = manager(Config::default()).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    to_bob.send("slow").await.unwrap();
    to_bob.send_express("fast").await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(5), async {
        [bob.recv().await.unwrap(), bob.recv().await.unwrap()].map(|message| message.payload)
    });
    assert_eq!(received.await.unwrap(), ["slow", "fast"]);
}

#[tokio::test]
async fn a_sleeping_loop_is_woken_by_every_call() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    for round in 0..5_u8 {
        // The only way to know that the loop sleeps is to give it nothing to do for a while.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let quick = tokio::time::timeout(Duration::from_secs(2), async {
            soon(to_bob.metrics()).await.unwrap();
            to_bob.send([round]).await.unwrap();
            bob.recv().await.unwrap()
        });
        assert_eq!(quick.await.unwrap().payload[..], [round]);
    }
}

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
    assert_eq!(alice.peer(bob.peer_addr()).unwrap_err(), PeerError::Closed);
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
    let bob = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity(), config.clone())
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
    let bob = ConnectionManager::bind(TokioRuntime, addr, identity(), config)
        .await
        .unwrap();
    soon(to_bob.send("after")).await.unwrap();
    event_where(&mut events, |event| {
        matches!(event, Event::PeerRestarted { .. })
    })
    .await;
    drop(bob);
}

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
    let metrics = alice.metrics();
    assert_eq!(metrics.connections, 1);
    assert!(metrics.avg_latency > Duration::ZERO);
    assert!(metrics.messages_per_second > 0.0);
    assert!(alice.socket_metrics().datagrams_received > 0);
    assert_eq!(alice.peer_metrics(alice.id()).await.unwrap(), None);
}

/// Whether a future is still pending after everything else has had its turn for a while.
async fn is_pending<F: Future + Unpin>(future: F) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future)
        .await
        .is_err()
}
