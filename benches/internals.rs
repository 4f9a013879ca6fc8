//! Shows what single pieces of the machine cost: seals, records, deadlines, the pool, the chooser.
//!
//! They are private. `quicpool_core::bench_internals` has just what is called here, behind a feature that
//! only this package's tests and benchmarks ask for. The file is here and not in `core/`, since so
//! `cargo bench` at the root runs all benchmarks, while `cargo test` there goes on testing this package
//! only.

mod settings;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quicpool_core::bench_internals::{Key, Record, Slots, Timers, choose, frame, read};

/// A lone message, a packet's worth, a message of 16 KiB, a full batch.
const BODIES: [u32; 4] = [64, 1_024, 16 * 1_024, 64 * 1_024];

/// Messages of a full batch, and of the batch that a lone message is.
const BATCHES: [usize; 2] = [1, 128];

/// Bytes of a message.
const MESSAGE: [u8; 64] = [7; 64];

/// What a packet brings of a record.
const PIECE: usize = 1_400;

/// Peers in an index. What it costs grows with the logarithm, that is by two thirds from first to last.
const PEERS: [u32; 3] = [100, 1_000, 10_000];

fn seals(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal");
    for len in BODIES {
        group.throughput(Throughput::Bytes(len.into()));
        let (mut key, mut record) = (Key::new(), Record::new(len));
        group.bench_function(BenchmarkId::new("seal", len), |b| {
            b.iter(|| key.seal(&mut record));
        });
        group.bench_function(BenchmarkId::new("open", len), |b| {
            let (mut sender, mut receiver) = (Key::new(), Key::new());
            let mut record = Record::new(len);
            b.iter_custom(|times| {
                let open_one = || {
                    sender.seal(&mut record);
                    let start = Instant::now();
                    receiver.open(&mut record);
                    start.elapsed()
                };
                std::iter::repeat_with(open_one)
                    .take(settings::count(times))
                    .sum::<Duration>()
            });
        });
    }
    group.finish();
}

fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    let now = Instant::now();
    for messages in BATCHES {
        group.throughput(Throughput::Elements(messages as u64));
        group.bench_function(BenchmarkId::new("frame", messages), |b| {
            b.iter(|| frame(now, messages, black_box(&MESSAGE)));
        });
        let record = frame(now, messages, &MESSAGE);
        assert_eq!(read(&record, PIECE), messages);
        group.bench_function(BenchmarkId::new("read", messages), |b| {
            b.iter(|| read(black_box(&record), PIECE));
        });
    }
    group.finish();
}

fn deadlines(c: &mut Criterion) {
    let mut group = c.benchmark_group("deadlines");
    for peers in PEERS {
        let mut timers = Timers::new(Instant::now(), peers);
        group.bench_function(BenchmarkId::new("look", peers), |b| {
            b.iter(|| timers.look());
        });
        group.bench_function(BenchmarkId::new("put_off", peers), |b| {
            b.iter(|| timers.put_off());
        });
        group.bench_function(BenchmarkId::new("fire", peers), |b| {
            b.iter(|| timers.fire());
        });
    }
    group.finish();
}

fn pool(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool");
    for peers in PEERS {
        let mut slots = Slots::new(Instant::now(), peers);
        group.bench_function(BenchmarkId::new("use", peers), |b| {
            b.iter(|| slots.use_one());
        });
        group.bench_function(BenchmarkId::new("evict", peers), |b| {
            b.iter(|| slots.evict());
        });
    }
    group.finish();
}

fn chooser(c: &mut Criterion) {
    assert!(choose(), "one connection stays");
    c.bench_function("chooser/two dials", |b| {
        b.iter(choose);
    });
}

criterion_group! {
    name = internals;
    config = settings::criterion();
    targets = seals, records, deadlines, pool, chooser
}
criterion_main!(internals);
