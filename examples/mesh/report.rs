//! The results of the mesh: a table for people, JSON for programs.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use quicpool::ConnectionStatus;
use serde_json::json;

use crate::{
    Args,
    ledger::{Account, Arrived},
    node::{Life, histogram},
    runtime::Runtime,
};

/// The whole mesh in numbers.
pub(crate) struct Report {
    runtime: Runtime,
    peers: u64,
    size: u64,
    elapsed: Duration,
    messages: u64,
    /// Between peers that both lived throughout.
    calm: Account,
    /// To or from the peer that crashed.
    troubled: Account,
    corrupt: u64,
    missed_events: u64,
    latency: Histogram<u64>,
    reconnects: u64,
    evictions: u64,
    connections_peak: u64,
    memory_bytes: usize,
    rows: Vec<Row>,
}

/// One life of one peer.
struct Row {
    name: String,
    moves: [u64; 4],
    received_per_second: f64,
    latency_us: (u64, u64),
    pool: (u64, u64),
    memory_bytes: usize,
}

impl Report {
    /// Settles the accounts of all lives, which are sorted by place and in order of time.
    pub(crate) fn new(
        args: &Args,
        runtime: Runtime,
        elapsed: Duration,
        memory_peak: usize,
        lives: &[(usize, Life)],
    ) -> Self {
        let mut report = Self {
            runtime,
            peers: args.peers,
            size: args.size,
            elapsed,
            messages: args.messages,
            calm: Account::default(),
            troubled: Account::default(),
            corrupt: 0,
            missed_events: 0,
            latency: histogram(),
            reconnects: 0,
            evictions: 0,
            connections_peak: 0,
            memory_bytes: memory_peak,
            rows: Vec::new(),
        };
        for (place, life) in lives {
            report.add_life(*place, life);
        }
        report.settle(lives);
        report
    }

    fn add_life(&mut self, place: usize, life: &Life) {
        let counters = &life.metrics.counters;
        self.corrupt += life.received.corrupt;
        self.missed_events += life.happened.missed;
        self.reconnects += counters.reconnects;
        self.evictions += counters.evictions;
        self.connections_peak = self.connections_peak.max(counters.connections_peak);
        let latency = &life.received.latency;
        self.latency
            .add(latency)
            .expect("histograms of one shape add up");
        let moves = |to| life.happened.moves.get(&to).copied().unwrap_or_default();
        self.rows.push(Row {
            name: self.name(place),
            moves: [
                moves(ConnectionStatus::Connecting),
                moves(ConnectionStatus::Connected),
                moves(ConnectionStatus::Disconnected),
                moves(ConnectionStatus::Failed),
            ],
            received_per_second: latency.len() as f64 / self.elapsed.as_secs_f64(),
            latency_us: quantiles(latency),
            pool: (counters.pool_hits, counters.pool_misses),
            memory_bytes: life.metrics.memory_usage,
        });
    }

    /// Names a row; the second life of a peer has another name than the first.
    fn name(&self, place: usize) -> String {
        let name = place.to_string();
        if self.rows.iter().any(|row| row.name == name) {
            return format!("{place} again");
        }
        name
    }

    fn settle(&mut self, lives: &[(usize, Life)]) {
        let lives_of = |place| lives.iter().filter(move |(other, _)| *other == place);
        for place in 0..lives.len() {
            for ((_, sender), life) in lives_of(place).zip(0..) {
                for (to, sent) in &sender.sent {
                    let arrived: Vec<&Arrived> = lives_of(*to)
                        .filter_map(|(_, receiver)| receiver.received.arrived.get(&(place, life)))
                        .collect();
                    let account = Account::settle(sent, &arrived);
                    let calm = lives_of(place).count() == 1 && lives_of(*to).count() == 1;
                    let sum = if calm {
                        &mut self.calm
                    } else {
                        &mut self.troubled
                    };
                    sum.add(account);
                }
            }
        }
    }

    fn total(&self) -> Account {
        let mut total = self.calm;
        total.add(self.troubled);
        total
    }

    /// Whether every message is accounted for.
    pub(crate) fn is_clean(&self) -> bool {
        let total = self.total();
        let all_sent = total.sent == self.messages;
        let intact = self.corrupt == 0 && self.missed_events == 0;
        all_sent && intact && total.is_clean() && self.calm.undelivered == 0
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> serde_json::Value {
        let total = self.total();
        let (p50, p99) = quantiles(&self.latency);
        json!({
            "peers": self.peers,
            "size": self.size,
            "runtime": self.runtime.to_string(),
            "elapsed_s": self.elapsed.as_secs_f64(),
            "messages_sent": total.sent,
            "messages_delivered": total.delivered,
            "undelivered": total.undelivered,
            "duplicates": total.duplicates,
            "out_of_order": total.out_of_order,
            "lost": total.lost,
            "messages_per_second": self.messages_per_second(),
            "latency_p50_us": p50,
            "latency_p99_us": p99,
            "reconnects": self.reconnects,
            "evictions": self.evictions,
            "connections_peak": self.connections_peak,
            "memory_bytes": self.memory_bytes,
        })
    }

    pub(crate) fn messages_per_second(&self) -> f64 {
        self.total().delivered as f64 / self.elapsed.as_secs_f64()
    }
}

fn quantiles(latency: &Histogram<u64>) -> (u64, u64) {
    (
        latency.value_at_quantile(0.5),
        latency.value_at_quantile(0.99),
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>10} {:>9} {:>12} {:>6} {:>10} {:>9} {:>9} {:>9} {:>6} {:>9}",
            "peer",
            "connecting",
            "connected",
            "disconnected",
            "failed",
            "messages/s",
            "p50 us",
            "p99 us",
            "hits",
            "misses",
            "memory"
        )?;
        for row in &self.rows {
            let [connecting, connected, disconnected, failed] = row.moves;
            writeln!(
                f,
                "{:>8} {connecting:>10} {connected:>9} {disconnected:>12} {failed:>6} {:>10.0} {:>9} {:>9} {:>9} {:>6} {:>8}K",
                row.name,
                row.received_per_second,
                row.latency_us.0,
                row.latency_us.1,
                row.pool.0,
                row.pool.1,
                row.memory_bytes / 1024,
            )?;
        }
        let total = self.total();
        let (p50, p99) = quantiles(&self.latency);
        writeln!(
            f,
            "\n{} sent, {} delivered, {} undelivered, {} lost, {} twice, {} out of order, {} corrupt",
            total.sent,
            total.delivered,
            total.undelivered,
            total.lost,
            total.duplicates,
            total.out_of_order,
            self.corrupt
        )?;
        write!(
            f,
            "on {}: {:.0} messages/s of {} B for {:.2} s; latency p50 {p50} us, p99 {p99} us; {} reconnects, {} evictions, at most {} connections",
            self.runtime,
            self.messages_per_second(),
            self.size,
            self.elapsed.as_secs_f64(),
            self.reconnects,
            self.evictions,
            self.connections_peak
        )
    }
}
