//! Shows what whole machines cost: messages and handshakes between two of them, a turn beside idle
//! peers, the handle, and a round trip over loopback.
//!
//! The machines, and the wire between them, are those of `benches/counts`: what moves here can be counted
//! there.

#[path = "counts/src/counted.rs"]
mod counted;
#[path = "counts/src/idle.rs"]
#[expect(dead_code, reason = "its own work is for counting")]
mod idle;
#[path = "counts/src/messages.rs"]
#[expect(dead_code, reason = "its own work is for counting")]
mod messages;
mod settings;
#[path = "counts/src/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use idle::{Idle, hub_beside};
use messages::{Amount, connected_pair, transfer};
use quicpool::{Config, ConnectionManager, Identity, Peer, Sealing, TokioRuntime};
use tokio::runtime::Runtime;
use wire::{MESSAGE, Sessions, Wire};

/// A few full batches.
const SMALL: Amount = Amount {
    count: 1_024,
    ..messages::SMALL
};

/// As many bytes as a congestion window comes to.
const LARGE: Amount = Amount {
    count: 64,
    ..messages::LARGE
};

/// Idle peers. The time is to be the same beside any number.
const IDLE: [u32; 3] = [10, 1_000, 10_000];

/// Messages between two flushes: well within an outbox.
const STAGED: u64 = 10_000;

fn two_machines(c: &mut Criterion) {
    let mut group = c.benchmark_group("messages");
    for (name, amount) in [("64B", SMALL), ("16KiB", LARGE)] {
        group.throughput(Throughput::Elements(amount.count));
        for (seal, sealing) in [("sealed", Sealing::On), ("plain", Sealing::Off)] {
            let mut wire = connected_pair(sealing);
            group.bench_function(BenchmarkId::new(seal, name), |b| {
                b.iter(|| transfer(&mut wire, amount));
            });
        }
    }
    group.finish();
}

fn handshake(c: &mut Criterion) {
    c.bench_function("handshake", |b| {
        b.iter_batched(
            || Wire::pair(1, Sessions::Tls, &Config::default()),
            |mut wire| {
                wire.connect(0, 1);
                wire.run_until("two machines are connected", |wire| {
                    wire.are_connected(0, 1)
                });
                wire
            },
            BatchSize::SmallInput,
        );
    });
}

/// A turn of the event loop in which a message leaves, and acknowledgements come.
fn turn_beside_idle_peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn beside idle peers");
    for connected in IDLE {
        let mut wire = hub_beside(Idle { connected, away: 0 });
        group.bench_function(BenchmarkId::from_parameter(connected), |b| {
            b.iter_custom(|times| {
                std::iter::repeat_with(|| turn(&mut wire))
                    .take(settings::count(times))
                    .sum::<Duration>()
            });
        });
    }
    group.finish();
}

fn turn(wire: &mut Wire) -> Duration {
    let (now, to) = (wire.now, wire.id(1));
    let mut room = wire.nodes[0].manager.driver().credit(to);
    wire.nodes[0].stage(now, to, &MESSAGE, &mut room);
    let start = Instant::now();
    wire.nodes[0].turn(now);
    let time = start.elapsed();
    wire.nodes[1].turn(now);
    wire.pass();
    time
}

/// Two managers on loopback, on one thread.
struct Loopback {
    runtime: Runtime,
    alice: ConnectionManager,
    bob: ConnectionManager,
    to_bob: Peer,
    to_alice: Peer,
}

impl Loopback {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime can be made");
        let bind = |number| {
            let identity = Identity::from_seed(&[number; 32]);
            let bound =
                ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity, Config::default());
            runtime.block_on(bound).expect("a port of loopback is free")
        };
        let (alice, bob) = (bind(1), bind(2));
        let known = "invariant: both managers run";
        Self {
            to_bob: alice.peer(bob.peer_addr()).expect(known),
            to_alice: bob.peer(alice.peer_addr()).expect(known),
            runtime,
            alice,
            bob,
        }
    }

    /// There and back.
    async fn round_trip(&self) {
        let arrives = "messages arrive over loopback";
        self.to_bob.send(MESSAGE).await.expect(arrives);
        self.bob.recv().await.expect(arrives);
        self.to_alice.send(MESSAGE).await.expect(arrives);
        self.alice.recv().await.expect(arrives);
    }

    /// Time for so many `try_send`, during which the event loop gets no turn.
    fn stage(&self, messages: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..messages {
            self.to_bob.try_send(MESSAGE).expect("there is room");
        }
        let time = start.elapsed();
        self.runtime.block_on(async {
            for _ in 0..messages {
                self.bob.recv().await.expect("what was sent arrives");
            }
            self.to_bob.flush().await.expect("all is taken");
        });
        time
    }
}

fn handle(c: &mut Criterion) {
    let loopback = Loopback::new();
    c.bench_function("loopback round trip", |b| {
        b.iter(|| loopback.runtime.block_on(loopback.round_trip()));
    });
    let mut group = c.benchmark_group("Peer::try_send");
    // What is staged has to be sent after each sample, too: as few as possible.
    group.sampling_mode(SamplingMode::Flat);
    group.bench_function("loop parked", |b| {
        b.iter_custom(|times| {
            let whole = (0..times / STAGED).map(|_| STAGED);
            let parts = whole.chain([times % STAGED]);
            parts.map(|messages| loopback.stage(messages)).sum()
        });
    });
    group.finish();
}

criterion_group! {
    name = machines;
    config = settings::criterion();
    targets = two_machines, handshake, turn_beside_idle_peers, handle
}
criterion_main!(machines);
