//! The command `flood`: what honest peers keep while strangers flood the server.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use quicpool::PeerAddr;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    child::{Child, number, resident},
    honest::CONNECT_TIME_MAX,
    options::Flood,
    table::{Table, median, mib, verdict},
};

/// Peers of each group.
const PEERS: usize = 10;

/// Packets per second of the attacker with one real address.
const HALF_OPEN_RATE: u64 = 500;

/// How long a flood goes on before anything is measured.
const SETTLE: Duration = Duration::from_millis(500);

/// How long the half-open handshakes go on before peers dial: longer than their deadline, 5 s, so that
/// as many are held as ever will be.
const HALF_OPEN_SETTLE: Duration = Duration::from_secs(6);

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// What must hold up to a rate.
struct Bars {
    rate_max: u64,
    share: f64,
    growth_bytes: f64,
    back_in_a_second: f64,
    added_in_a_second: f64,
    added_in_ten_seconds: f64,
}

const BARS: [Bars; 2] = [
    Bars {
        rate_max: 20_000,
        share: 0.9,
        growth_bytes: (16 << 20) as f64,
        back_in_a_second: 10.0,
        added_in_a_second: 10.0,
        added_in_ten_seconds: 10.0,
    },
    Bars {
        rate_max: 100_000,
        share: 0.65,
        growth_bytes: (16 << 20) as f64,
        back_in_a_second: 10.0,
        added_in_a_second: 0.0,
        added_in_ten_seconds: 8.0,
    },
];

/// Figures of one round, or medians of several.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    sent_per_second: f64,
    control: f64,
    flooded: f64,
    growth_bytes: f64,
    back_in_a_second: f64,
    back_ms: f64,
    added_in_a_second: f64,
    added_in_ten_seconds: f64,
    added_ms: f64,
}

/// Runs all rounds and prints the tables; whether the bars hold.
pub async fn run(options: &Flood) -> Result<bool> {
    let (mut gun, _) = Child::start(&["spoofed"]).await?;
    let mut floods: Vec<Vec<Figures>> = vec![Vec::new(); options.rates().len()];
    let mut half_open = Vec::new();
    for round in 1..=options.rounds {
        for (place, rate) in floods.iter_mut().zip(options.rates()) {
            let figures = flood(options, &mut gun, rate).await;
            let figures = figures.with_context(|| format!("round {round}, {rate}/s"))?;
            eprintln!("round {round} of {}, {rate}/s: {figures:?}", options.rounds);
            place.push(figures);
        }
        let figures = hold_half_open().await;
        let figures = figures.with_context(|| format!("round {round}, half-open"))?;
        eprintln!(
            "round {round} of {}, half-open: {figures:?}",
            options.rounds
        );
        half_open.push(figures);
    }
    gun.end().await?;
    Ok(print_floods(options, &floods) & print_half_open(&half_open))
}

fn print_floods(options: &Flood, floods: &[Vec<Figures>]) -> bool {
    let mut table = Table::new(&[
        "rate",
        "sent/s",
        "control",
        "flooded",
        "share",
        "memory",
        "back in 1 s",
        "median ms",
        "added in 1 s",
        "added in 10 s",
        "median ms",
        "",
    ]);
    let mut all_hold = true;
    for (rate, rounds) in options.rates().into_iter().zip(floods) {
        let middle = Figures::median(rounds);
        let missed = middle.missed(rate);
        all_hold &= missed.is_empty();
        table.row(middle.cells(rate, &missed));
    }
    println!("spoofed Initials from 10,000 sources; echoes per second of {PEERS} peers, MiB\n");
    println!("{table}");
    all_hold
}

fn print_half_open(rounds: &[Figures]) -> bool {
    let middle = Figures::median(rounds);
    let holds = middle.added_in_a_second >= PEERS as f64;
    let mut table = Table::new(&[
        "rate",
        "sent/s",
        "added in 1 s",
        "added in 10 s",
        "median ms",
        "",
    ]);
    table.row(vec![
        HALF_OPEN_RATE.to_string(),
        format!("{:.0}", middle.sent_per_second),
        of_peers(middle.added_in_a_second),
        of_peers(middle.added_in_ten_seconds),
        millis(middle.added_ms),
        verdict(if holds { &[] } else { &["added in 1 s"] }),
    ]);
    println!("half-open handshakes from one real address\n");
    print!("{table}");
    holds
}

impl Figures {
    fn median(rounds: &[Self]) -> Self {
        let middle = |field: fn(&Self) -> f64| median(rounds.iter().map(field).collect());
        Self {
            sent_per_second: middle(|figures| figures.sent_per_second),
            control: middle(|figures| figures.control),
            flooded: middle(|figures| figures.flooded),
            growth_bytes: middle(|figures| figures.growth_bytes),
            back_in_a_second: middle(|figures| figures.back_in_a_second),
            back_ms: middle(|figures| figures.back_ms),
            added_in_a_second: middle(|figures| figures.added_in_a_second),
            added_in_ten_seconds: middle(|figures| figures.added_in_ten_seconds),
            added_ms: middle(|figures| figures.added_ms),
        }
    }

