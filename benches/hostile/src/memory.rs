//! The command `memory`: what a server holds while its memory is attacked.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use quicpool::{Config, ConnectionManager, Identity, PeerAddr, TokioRuntime};
use tokio::time::sleep;

use crate::{
    child::{Child, number, resident, resident_peak},
    options::{Memory, Siege, argument},
    serve::ECHO,
    table::{Table, mib, verdict},
};

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long an attack that is done is looked at.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The bar with `memory_max` of 32 MiB; other sizes have the same share.
const RESIDENT_PER_MEMORY_MAX: u64 = 3;

/// `memory_usage` may differ by so much from the growth of resident memory: a quarter, or what the buffers of the socket,
/// the first use of code and an allocator that keeps what was freed take in any case: 8 to 9 MiB after 600 handshakes
/// with large certificates, of which nothing is held, and no more after 4,200. `sim/tests/memory/hoards.rs` compares
/// `memory_usage` with the heap to a quarter.
const USAGE_SHARE: u64 = 4;
const USAGE_BYTES: u64 = 10 << 20;

/// Echoes before the attack, after which code and allocator are in use.
const WARM_UP_MESSAGES: usize = 2_000;

/// What one attack has done.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    before: u64,
    /// The most that there ever was.
    peak: u64,
    /// The most that was seen, and `memory_usage` as it was then.
    seen: u64,
    usage: u64,
    after: u64,
    usage_after: u64,
    /// Connections that the attacker had at one time, at most, that it has made, and that it has lost.
    connected: u64,
    made: u64,
    lost: u64,
    bytes: u64,
}

/// Runs the cases and prints the table; whether the bars hold.
pub async fn run(options: &Memory) -> Result<bool> {
    let limit = options.memory_max as u64 * RESIDENT_PER_MEMORY_MAX;
    let mut table = Table::new(&[
        "case", "before", "peak", "bar", "usage", "growth", "after", "at once", "made", "lost",
        "sent", "",
    ]);
    let mut all_hold = true;
    for case in options.cases() {
        let mut worst = Outcome::default();
        for _ in 0..options.rounds {
            let outcome = attack(options, case)
                .await
                .with_context(|| case.to_string())?;
            if outcome.peak > worst.peak {
                worst = outcome;
            }
        }
        let missed = worst.missed(limit);
        all_hold &= missed.is_empty();
        table.row(worst.cells(case, limit, &missed));
    }
    println!(
        "memory_max {}; MiB but for counts\n",
        mib(options.memory_max as u64)
    );
    print!("{table}");
    Ok(all_hold)
}

impl Outcome {
    fn growth(&self) -> u64 {
        self.seen.saturating_sub(self.before)
    }

    /// The bars that are missed, in words.
    fn missed(&self, limit: u64) -> Vec<&'static str> {
        let growth = self.growth();
        let allowed = (growth / USAGE_SHARE).max(USAGE_BYTES);
        let bars = [
            (self.peak > limit, "resident"),
            (self.usage.abs_diff(growth) > allowed, "usage"),
            (self.made == 0, "no attack"),
        ];
        let missed = bars.iter().filter(|(is_missed, _)| *is_missed);
        missed.map(|(_, bar)| *bar).collect()
    }

    fn cells(&self, case: Siege, limit: u64, missed: &[&str]) -> Vec<String> {
        vec![
            case.to_string(),
            mib(self.before),
            mib(self.peak),
            mib(limit),
            mib(self.usage),
            mib(self.growth()),
            format!("{} ({})", mib(self.after), mib(self.usage_after)),
            self.connected.to_string(),
            self.made.to_string(),
            self.lost.to_string(),
            mib(self.bytes),
            verdict(missed),
        ]
    }
}

/// One attack on a server of its own.
async fn attack(options: &Memory, case: Siege) -> Result<Outcome> {
    let memory_max = options.memory_max.to_string();
    let (mut server, first) = Child::start(&["serve", "--memory-max", &memory_max]).await?;
    let address = first["address"].as_str().context("the server's address")?;
    let address: PeerAddr = address.parse()?;
    warm_up(address).await?;

    let mut outcome = Outcome {
        before: resident(server.id()?)?,
        ..Outcome::default()
    };
    let target = address.addr.to_string();
    let (mut attacker, _) = Child::start(&["siege", &argument(&case), &target]).await?;
    let mut end = Instant::now() + options.seconds;
    let mut is_done = false;
    while Instant::now() < end {
        sleep(INTERVAL).await;
        look(&mut outcome, &mut server).await?;
        if count(&mut outcome, &mut attacker).await? && !is_done {
            is_done = true;
            end = end.min(Instant::now() + AFTERWARDS);
        }
    }
    let counts = attacker.ask("count").await?;
    attacker.end().await?;
    server.end().await?;
    let (peak, usage) = (mib(outcome.peak), mib(outcome.usage));
    let reasons = &counts["reasons"];
    eprintln!("{case}: {peak} MiB resident, usage {usage}; connections lost by {reasons}");
    Ok(outcome)
}

/// Looks at the server's memory, and keeps the peak.
async fn look(outcome: &mut Outcome, server: &mut Child) -> Result<()> {
    let metrics = server.ask("metrics").await?;
    outcome.after = resident(server.id()?)?;
    outcome.usage_after = number(&metrics, "memory_usage")?;
    outcome.peak = resident_peak(server.id()?)?;
    if outcome.after > outcome.seen {
        outcome.seen = outcome.after;
        outcome.usage = outcome.usage_after;
    }
    Ok(())
}

/// Asks the attacker what it has done; whether it is done.
async fn count(outcome: &mut Outcome, attacker: &mut Child) -> Result<bool> {
    let counts = attacker.ask("count").await?;
    outcome.connected = outcome.connected.max(number(&counts, "connected")?);
    outcome.made = number(&counts, "made")?;
    outcome.lost = number(&counts, "lost")?;
    outcome.bytes = number(&counts, "bytes")?;
    Ok(counts["done"] == true)
}

/// Uses the server as an honest peer does, and leaves.
async fn warm_up(server: PeerAddr) -> Result<()> {
    let config = Config::default();
    let identity = Identity::generate();
    let manager = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity, config).await?;
    let peer = manager.peer(server)?;
    for _ in 0..WARM_UP_MESSAGES {
        peer.send([ECHO; 256]).await?;
    }
    for _ in 0..WARM_UP_MESSAGES {
        manager.recv().await?;
    }
    manager.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_bar_is_missed_beyond_its_limit() {
        let held = Outcome {
            before: 10 * MIB,
            peak: 90 * MIB,
            seen: 90 * MIB,
            usage: 65 * MIB,
            made: 1,
            ..Outcome::default()
        };
        assert!(held.missed(96 * MIB).is_empty());
        assert_eq!(held.missed(80 * MIB), ["resident"]);
        let unknown = Outcome { usage: 0, ..held };
        assert_eq!(unknown.missed(96 * MIB), ["usage"]);
        let absent = Outcome { made: 0, ..held };
        assert_eq!(absent.missed(96 * MIB), ["no attack"]);
    }

    #[test]
    fn usage_of_a_server_that_has_hardly_grown_may_differ_by_some_mib() {
        let refused = Outcome {
            before: 10 * MIB,
            peak: 13 * MIB,
            seen: 13 * MIB,
            made: 1,
            ..Outcome::default()
        };
        assert!(refused.missed(96 * MIB).is_empty());
    }
}
