//! Messages: each arrives once, whole and in order, and its sender may wait until it is taken.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use quicpool::{
    Cancelled, Config, ConfirmError, ConnectionManager, ConnectionStatus, FlushError, Peer,
    PeerAddr, SendError, Undeliverable,
};

use crate::support::{black_hole, fill, is_pending, manager, pair, small_queues, soon};

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
    assert_eq!(to_bob.status(), Some(ConnectionStatus::Connected));
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
    assert!(matches!(to_bob.try_send([3; 512]), Err(SendError::Full)));

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
async fn a_message_that_a_connected_peer_does_not_accept_is_refused_and_its_neighbours_arrive() {
    let mut small = Config::default();
    small.message_bytes_max = 1_000;
    let (alice, bob) = (manager(Config::default()).await, manager(small).await);
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    soon(to_bob.send([0; 10])).await.unwrap();
    let (size, max) = (1_001, 1_000);
    let long = [0; 1_001];
    let refused = |error: &SendError| matches!(error, SendError::TooLarge { size: s, max: m } if (*s, *m) == (size, max));
    assert!(refused(&soon(to_bob.send(long)).await.unwrap_err()));
    assert!(refused(&soon(to_bob.send_express(long)).await.unwrap_err()));
    assert!(refused(&soon(to_bob.writable(size)).await.unwrap_err()));
    assert!(matches!(
        soon(to_bob.send_confirmed(long)).await,
        Err(ConfirmError::Send(error)) if refused(&error)
    ));
    assert!(matches!(
        to_bob.try_send(long),
        Err(SendError::TooLarge {
            size: 1_001,
            max: 1_000
        })
    ));
    soon(to_bob.send([0; 1_000])).await.unwrap();
    for len in [10, 1_000] {
        assert_eq!(soon(bob.recv()).await.unwrap().payload.len(), len);
    }
    soon(to_bob.flush()).await.unwrap();
    assert_eq!(to_bob.status(), Some(ConnectionStatus::Connected));
}

/// Alice with an address at which Bob is not, and Bob with a small limit of messages.
async fn unreached() -> (UdpSocket, ConnectionManager, ConnectionManager, Peer) {
    let mut large = Config::default();
    large.handshake_timeout = Duration::from_millis(300);
    large.backoff.initial = Duration::from_millis(50);
    let mut small = Config::default();
    small.message_bytes_max = 1_000;
    let (alice, bob) = (manager(large).await, manager(small).await);
    let (socket, nobody) = black_hole();
    let nowhere = PeerAddr::new(bob.id(), nobody.addr);
    let to_bob = alice.peer(nowhere).expect("it is open");
    (socket, alice, bob, to_bob)
}

#[tokio::test]
async fn failure_28_a_message_that_turns_out_to_be_too_long_is_reported_alone() {
    let (_nowhere, alice, bob, to_bob) = unreached().await;
    let mut numbers = Vec::new();
    for len in [10, 1_001, 1_000] {
        numbers.push(soon(to_bob.send(vec![7; len])).await.unwrap());
    }
    alice.add_address(bob.peer_addr()).unwrap();
    for len in [10, 1_000] {
        assert_eq!(soon(bob.recv()).await.unwrap().payload.len(), len);
    }
    let Err(FlushError::Undelivered(losses)) = soon(to_bob.flush()).await else {
        panic!("one of them is lost");
    };
    let lost = numbers[1].get();
    assert_eq!(
        (losses.messages(), &losses.ranges()[0]),
        (1, &(lost..lost + 1))
    );
    assert!(
        losses
            .to_string()
            .contains("1001 bytes exceeds the peer's limit of 1000")
    );
    soon(to_bob.flush()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_was_not_written_is_taken_back() {
    let (_nowhere, alice, bob, to_bob) = unreached().await;
    let first = soon(to_bob.send("first")).await.unwrap();
    let second = soon(to_bob.send("second")).await.unwrap();
    let cancelled = soon(to_bob.cancel(first)).await.unwrap();
    assert_eq!(cancelled, Cancelled::Withdrawn);
    alice.add_address(bob.peer_addr()).unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload[..], *b"second");
    soon(to_bob.flush()).await.unwrap();
    let cancelled = soon(to_bob.cancel(second)).await.unwrap();
    assert_eq!(cancelled, Cancelled::TooLate);
}

#[tokio::test]
async fn a_message_with_a_lifetime_expires_unless_it_was_written() {
    let (_nowhere, alice, bob, to_bob) = unreached().await;
    let in_ms = |ms| Instant::now() + Duration::from_millis(ms);
    let late = soon(to_bob.send_until("late", in_ms(20))).await.unwrap();
    to_bob.try_send_until("in time", in_ms(60_000)).unwrap();
    let Err(FlushError::Undelivered(losses)) = soon(to_bob.flush()).await else {
        panic!("one of them has expired");
    };
    assert_eq!(
        (losses.messages(), losses.ranges()[0].start),
        (1, late.get())
    );
    assert_eq!(losses.reason(), Undeliverable::Expired);
    alice.add_address(bob.peer_addr()).unwrap();
    assert_eq!(soon(bob.recv()).await.unwrap().payload[..], *b"in time");
    soon(to_bob.flush()).await.unwrap();
}
