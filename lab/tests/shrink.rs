//! Worlds are made smaller until nothing can be left out, and fail as they did before.

use std::{ops::ControlFlow, time::Duration};

use quicpool_lab::swarm::{
    Condition, End, Failure, Limits, LinkFault, LinkProfile, Operation, Outsider, OwnLimits,
    Scenario, Shrink, Shrunk, Step, When, Where, Withdrawal,
};
use quicpool_sim::{Delay, ms};

/// Worlds that are made smaller for each kind of failure.
const WORLDS: usize = 10;

#[test]
fn what_one_step_does_is_shown_by_one_step() {
    let crashes = |world: &Scenario| has(world, |step| matches!(step, Operation::Crash(_)));
    for world in worlds(crashes) {
        let shrunk = shrink(world, crashes);
        let [step] = &shrunk.scenario.steps[..] else {
            panic!("{}", shrunk.scenario);
        };
        assert!(matches!(step.operation, Operation::Crash(_)));
        assert_eq!(step.pause, Duration::ZERO);
        assert_is_plain(&shrunk.scenario);
    }
}

#[test]
fn what_two_steps_do_in_their_order_is_shown_by_these_two() {
    let is_cut = |step: &Operation| matches!(step, Operation::Cut(..) | Operation::CutOneWay(..));
    let is_send = |step: &Operation| matches!(step, Operation::Send { .. });
    let fails = |world: &Scenario| {
        let cut = world.steps.iter().position(|step| is_cut(&step.operation));
        let sends = |from: usize| world.steps[from..].iter().any(|s| is_send(&s.operation));
        cut.is_some_and(sends)
    };
    for world in worlds(fails) {
        let shrunk = shrink(world, fails).scenario;
        let [cut, send] = &shrunk.steps[..] else {
            panic!("{shrunk}");
        };
        assert!(is_cut(&cut.operation));
        let Operation::Send { lengths, .. } = &send.operation else {
            panic!("{shrunk}");
        };
        assert_eq!(lengths, &[12]);
        assert_is_plain(&shrunk);
    }
}

#[test]
fn two_steps_of_which_neither_can_go_alone_go_together() {
    let count = |world: &Scenario, is: fn(&Operation) -> bool| {
        let steps = world.steps.iter();
        steps.filter(|step| is(&step.operation)).count()
    };
    let fails = |world: &Scenario| {
        let crashes = count(world, |step| matches!(step, Operation::Crash(_)));
        let restarts = count(world, |step| matches!(step, Operation::Restart(_)));
        let sends = count(world, |step| matches!(step, Operation::Send { .. }));
        crashes == restarts && sends > 0
    };
    let send = Operation::Send {
        from: 0,
        to: 1,
        lengths: vec![12],
    };
    let mut world = Scenario::draw(0);
    world.steps = [Operation::Crash(0), send, Operation::Restart(0)]
        .map(|operation| Step {
            operation,
            pause: Duration::ZERO,
        })
        .to_vec();
    let shrunk = shrink(world, fails).scenario;
    assert_eq!(shrunk.steps.len(), 1, "{shrunk}");
}

#[test]
fn of_what_is_taken_back_only_the_number_stays_that_matters() {
    let fails = |world: &Scenario| {
        has(
            world,
            |step| matches!(step, Operation::Withdraw(withdrawal) if withdrawal.count >= 2),
        )
    };
    for world in worlds(fails) {
        let shrunk = shrink(world, fails).scenario;
        let [step] = &shrunk.steps[..] else {
            panic!("{shrunk}");
        };
        let Operation::Withdraw(withdrawal) = &step.operation else {
            panic!("{shrunk}");
        };
        let least = Withdrawal {
            from: withdrawal.from,
            to: withdrawal.to,
            lengths: Vec::new(),
            behind: 0,
            count: 2,
            when: When::Now,
        };
        assert_eq!(*withdrawal, least);
        assert_is_plain(&shrunk);
    }
}

#[test]
fn numbers_that_matter_stay_and_become_round() {
    let fails = |world: &Scenario| {
        let storm: Duration = world.steps.iter().map(|step| step.pause).sum();
        let most = world.steps.iter().filter_map(messages).max();
        has(world, is_lossy)
            && most >= Some(7)
            && storm >= ms(900)
            && world.nodes >= 3
            && world.limits.connections_max <= 2
    };
    for world in worlds(fails) {
        let shrunk = shrink(world, fails).scenario;
        assert_eq!((shrunk.steps.len(), shrunk.nodes), (2, 3), "{shrunk}");
        let storm: Duration = shrunk.steps.iter().map(|step| step.pause).sum();
        assert!(storm < ms(2_000), "{shrunk}");
        let max = shrunk.limits.connections_max;
        let rest = Limits {
            connections_max: max,
            ..Limits::default()
        };
        assert_eq!(shrunk.limits, rest);
        for step in &shrunk.steps {
            if let Operation::Link { on, fault } = step.operation {
                assert_eq!(on, Where::Everywhere);
                assert!(
                    [0.1, 0.2, 0.3].map(LinkFault::Loss).contains(&fault),
                    "{shrunk}"
                );
            } else {
                assert_eq!(messages(step), Some(7), "{shrunk}");
            }
        }
    }
}