    fn share(&self) -> f64 {
        self.flooded / self.control.max(1.0)
    }

    /// The bars of this rate that are missed. Beyond the last rate there are none.
    fn missed(&self, rate: u64) -> Vec<&'static str> {
        let Some(bars) = BARS.iter().find(|bars| rate <= bars.rate_max) else {
            return Vec::new();
        };
        let all = [
            (self.share() < bars.share, "share"),
            (self.growth_bytes > bars.growth_bytes, "memory"),
            (self.back_in_a_second < bars.back_in_a_second, "back"),
            (
                self.added_in_a_second < bars.added_in_a_second,
                "added in 1 s",
            ),
            (
                self.added_in_ten_seconds < bars.added_in_ten_seconds,
                "added in 10 s",
            ),
            (
                self.sent_per_second < 0.95 * rate as f64,
                "the flood was too slow",
            ),
        ];
        let missed = all.into_iter().filter(|(is_missed, _)| *is_missed);
        missed.map(|(_, bar)| bar).collect()
    }

    fn cells(&self, rate: u64, missed: &[&str]) -> Vec<String> {
        vec![
            rate.to_string(),
            format!("{:.0}", self.sent_per_second),
            format!("{:.0}", self.control),
            format!("{:.0}", self.flooded),
            format!("{:.0} %", 100.0 * self.share()),
            format!("+{}", mib(self.growth_bytes as u64)),
            of_peers(self.back_in_a_second),
            millis(self.back_ms),
            of_peers(self.added_in_a_second),
            of_peers(self.added_in_ten_seconds),
            millis(self.added_ms),
            verdict(missed),
        ]
    }
}

/// A time that is finite if a peer got through.
fn millis(time: f64) -> String {
    match time.is_finite() {
        true => format!("{time:.0}"),
        false => format!("> {}", CONNECT_TIME_MAX.as_millis()),
    }
}

fn of_peers(count: f64) -> String {
    format!("{count:.0}/{PEERS}")
}

/// A server, and the honest peers that it knows, which have begun.
pub struct Scene {
    pub server: Child,
    pub honest: Child,
    pub address: PeerAddr,
}

impl Scene {
    pub async fn new(loops: usize, dials: usize) -> Result<Self> {
        let (mut server, first) = Child::start(&["serve"]).await?;
        let address = first["address"].as_str().context("the server's address")?;
        let (loops, dials) = (loops.to_string(), dials.to_string());
        let (mut honest, first) = Child::start(&["honest", address, &loops, &dials]).await?;
        for id in first["ids"].as_array().context("the peers' ids")? {
            let id = id.as_str().context("an id")?;
            server.order(&format!("add {id}")).await?;
        }
        // Its answer shows that the peers are known.
        server.ask("metrics").await?;
        honest.ask("begin").await?;
        Ok(Self {
            server,
            address: address.parse()?,
            honest,
        })
    }

    pub async fn end(self) -> Result<()> {
        self.honest.end().await?;
        self.server.end().await
    }
}

/// One flood on a server of its own, after the same flood at another port.
async fn flood(options: &Flood, gun: &mut Child, rate: u64) -> Result<Figures> {
    let mut scene = Scene::new(PEERS, PEERS).await?;
    let sink = UdpSocket::bind("127.0.0.1:0").context("no other port")?;
    let fire = |to| format!("fire {to} {rate}");

    gun.order(&fire(sink.local_addr()?)).await?;
    sleep(SETTLE).await;
    let control = Window::begin(&mut scene.honest).await?;
    sleep(options.seconds).await;
    let control = control.end(&mut scene.honest).await?;
    gun.ask("cease").await?;
    sleep(SETTLE).await;

    let memory = Watch::begin(scene.server.id()?)?;
    gun.order(&fire(scene.address.addr)).await?;
    sleep(SETTLE).await;
    let flooded = Window::begin(&mut scene.honest).await?;
    let until = Instant::now() + options.seconds;
    sleep(SETTLE).await;
    let back = scene.honest.ask("back").await?;
    let added = scene.honest.ask("added").await?;
    sleep(until.saturating_duration_since(Instant::now())).await;
    let flooded = flooded.end(&mut scene.honest).await?;
    let sent = gun.ask("cease").await?;
    let growth = memory.end();
    scene.end().await?;

    let (back, added) = (times(&back), times(&added));
    Ok(Figures {
        sent_per_second: 1e3 * number(&sent, "sent")? as f64 / number(&sent, "ms")? as f64,
        control,
        flooded,
        growth_bytes: growth as f64,
        back_in_a_second: within(&back, 1_000.0),
        back_ms: median(back),
        added_in_a_second: within(&added, 1_000.0),
        added_in_ten_seconds: within(&added, 10_000.0),
        added_ms: median(added),
    })
}

