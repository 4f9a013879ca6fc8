//! The command `fair`: what three honest peers keep beside one that is hostile, and beside one that
//! sends in bulk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    child::{Child, number},
    flood::{Scene, Window},
    options::{Fair, Greed, argument},
    table::{Table, median, verdict},
};

/// Peers with a closed loop.
const LOOPS: usize = 3;

/// How long the other peer works before echoes are counted.
const SETTLE: Duration = Duration::from_millis(500);

/// The honest keep this part of what a bulk sender leaves them.
const SHARE: f64 = 0.5;

/// Figures of one round, or medians of several.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    alone: f64,
    beside: f64,
    units_per_second: f64,
    made: f64,
    lost: f64,
}

/// Runs all rounds and prints the table; whether the bars hold.
pub async fn run(options: &Fair) -> Result<bool> {
    let cases = options.cases();
    let mut bulk = Vec::new();
    let mut attacks: Vec<Vec<Figures>> = vec![Vec::new(); cases.len()];
    for round in 1..=options.rounds {
        let figures = beside(options, None).await.context("bulk")?;
        eprintln!("round {round} of {}, bulk: {figures:?}", options.rounds);
        bulk.push(figures);
        for (place, case) in attacks.iter_mut().zip(&cases) {
            let figures = beside(options, Some(*case)).await;
            place.push(figures.with_context(|| case.to_string())?);
        }
    }

    let bulk = Figures::median(&bulk);
    let mut table = Table::new(&[
        "beside",
        "alone",
        "echoes/s",
        "of alone",
        "of bulk's",
        "units/s",
        "made",
        "lost",
        "",
    ]);
    table.row(bulk.cells("bulk", bulk.beside, "the measure".to_owned()));
    let mut all_hold = true;
    for (case, rounds) in cases.iter().zip(&attacks) {
        let middle = Figures::median(rounds);
        let missed = middle.missed(bulk.beside);
        all_hold &= missed.is_empty();
        table.row(middle.cells(&case.to_string(), bulk.beside, verdict(&missed)));
    }
    println!("echoes per second of {LOOPS} honest peers\n");
    print!("{table}");
    Ok(all_hold)
}

impl Figures {
    fn median(rounds: &[Self]) -> Self {
        let middle = |field: fn(&Self) -> f64| median(rounds.iter().map(field).collect());
        Self {
            alone: middle(|figures| figures.alone),
            beside: middle(|figures| figures.beside),
            units_per_second: middle(|figures| figures.units_per_second),
            made: middle(|figures| figures.made),
            lost: middle(|figures| figures.lost),
        }
    }

    /// The bars that are missed, in words.
    fn missed(&self, bulk: f64) -> Vec<&'static str> {
        let bars = [
            (self.beside < SHARE * bulk, "share"),
            (self.units_per_second == 0.0, "no attack"),
        ];
        let missed = bars.iter().filter(|(is_missed, _)| *is_missed);
        missed.map(|(_, bar)| *bar).collect()
    }

    fn cells(&self, name: &str, bulk: f64, verdict: String) -> Vec<String> {
        let share = |of: f64| format!("{:.0} %", 100.0 * self.beside / of.max(1.0));
        vec![
            name.to_owned(),
            format!("{:.0}", self.alone),
            format!("{:.0}", self.beside),
            share(self.alone),
            share(bulk),
            format!("{:.0}", self.units_per_second),
            format!("{:.0}", self.made),
            format!("{:.0}", self.lost),
            verdict,
        ]
    }
}

/// Echoes of the honest on a server of their own, alone and beside an attacker, or else a bulk sender.
async fn beside(options: &Fair, case: Option<Greed>) -> Result<Figures> {
    let mut scene = Scene::new(LOOPS, 0).await?;
    sleep(SETTLE).await;
    let window = Window::begin(&mut scene.honest).await?;
    sleep(options.seconds).await;
    let alone = window.end(&mut scene.honest).await?;

    let mut other = match case {
        Some(case) => attacker(&scene, case).await?,
        None => bulk_sender(&scene).await?,
    };
    sleep(SETTLE).await;
    let before = units(&mut scene, &mut other, case).await?;
    let (window, begun) = (Window::begin(&mut scene.honest).await?, Instant::now());
    sleep(options.seconds).await;
    let beside = window.end(&mut scene.honest).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = units(&mut scene, &mut other, case).await?;
    other.end().await?;
    scene.end().await?;

    let sent = after.units.saturating_sub(before.units);
    if let Some(case) = case {
        eprintln!(
            "{case}: {beside:.0} echoes/s; connections lost by {}",
            after.reasons
        );
    }
    Ok(Figures {
        alone,
        beside,
        // The bulk sender's messages are those that the server has taken and not echoed.
        units_per_second: match case {
            Some(_) => sent as f64 / seconds,
            None => (sent as f64 / seconds - beside).max(0.0),
        },
        made: after.made as f64,
        lost: after.lost as f64,
    })
}

async fn attacker(scene: &Scene, case: Greed) -> Result<Child> {
    let target = scene.address.addr.to_string();
    let (attacker, _) = Child::start(&["greedy", &argument(&case), &target]).await?;
    Ok(attacker)
}

async fn bulk_sender(scene: &Scene) -> Result<Child> {
    let server = scene.address.to_string();
    let (mut sender, _) = Child::start(&["honest", &server, "0", "0"]).await?;
    sender.ask("bulk").await?;
    Ok(sender)
}

/// What the other peer has done so far.
struct Units {
    units: u64,
    made: u64,
    lost: u64,
    reasons: Value,
}

async fn units(scene: &mut Scene, other: &mut Child, case: Option<Greed>) -> Result<Units> {
    if case.is_none() {
        let metrics = scene.server.ask("metrics").await?;
        return Ok(Units {
            units: number(&metrics, "messages")?,
            made: 1,
            lost: 0,
            reasons: Value::Null,
        });
    }
    let counts = other.ask("count").await?;
    Ok(Units {
        units: number(&counts, "units")?,
        made: number(&counts, "made")?,
        lost: number(&counts, "lost")?,
        reasons: counts["reasons"].clone(),
    })
}