#[test]
fn of_limits_that_nodes_have_of_their_own_those_stay_that_matter() {
    let differ = |world: &Scenario| {
        let batch = |node| world.limits_of(node).batch_bytes_max;
        (1..world.nodes).any(|node| batch(node) != batch(0))
    };
    for world in worlds(differ) {
        let shrunk = shrink(world, differ).scenario;
        assert_eq!((shrunk.steps.len(), shrunk.nodes), (0, 2), "{shrunk}");
        let [own] = &shrunk.own_limits[..] else {
            panic!("{shrunk}");
        };
        let only = OwnLimits {
            batch_bytes_max: own.batch_bytes_max,
            ..OwnLimits::of(own.node)
        };
        assert_eq!(*own, only, "{shrunk}");
    }
}

#[test]
fn those_who_stay_ill_go_unless_it_is_about_them() {
    let is_ill = |world: &Scenario| {
        world
            .outsiders
            .iter()
            .any(|o| o.condition == Condition::Mute)
    };
    for world in worlds(is_ill) {
        let shrunk = shrink(world, is_ill).scenario;
        assert_eq!(shrunk.steps, []);
        assert_eq!(shrunk.nodes, 3, "two have to be well");
        let [Outsider { condition, .. }] = shrunk.outsiders[..] else {
            panic!("{shrunk}");
        };
        assert_eq!(condition, Condition::Mute);
    }
}

#[test]
fn the_same_world_becomes_the_same_world() {
    let fails = |world: &Scenario| has(world, |step| matches!(step, Operation::Freeze { .. }));
    for world in worlds(fails) {
        assert_eq!(shrink(world.clone(), fails), shrink(world, fails));
    }
}

#[test]
fn it_ends_when_it_has_tried_enough_and_when_it_is_called_off() {
    let fails = |world: &Scenario| has(world, |step| matches!(step, Operation::Send { .. }));
    let world = Scenario::draw(1);
    let shrink = Shrink { runs_max: 7 };
    let few = shrink.run(world.clone(), fails, |_, _| ControlFlow::Continue(()));
    assert_eq!((few.runs, few.end), (7, End::Stopped));
    assert!(fails(&few.scenario));
    let stop = |runs, _: &Scenario| match runs < 5 {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let stopped = Shrink::default().run(world, fails, stop);
    assert_eq!((stopped.runs, stopped.end), (5, End::Stopped));
    assert!(fails(&stopped.scenario));
}

/// A world that is played, and counts as failing if it had a rebind and a disconnect.
#[test]
fn a_world_that_is_played_fails_in_the_same_way_when_it_is_small() {
    let fails = |world: &Scenario| {
        let outcome = world.run();
        outcome.injected.contains_key("rebind") && outcome.injected.contains_key("disconnect")
    };
    let world = worlds(fails).next().expect("some worlds do both");
    let before = world.steps.len();
    let shrunk = shrink(world, fails).scenario;
    assert!(before > 2 && fails(&shrunk));
    assert_eq!(shrunk.steps.len(), 2, "{shrunk}");
    assert_eq!(Failure::of(&shrunk), None);
}

fn shrink(world: Scenario, fails: impl Fn(&Scenario) -> bool) -> Shrunk {
    let shrunk = Shrink::default().run(world, &fails, |_, best| {
        assert!(best.check().is_ok());
        ControlFlow::Continue(())
    });
    assert!(fails(&shrunk.scenario), "it fails still");
    assert_eq!(shrunk.end, End::Minimal);
    shrunk
}

fn worlds(fails: impl Fn(&Scenario) -> bool) -> impl Iterator<Item = Scenario> {
    let worlds = (0..).map(Scenario::draw);
    worlds.filter(move |world| fails(world)).take(WORLDS)
}

fn is_lossy(step: &Operation) -> bool {
    let Operation::Link { fault, .. } = step else {
        return false;
    };
    matches!(fault, LinkFault::Loss(part) if (0.05..0.5).contains(part))
}

fn messages(step: &Step) -> Option<usize> {
    let Operation::Send { lengths, .. } = &step.operation else {
        return None;
    };
    Some(lengths.len())
}

fn has(world: &Scenario, is_it: impl Fn(&Operation) -> bool) -> bool {
    world.steps.iter().any(|step| is_it(&step.operation))
}

/// Nothing is left that is not needed.
fn assert_is_plain(world: &Scenario) {
    assert_eq!(world.nodes, 2, "{world}");
    assert_eq!(world.outsiders, [], "{world}");
    assert_eq!(world.limits, Limits::default(), "{world}");
    assert_eq!(world.own_limits, [], "{world}");
    let plain = LinkProfile::Delay(Delay::Constant(ms(10)));
    assert_eq!(world.links, plain, "{world}");
}
