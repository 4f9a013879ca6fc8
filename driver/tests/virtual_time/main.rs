//! The event loop and the handle in virtual time, without an operating system: all that they do
//! follows from the runtime, so that two runs of one seed send the same bytes at the same times.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::disallowed_methods,
    reason = "a virtual world begins at some moment, and real time is compared with it"
)]

mod world;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use quicpool_core::{Config, ConnectionStatus, PeerId};
use quicpool_driver::ConnectionManager;
use quicpool_sim::Checksum;
use world::World;

async fn manager(world: &World, number: u8) -> ConnectionManager {
    let credentials = Arc::new(Checksum::new(PeerId::from_bytes([number; 32]), 7));
    let addr = SocketAddr::from(([10, 0, 0, number], 0));
    let bound = ConnectionManager::bind_with(world.clone(), addr, credentials, Config::default());
    bound.await.expect("a virtual address can be bound")
}

/// One manager greets three, each answers, and all are left alone until their connections expire;
/// then the first one closes while messages to all of them are staged. Returns its messages.
async fn story(world: World) -> Vec<Vec<u8>> {
    let alice = manager(&world, 1).await;
    let mut others = Vec::new();
    for number in 2..5 {
        let other = manager(&world, number).await;
        // A peer that could not dial back would keep its connection.
        other.add_address(alice.peer_addr()).unwrap();
        others.push(other);
    }
    for round in 0..50_u8 {
        for other in &others {
            let to_other = alice.peer(other.peer_addr()).unwrap();
            to_other.send([round; 3_000]).await.unwrap();
        }
        for other in &others {
            let message = other.recv().await.unwrap();
            assert_eq!(message.payload[..], [round; 3_000]);
            other
                .send(message.from, [other.id().as_bytes()[0], round])
                .await
                .unwrap();
        }
    }
    let mut received = Vec::new();
    while received.len() < 150 {
        received.push(alice.recv().await.unwrap().payload.to_vec());
    }

    world.sleep(Duration::from_secs(400)).await;
    for other in &others {
        let status = alice.status(other.id());
        assert_eq!(
            status,
            Some(ConnectionStatus::Disconnected),
            "it has expired"
        );
    }

    for other in &others {
        alice.try_send(other.id(), "the last words").unwrap();
    }
    let readers = others.iter().map(|other| async {
        assert_eq!(other.recv().await.unwrap().payload, "the last words");
    });
    let mut readers: Vec<_> = readers.map(Box::pin).collect();
    let mut closing = Box::pin(alice.close());
    let report = std::future::poll_fn(|cx| {
        readers.retain_mut(|reader| reader.as_mut().poll(cx).is_pending());
        closing.as_mut().poll(cx)
    });
    report.await.unwrap();
    received
}

fn run(seed: u64) -> (Vec<Vec<u8>>, Duration, u64) {
    let world = World::new(seed);
    let received = world
        .run(story(world.clone()))
        .expect("it comes to its end");
    (received, world.elapsed(), world.trail())
}

#[test]
fn minutes_pass_in_no_time() {
    let began = Instant::now();
    let (received, elapsed, _) = run(1);
    assert_eq!(received.len(), 150);
    for number in 2..5 {
        let rounds = received.iter().filter(|message| message[0] == number);
        assert!(
            rounds.map(|message| message[1]).eq(0..50),
            "in order, and once"
        );
    }
    assert!(elapsed > Duration::from_secs(400));
    assert!(began.elapsed() < elapsed / 4);
}

#[test]
fn failure_66_two_runs_of_one_seed_are_the_same() {
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(run(0).2, run(1).2, "another seed is another world");
}
