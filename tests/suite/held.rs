//! Messages that are received and not taken.

use std::collections::HashSet;

use quicpool::{Config, ConnectionManager, ConnectionStatus, Held, Identity, OnPeerRestart};

use crate::{
    Tested,
    support::{counts, fill, is_pending, lost, manager, pair, small_queues, soon, status_is},
};

async fn send(from: &ConnectionManager, to: &ConnectionManager, texts: &[&'static str]) {
    let peer = from.peer(to.peer_addr()).expect("a new peer");
    for text in texts {
        soon(peer.send(*text)).await.expect("there is room");
    }
}

async fn held(manager: &ConnectionManager) -> Held {
    let held = soon(manager.recv_held()).await;
    held.expect("the manager has not ended")
}

#[tokio::test]
async fn a_flush_waits_until_all_are_done_in_whatever_order() {
    let (alice, bob) = pair().await;
    send(&alice, &bob, &["0", "1", "2"]).await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let mut flush = Box::pin(to_bob.flush());
    let [first, second, third] = [held(&bob).await, held(&bob).await, held(&bob).await];
    assert_eq!(
        [&*first.payload, &second.payload, &third.payload],
        [b"0", b"1", b"2"]
    );
    third.done();
    first.done();
    // Two are done, and the sender knows of the one that has none before it.
    counts(&alice, |counters| counters.messages_delivered, 1).await;
    assert!(is_pending(&mut flush).await);
    second.done();
    soon(flush).await.unwrap();
}

#[tokio::test]
async fn one_that_is_dropped_comes_again_before_the_others() {
    let (alice, bob) = pair().await;
    send(&alice, &bob, &["0", "1", "2"]).await;
    let (first, second) = (held(&bob).await, held(&bob).await);
    let key = first.key();
    assert_eq!((key.sender(), key.number().get()), (alice.id(), 0));
    assert!(!first.is_again());
    drop(second);
    drop(first);
    let again = held(&bob).await;
    assert!(again.is_again());
    assert_eq!((again.key(), &*again.payload), (key, &b"0"[..]));
    again.done();
    // The others may be taken without.
    for text in ["1", "2"] {
        assert_eq!(soon(bob.recv()).await.unwrap().payload, text);
    }
    soon(alice.peer(bob.peer_addr()).unwrap().flush())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_task_that_panics_gives_its_message_back() {
    let (alice, bob) = pair().await;
    send(&alice, &bob, &["x"]).await;
    let task = tokio::spawn({
        let bob = bob.clone();
        async move {
            let _held = bob.recv_held().await;
            panic!("the handler has a bug");
        }
    });
    assert!(soon(task).await.unwrap_err().is_panic());
    let again = held(&bob).await;
    assert!(again.is_again());
    again.done();
    soon(alice.peer(bob.peer_addr()).unwrap().flush())
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_is_never_done_holds_up_its_sender_and_no_other() {
    let (alice, carol) = pair().await;
    let bob = manager(small_queues()).await;
    send(&alice, &bob, &["0"]).await;
    let never = held(&bob).await;
    // Alice fills what there is room for. All of it is taken but the first.
    let reading = tokio::spawn({
        let bob = bob.clone();
        async move {
            while bob
                .recv()
                .await
                .is_ok_and(|message| message.payload != "carol")
            {}
        }
    });
    fill(&alice, bob.id(), &[7; 1_000]).await;
    send(&carol, &bob, &["carol"]).await;
    soon(reading).await.unwrap();
    soon(carol.peer(bob.peer_addr()).unwrap().flush())
        .await
        .unwrap();
    assert!(is_pending(Box::pin(alice.peer(bob.peer_addr()).unwrap().flush())).await);

    let reading = tokio::spawn({
        let bob = bob.clone();
        async move { while bob.recv().await.is_ok() {} }
    });
    never.done();
    soon(alice.peer(bob.peer_addr()).unwrap().flush())
        .await
        .unwrap();
    drop(bob);
    reading.abort();
}

#[tokio::test]
async fn what_is_held_at_the_close_is_undelivered_and_what_is_done_is_not() {
    let (alice, bob) = pair().await;
    send(&alice, &bob, &["0", "1", "2"]).await;
    let [first, second, third] = [held(&bob).await, held(&bob).await, held(&bob).await];
    first.done();
    third.done();
    soon(bob.close()).await.unwrap();
    let error = soon(alice.peer(bob.peer_addr()).unwrap().flush())
        .await
        .unwrap_err();
    let quicpool::FlushError::Undelivered(losses) = error else {
        panic!("{error}");
    };
    // The third is done, and its sender cannot know: it learns a number up to which all are.
    assert_eq!((losses.ranges().len(), &losses.ranges()[0]), (1, &(1..3)));
    // A message that is held longer than its manager lives is of no consequence.
    second.done();
    soon(alice.close()).await.unwrap();
}

#[tokio::test]
async fn what_is_held_of_a_forgotten_peer_is_gone() {
    let (alice, bob) = pair().await;
    send(&alice, &bob, &["0", "1"]).await;
    let (first, second) = (held(&bob).await, held(&bob).await);
    let (_, mut events) = alice.subscribe();
    soon(bob.forget(alice.id())).await.unwrap();
    first.done();
    drop(second);
    // What is sent before alice knows is a loss.
    status_is(&mut events, bob.id(), ConnectionStatus::Disconnected).await;
    send(&alice, &bob, &["2"]).await;
    let next = held(&bob).await;
    assert_eq!((&*next.payload, next.is_again()), (&b"2"[..], false));
    next.done();
}

#[tokio::test]
async fn a_process_that_crashes_acts_on_each_message_once_if_it_stores_keys() {
    const COUNT: u32 = 2_000;
    const CRASHES: u32 = 4;
    let mut config = Config::default();
    config.on_peer_restart = OnPeerRestart::Resend;
    let alice = manager(config.clone()).await;
    let start = async |addr: &str| {
        let identity = Identity::from_seed(&[8; 32]);
        let bob = ConnectionManager::bind(Tested, addr, identity, config.clone()).await;
        let bob = bob.unwrap();
        soon(bob.peer(alice.peer_addr()).unwrap().connect())
            .await
            .unwrap();
        bob
    };
    let mut bob = start("127.0.0.1:0").await;
    let addr = bob.peer_addr();
    let sending = tokio::spawn({
        let to_bob = alice.peer(addr).unwrap();
        async move {
            for number in 0..COUNT {
                to_bob.send(number.to_be_bytes()).await.unwrap();
            }
            to_bob.flush().await
        }
    });
    // What survives the process.
    let mut keys = HashSet::new();
    let (mut effects, mut again) = (Vec::new(), 0);
    let mut crashes = 0;
    while effects.len() < COUNT as usize {
        if effects.len() as u32 >= (crashes + 1) * COUNT / (CRASHES + 1) && crashes < CRASHES {
            soon(bob.abandon()).await;
            bob = start(&addr.addr.to_string()).await;
            crashes += 1;
        }
        let held = held(&bob).await;
        match keys.insert(held.key()) {
            true => effects.push(u32::from_be_bytes(held.payload[..].try_into().unwrap())),
            false => again += 1,
        }
        held.done();
    }
    assert_eq!(effects, (0..COUNT).collect::<Vec<_>>());
    assert!(
        again > 0,
        "no crash came between a message and its acknowledgement"
    );
    let reading = tokio::spawn(async move {
        while let Ok(held) = bob.recv_held().await {
            assert!(keys.contains(&held.key()));
            held.done();
        }
    });
    soon(sending).await.unwrap().unwrap();
    reading.abort();
    if let Err(error) = soon(alice.close()).await {
        panic!("{:?}", lost(&error));
    }
}
