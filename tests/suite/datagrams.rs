//! Datagrams between managers on real sockets.

use std::time::Duration;

use crate::support::{counts, manager, pair, soon};
use quicpool::{CloseReason, Config, SendDatagramError};

#[tokio::test]
async fn a_datagram_arrives_and_is_answered() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    to_bob.send_datagram("where are you?").unwrap();
    let asked = soon(bob.recv_datagram()).await.unwrap();
    assert_eq!(
        (asked.from, &asked.payload[..]),
        (alice.id(), &b"where are you?"[..])
    );
    let to_alice = bob.peer(asked.from).unwrap();
    let longest = vec![7; to_alice.datagram_bytes_max().unwrap()];
    to_alice.send_datagram(&longest).unwrap();
    let answer = soon(alice.recv_datagram()).await.unwrap();
    assert_eq!(answer.payload, longest);
    counts(&alice, |counters| counters.unreliable.sent, 1).await;
    counts(&alice, |counters| counters.unreliable.taken, 1).await;
}

#[tokio::test]
async fn who_is_not_connected_is_sent_no_datagram() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    let refused = to_bob.send_datagram("too early");
    assert!(matches!(refused, Err(SendDatagramError::NotConnected(peer)) if peer == bob.id()));
    assert_eq!(to_bob.datagram_bytes_max(), None);

    soon(to_bob.connect()).await.unwrap();
    let max = to_bob.datagram_bytes_max().unwrap();
    assert!(max > 1_000, "{max}");
    let size = 65_536;
    let refused = to_bob.send_datagram(vec![0; size]);
    let named =
        |error| matches!(error, SendDatagramError::TooLarge { size: 65_536, max } if max > 1_000);
    assert!(refused.is_err_and(named));

    soon(to_bob.disconnect()).await.unwrap();
    let refused = to_bob.send_datagram("too late");
    assert!(matches!(refused, Err(SendDatagramError::NotConnected(_))));
    soon(alice.close()).await.unwrap();
    let refused = to_bob.send_datagram("far too late");
    let closed = |error| matches!(error, SendDatagramError::Closed(closed) if matches!(closed.reason, CloseReason::Closed));
    assert!(refused.is_err_and(closed));
    assert!(soon(alice.recv_datagram()).await.is_err());
}

#[tokio::test]
async fn an_end_without_datagrams_is_told_from_one_that_is_away() {
    let mut config = Config::default();
    config.datagram_queue_bytes_max = 0;
    let (alice, bob) = (manager(Config::default()).await, manager(config).await);
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    let refused = to_bob.send_datagram("anybody?");
    assert!(matches!(refused, Err(SendDatagramError::Unsupported(peer)) if peer == bob.id()));
    soon(to_bob.send("messages arrive")).await.unwrap();
    soon(bob.recv()).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_is_late_gets_the_newest_and_waits_for_more() {
    let (alice, bob) = pair().await;
    let to_bob = alice.peer(bob.peer_addr()).unwrap();
    soon(to_bob.connect()).await.unwrap();
    // More than the handle and the machine hold together, however many a busy sender drops.
    let mut count = 0u32;
    while count < 4_000 || bob.metrics().await.unwrap().counters.unreliable.overrun == 0 {
        for _ in 0..50 {
            to_bob.send_datagram(count.to_be_bytes()).unwrap();
            count += 1;
        }
        assert!(count < 400_000, "none is dropped");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    counts(
        &alice,
        |c| c.unreliable.sent + c.unreliable.crowded_out,
        count.into(),
    )
    .await;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(count - 1)) {
        // A future that is dropped before it is ready takes nothing.
        let waiting = tokio::time::timeout(Duration::from_micros(50), bob.recv_datagram());
        if let Ok(datagram) = waiting.await {
            let payload = datagram.unwrap().payload;
            numbers.push(u32::from_be_bytes(payload[..].try_into().unwrap()));
        }
    }
    assert!(
        numbers.is_sorted() && numbers.len() > 256,
        "{}",
        numbers.len()
    );
    counts(&bob, |c| c.unreliable.taken, numbers.len() as u64).await;
}