/// Half-open handshakes from one address on a server of their own.
async fn hold_half_open() -> Result<Figures> {
    let mut scene = Scene::new(PEERS, PEERS).await?;
    let (target, rate) = (scene.address.addr.to_string(), HALF_OPEN_RATE.to_string());
    let begun = Instant::now();
    let (mut attacker, _) = Child::start(&["half-open", &target, &rate]).await?;
    sleep(HALF_OPEN_SETTLE).await;
    let added = times(&scene.honest.ask("added").await?);
    let counts = attacker.ask("count").await?;
    let seconds = begun.elapsed().as_secs_f64();
    attacker.end().await?;
    scene.end().await?;
    Ok(Figures {
        sent_per_second: number(&counts, "sent")? as f64 / seconds,
        added_in_a_second: within(&added, 1_000.0),
        added_in_ten_seconds: within(&added, 10_000.0),
        added_ms: median(added),
        ..Figures::default()
    })
}

/// How long each peer has taken in milliseconds: for ever, if it did not get through.
fn times(answer: &Value) -> Vec<f64> {
    let times = answer["ms"].as_array().map(Vec::as_slice);
    let times = times.unwrap_or_default().iter();
    times
        .map(|time| time.as_f64().unwrap_or(f64::INFINITY))
        .collect()
}

fn within(times: &[f64], limit: f64) -> f64 {
    times.iter().filter(|time| **time <= limit).count() as f64
}

/// A stretch of time in which echoes are counted.
pub struct Window(Value);

impl Window {
    pub async fn begin(honest: &mut Child) -> Result<Self> {
        Ok(Self(honest.ask("echoes").await?))
    }

    /// Echoes per second since it began.
    pub async fn end(self, honest: &mut Child) -> Result<f64> {
        let after = honest.ask("echoes").await?;
        let grown = |name| Ok::<_, anyhow::Error>(number(&after, name)? - number(&self.0, name)?);
        Ok(1e6 * grown("echoes")? as f64 / grown("us")? as f64)
    }
}

/// Watches how much the resident memory of a process grows.
struct Watch {
    before: u64,
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    fn begin(id: u32) -> Result<Self> {
        let before = resident(id)?;
        let peak = Arc::new(AtomicU64::new(before));
        let highest = peak.clone();
        let task = tokio::spawn(async move {
            while let Ok(bytes) = resident(id) {
                highest.fetch_max(bytes, Ordering::Relaxed);
                sleep(INTERVAL).await;
            }
        });
        Ok(Self { before, peak, task })
    }

    /// The growth at the peak, in bytes.
    fn end(self) -> u64 {
        self.task.abort();
        self.peak.load(Ordering::Relaxed) - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds every bar of 100,000/s, and not those of 20,000/s.
    const FLOODED: Figures = Figures {
        sent_per_second: 100_000.0,
        control: 1_000.0,
        flooded: 700.0,
        growth_bytes: 1.0,
        back_in_a_second: 10.0,
        back_ms: 10.0,
        added_in_a_second: 7.0,
        added_in_ten_seconds: 8.0,
        added_ms: 10.0,
    };

    #[test]
    fn bars_go_by_the_rate() {
        assert!(FLOODED.missed(100_000).is_empty());
        let missed = ["share", "added in 1 s", "added in 10 s"];
        assert_eq!(FLOODED.missed(20_000), missed);
        assert!(FLOODED.missed(200_000).is_empty());
    }

    #[test]
    fn a_peer_that_does_not_get_through_counts_for_ever() {
        let times = times(&serde_json::json!({ "ms": [5, null, 2_000] }));
        assert_eq!(times, [5.0, f64::INFINITY, 2_000.0]);
        assert_eq!(within(&times, 1_000.0), 1.0);
        assert_eq!(millis(median(times)), "2000");
        assert_eq!(millis(f64::INFINITY), "> 10000");
    }

    #[test]
    fn each_bar_can_be_missed() {
        for (figures, bar) in [
            (
                Figures {
                    flooded: 640.0,
                    ..FLOODED
                },
                "share",
            ),
            (
                Figures {
                    growth_bytes: 17e6,
                    ..FLOODED
                },
                "memory",
            ),
            (
                Figures {
                    back_in_a_second: 9.0,
                    ..FLOODED
                },
                "back",
            ),
            (
                Figures {
                    added_in_ten_seconds: 7.0,
                    ..FLOODED
                },
                "added in 10 s",
            ),
            (
                Figures {
                    sent_per_second: 94_000.0,
                    ..FLOODED
                },
                "the flood was too slow",
            ),
        ] {
            assert_eq!(figures.missed(100_000), [bar]);
        }
    }
}
