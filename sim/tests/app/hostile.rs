//! Applications and options that do no good: each ends with a report of what was wrong.

use std::{panic::catch_unwind, time::Duration};

use quicpool_core::PeerId;
use quicpool_sim::{
    LinkFault,
    app::{App, Context, Failure, Fault, Input, Options, Plan, Sim, Trouble, check, explore},
    ms, secs,
};

#[test]
fn a_timer_at_the_end_of_time_never_comes() {
    let set = |_: &Input<'_>, cx: &mut Context<'_>| cx.set_timer("late", Duration::MAX);
    let explored = explore(
        "late",
        &one(2),
        move |_| Does(set),
        |sim| sim.advance(secs(50)),
    );
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn an_application_that_never_lets_time_pass_is_stopped() {
    let acts: [fn(&Input<'_>, &mut Context<'_>); 4] = [
        |_, cx| cx.set_timer("again", Duration::ZERO),
        |_, cx| cx.set_timer("again", Duration::from_nanos(1)),
        |_, cx| cx.send(cx.host.id, "me"),
        |_, cx| cx.send(PeerId::from_bytes([9; 32]), "nobody"),
    ];
    for act in acts {
        let failure = fails(act, |sim| sim.advance(secs(1)));
        assert_eq!(failure.property, "time goes on", "{failure}");
        assert!(failure.at < ms(1), "{failure}");
    }
}

#[test]
fn a_call_that_asks_without_end_is_stopped() {
    let failure = fails(
        |_, cx| {
            loop {
                cx.send(cx.host.id, "me");
            }
        },
        |_| {},
    );
    assert_eq!(failure.property, "the application of node 0 does not panic");
    assert!(
        failure.what.contains("more than 1000000 actions"),
        "{failure}"
    );
}

#[test]
fn a_run_does_not_last_for_ever() {
    let bodies: [fn(&mut Sim<Does<Act>>); 3] = [
        |sim| sim.advance(Duration::MAX),
        |sim| assert!(sim.run_until(Duration::MAX, |_| false)),
        |sim| sim.eventually("it", Duration::MAX, |_| false),
    ];
    for body in bodies {
        let failure = fails(|_, _| {}, body);
        assert!(failure.what.contains("allowed is up to"), "{failure}");
    }
}

#[test]
fn options_that_cannot_be_run_are_named() {
    let plan = |what| {
        let mut plan = Plan::calm(ms(1), secs(1));
        let (from, until) = (secs(0), secs(1));
        plan.faults.push(Fault { from, until, what });
        one(2).plan(plan)
    };
    for (options, complaint) in [
        (one(0), "there are 0 nodes, allowed is 1..=1000"),
        (one(70_000), "there are 70000 nodes, allowed is 1..=1000"),
        (one(2).seeds(5..5), "the seeds are 5..5, allowed is"),
        (one(2).storm(Duration::MAX), "allowed is up to 86400s"),
        (
            one(2).plan(Plan::calm(Duration::MAX, secs(1))),
            "the latency of the plan",
        ),
        (
            one(2).plan(Plan::calm(ms(1), Duration::MAX)),
            "the storm of the plan",
        ),
        (
            plan(Trouble::Links(LinkFault::Loss(f64::NAN))),
            "allowed is 0.0..=1.0",
        ),
        (
            plan(Trouble::Links(LinkFault::Burst(1e308))),
            "allowed is 0.0..=1.0",
        ),
        (
            plan(Trouble::Links(LinkFault::Rate(0))),
            "allowed is 1500..=",
        ),
        (plan(Trouble::Cut { a: 1, b: 1 }), "two different nodes"),
    ] {
        let checked = catch_unwind(|| {
            check(
                "hopeless",
                options,
                |_| Does(|_: &Input<'_>, _: &mut Context<'_>| {}),
                |_| {},
            );
        });
        let panic = checked.expect_err(complaint);
        let text = panic.downcast_ref::<String>().expect("it says something");
        assert!(
            text.starts_with("hopeless: ") && text.contains(complaint),
            "{text}"
        );
    }
}

#[test]
fn a_report_of_many_nodes_can_be_read() {
    let options = one(40);
    let failure = explore(
        "many",
        &options,
        |_| Does(|_: &Input<'_>, _: &mut Context<'_>| {}),
        |_| panic!("enough"),
    );
    let text = failure.expect_err("it panics").to_string();
    assert!(
        text.contains("node 15") && text.contains("and 24 nodes more"),
        "{text}"
    );
    assert!(text.len() < 20_000, "{} bytes", text.len());
}

type Act = fn(&Input<'_>, &mut Context<'_>);

/// Does the same with every input.
struct Does<F>(F);

impl<F> std::fmt::Debug for Does<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Does")
    }
}

impl<F: Fn(&Input<'_>, &mut Context<'_>) + 'static> App for Does<F> {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        (self.0)(&input, cx);
    }
}

fn one(nodes: usize) -> Options {
    Options::nodes(nodes).seeds(0..1).only([])
}

fn fails(act: Act, body: impl Fn(&mut Sim<Does<Act>>)) -> Failure {
    let explored = explore("hostile", &one(2), move |_| Does(act), body);
    *explored.expect_err("it is wrong")
}
