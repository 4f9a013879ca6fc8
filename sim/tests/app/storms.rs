//! Runs repeat, and two that talk in a storm agree in the end.

use std::collections::BTreeMap;

use quicpool_core::{Event, Message, PeerId};
use quicpool_sim::{
    Path,
    app::{App, Context, Family, Input, Options, Sim, explore},
    ms, secs,
};

use crate::replicas::{Flaw, Replica, body, options};

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seeds| {
        let explored = explore(
            "replicas",
            &options().seeds(seeds),
            Replica::maker(Flaw::None),
            body,
        );
        explored.unwrap_or_else(|failure| panic!("{failure}"))
    };
    for seed in 0..20 {
        assert_eq!(run(seed..seed + 1), run(seed..seed + 1));
    }
    assert_ne!(run(0..1).hash, run(1..2).hash);
}

#[cfg(feature = "tls")]
#[test]
fn with_tls_it_is_the_same_run_as_well() {
    let run = || {
        let options = options().seeds(0..2).crypto(quicpool_sim::Crypto::Tls);
        let explored = explore("replicas", &options, Replica::maker(Flaw::None), body);
        explored.unwrap_or_else(|failure| panic!("{failure}"))
    };
    assert_eq!(run(), run());
}

#[test]
fn the_same_failure_comes_again() {
    let run = || {
        let make = Replica::maker(Flaw::IgnoresTies);
        let explored = explore("replicas", &options(), make, body);
        explored.expect_err("it is wrong").to_string()
    };
    assert_eq!(run(), run());
}

#[test]
fn two_that_count_for_each_other_agree_after_a_storm() {
    let options = Options::nodes(2).seeds(0..100).without([Family::Crash]);
    let explored = explore(
        "tallies",
        &options,
        |_| Tally::default(),
        |sim| {
            sim.always("nothing comes from nowhere", |sim| {
                let counts = [0, 1].map(|place| sim.app(place).map_or((0, 0), |app| app.counts()));
                counts[0].1 <= counts[1].0 && counts[1].1 <= counts[0].0
            });
            sim.storm();
            for place in 0..2 {
                sim.call(place, |tally, cx| {
                    tally.is_over = true;
                    cx.cancel_timer("tick");
                });
            }
            sim.eventually("both have all that the other sent", secs(200), |sim| {
                let counts = [0, 1].map(|place| sim.app(place).map_or((0, 0), |app| app.counts()));
                counts[0].0 > 20 && counts[0].0 == counts[1].1 && counts[1].0 == counts[0].1
            });
        },
    );
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(explored.faults.len(), 12, "{explored}");
}

#[test]
fn a_path_is_what_is_left_after_the_storm() {
    let options = Options::nodes(2).path(Path::satellite()).seeds(0..3);
    let explored = explore(
        "path",
        &options,
        |_| Tally::default(),
        |sim| {
            sim.storm();
            let before = sim.app(0).map_or(0, |tally| tally.counts().0);
            sim.advance(secs(100));
            let tally = sim.app(0).expect("it is up");
            assert!(tally.counts().0 > before && tally.trips.iter().all(|trip| *trip >= ms(250)));
        },
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_end_of_the_storm_mends_what_the_test_has_broken() {
    let options = Options::nodes(2).seeds(0..1).only([]);
    let body = |sim: &mut Sim<Tally>| {
        sim.crash(0);
        let (a, b) = (sim.node(0), sim.node(1));
        sim.net_mut().cut(a, b);
        sim.net_mut().loss(1.0);
        sim.advance(secs(29));
        assert!(sim.app(0).is_none());
        sim.eventually("they talk", secs(10), |sim| sim.net().are_connected(a, b));
    };
    let explored = explore("mended", &options, |_| Tally::default(), body);
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_hash_tells_apart_what_applications_were_told() {
    let options = Options::nodes(1).seeds(0..1).only([]);
    let hash = |name: &'static str| {
        let body = |sim: &mut Sim<Tally>| {
            sim.call(0, |_, cx| cx.set_timer(name, ms(5)));
            sim.advance(secs(1));
        };
        let explored = explore("timers", &options, |_| Tally::default(), body);
        explored.unwrap_or_else(|failure| panic!("{failure}")).hash
    };
    assert_eq!(hash("a"), hash("a"));
    assert_ne!(hash("a"), hash("b"), "not a byte was sent");
}

/// Sends a number every half second, and counts what has come and what was given up.
#[derive(Debug, Default)]
struct Tally {
    is_over: bool,
    sent: BTreeMap<PeerId, u64>,
    received: u64,
    given_up: u64,
    trips: Vec<std::time::Duration>,
}

impl Tally {
    /// What was sent and not given up, and what was received.
    fn counts(&self) -> (u64, u64) {
        (
            self.sent.values().sum::<u64>() - self.given_up,
            self.received,
        )
    }
}

impl App for Tally {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        match input {
            Input::Started | Input::Timer("tick") if !self.is_over => {
                for peer in &cx.host.peers {
                    *self.sent.entry(*peer).or_default() += 1;
                    cx.send(*peer, (cx.now.as_nanos() as u64).to_be_bytes().to_vec());
                }
                cx.set_timer("tick", ms(500));
            }
            Input::Message(Message { payload, .. }) => {
                let left = payload[..]
                    .try_into()
                    .map(u64::from_be_bytes)
                    .expect("eight bytes");
                self.trips
                    .push(cx.now - std::time::Duration::from_nanos(left));
                self.received += 1;
            }
            Input::Refused(..) => self.given_up += 1,
            Input::Event(Event::Undelivered { messages, .. }) => {
                self.given_up += messages.end - messages.start;
            }
            _ => {}
        }
    }
}
