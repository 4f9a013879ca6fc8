//! Faults of an application are found, and the report has what is needed to see them again.

use std::{env, panic::catch_unwind};

use quicpool_sim::{
    app::{App, Context, Input, Options, Sim, check, explore},
    ms, secs,
};

use crate::replicas::{AGREE, Flaw, Replica, body, options};

#[test]
fn a_register_that_is_right_passes() {
    let explored = explore(
        "replicas",
        &options().seeds(0..100),
        Replica::maker(Flaw::None),
        body,
    );
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(explored.runs, 100);
    assert_eq!(
        explored.faults.len(),
        13,
        "every family strikes: {explored}"
    );
}

#[test]
fn every_flaw_is_found_within_the_usual_seeds() {
    for flaw in [Flaw::ForgetsToSave, Flaw::SendsOnce, Flaw::IgnoresTies] {
        let explored = explore("replicas", &options(), Replica::maker(flaw), body);
        let failure = explored.expect_err("it is wrong");
        assert_eq!(failure.property, AGREE, "{flaw:?}: {failure}");
    }
}

#[test]
fn a_flaw_that_faults_bring_out_needs_them() {
    let options = options().only([]);
    let explored = explore(
        "replicas",
        &options,
        Replica::maker(Flaw::ForgetsToSave),
        body,
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn a_report_names_property_seed_time_faults_and_command() {
    let make = Replica::maker(Flaw::ForgetsToSave);
    let failure = explore(
        "replicas",
        &options(),
        Replica::maker(Flaw::ForgetsToSave),
        body,
    );
    let failure = failure.expect_err("it forgets to save");
    let panic = catch_unwind(move || check("replicas", options(), make, body));
    let panic = panic.expect_err("it forgets to save");
    let report = panic.downcast::<String>().expect("a report is text");
    let (seed, at) = (failure.seed, failure.at.as_secs_f64());
    // Cargo names the package; a start of this program by hand need not.
    let package = env::var("CARGO_PKG_NAME").map_or_else(|_| String::new(), |p| format!(" -p {p}"));
    for part in [
        format!("replicas: \"{AGREE}\" does not hold\n"),
        format!("seed    {seed}\n"),
        format!("time    {at:.9} s of simulated time, after the storm, which ended at 30s\n"),
        "faults  0 on, ".to_owned(),
        "node 2  Replica { flaw: ForgetsToSave, ".to_owned(),
        format!("again   SIM_SEED={seed} cargo test{package} replicas\n"),
        format!("/sim/replicas-{seed}.json cargo test{package} replicas\n"),
        ", Connected to node 1\n".to_owned(),
    ] {
        assert!(report.contains(&part), "{part:?} is not in {report}");
    }
}

#[test]
fn a_panic_is_reported_like_a_property() {
    let explored = explore("panic", &bombs(), |_| Bomb, |sim| sim.advance(secs(60)));
    let failure = explored.expect_err("it panics");
    assert_eq!(failure.property, "the application of node 1 does not panic");
    assert_eq!(failure.what, "panic: boom");
    assert_eq!((failure.seed, failure.at), (5, ms(1_500)));
}

#[test]
fn a_panic_of_the_test_is_reported_like_a_property() {
    let explored = explore(
        "panic",
        &bombs(),
        |_| Bomb,
        |sim| {
            sim.advance(secs(1));
            assert_eq!(sim.len(), 3, "there are three");
        },
    );
    let failure = explored.expect_err("there are two");
    assert_eq!(failure.property, "the test does not panic");
    assert!(failure.what.contains("there are three"));
    assert_eq!(failure.at, secs(1));
}

#[test]
fn a_panic_of_a_condition_is_its_property() {
    let body = |sim: &mut Sim<Tick>| {
        sim.always("all is well", |sim| {
            assert!(sim.now() < secs(1), "it is late");
            true
        });
        sim.advance(secs(2));
    };
    let failure = explore("panic", &bombs(), |_| Tick, body).expect_err("it gets late");
    let seen = (failure.property.as_str(), failure.what.as_str());
    assert_eq!(seen, ("all is well", "panic: it is late"));
    assert_eq!(failure.at, ms(1_200), "nobody hears anything before");
}

#[test]
fn an_application_that_never_waits_is_stopped() {
    let explored = explore("spin", &bombs(), |_| Spin, |sim| sim.advance(ms(1)));
    let failure = explored.expect_err("it spins");
    assert_eq!(failure.property, "time goes on");
}

fn bombs() -> Options {
    Options::nodes(2).seeds(5..6).only([])
}

/// Panics after a while.
#[derive(Debug)]
struct Bomb;

impl App for Bomb {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        match input {
            Input::Started if cx.host.place == 1 => cx.set_timer("fuse", ms(1_500)),
            Input::Timer(_) => panic!("boom"),
            _ => {}
        }
    }
}

/// Hears something every 400 ms.
#[derive(Debug)]
struct Tick;

impl App for Tick {
    fn handle(&mut self, _input: Input<'_>, cx: &mut Context<'_>) {
        cx.set_timer("tick", ms(400));
    }
}

/// Sets its timer to now, again and again.
#[derive(Debug)]
struct Spin;

impl App for Spin {
    fn handle(&mut self, _input: Input<'_>, cx: &mut Context<'_>) {
        cx.set_timer("spin", ms(0));
    }
}
