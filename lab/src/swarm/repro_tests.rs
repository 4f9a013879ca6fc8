use super::*;
use crate::swarm::{Limits, LinkFault, Operation, OwnLimits, When, Where, Withdrawal};

/// Worlds that are written and read back.
const SEEDS: std::ops::Range<u64> = 0..3_000;

#[test]
fn a_world_is_read_as_it_was_written() {
    for seed in SEEDS {
        let repro = repro(Scenario::draw(seed));
        let read: Repro = repro.to_string().parse().expect("it was written by us");
        assert_eq!(read, repro, "seed {seed}");
    }
}

#[test]
fn a_step_is_a_line() {
    let scenario = Scenario::draw(1);
    let text = repro(scenario.clone()).to_string();
    let steps = text.lines().filter(|line| line.contains("\"pause\""));
    let long = |step: &&crate::swarm::Step| matches!(&step.operation, Operation::Send { .. });
    let short = scenario.steps.iter().filter(|step| !long(step)).count();
    assert!(steps.count() >= short, "{text}");
}

#[test]
fn files_that_mean_something_else_are_named_so() {
    let good = repro(Scenario::draw(1)).to_string();
    for (from, to, error) in [
        (
            "\"format\": 1",
            "\"format\": 2",
            "format is 2, allowed is 1",
        ),
        ("\"format\": 1", "\"formal\": 1", "missing field `format`"),
        ("\"nodes\": ", "\"nodes\": 9", "nodes is 9"),
        ("\"nodes\": ", "\"nodes\": -", "invalid value: integer `-"),
        ("\"pause\"", "\"paws\"", "unknown field `paws`"),
        (
            "\"connections_max\": ",
            "\"connections_max\": 0, \"x\": ",
            "unknown field `x`",
        ),
        (
            "\"pool_ttl\": \"",
            "\"pool_ttl\": \"one day",
            "is no time: allowed are 250ms",
        ),
        ("\"seed\"", "\"seat\"", "unknown field `seat`"),
    ] {
        assert!(good.contains(from), "{from}:\n{good}");
        let bad = good.replace(from, to).parse::<Repro>();
        let found = bad.expect_err(to).to_string();
        assert!(found.contains(error), "{to}: {found}");
    }
    assert!("".parse::<Repro>().is_err());
    assert!("{}".parse::<Repro>().is_err());
}

#[test]
fn what_cannot_be_played_is_an_error_that_says_what_can() {
    let link = |fault| {
        let on = Where::Everywhere;
        first_step(Operation::Link { on, fault })
    };
    let changes: [(&str, Change); 17] = [
        (
            "a node in steps[0].operation is 2, allowed is 0..=1",
            first_step(Operation::Crash(2)),
        ),
        (
            "a node in steps[0].operation is 1 twice",
            first_step(Operation::Connect(1, 1)),
        ),
        ("is 1.5, allowed is 0.0..=1.0", link(LinkFault::Loss(1.5))),
        (
            "is -0.1, allowed is 0.0..=1.0",
            link(LinkFault::Corrupt(-0.1)),
        ),
        (
            "is NaN, allowed is 0.0..=1.0",
            link(LinkFault::Burst(f64::NAN)),
        ),
        ("is 0, allowed is 1500..=", link(LinkFault::Rate(0))),
        ("is 0, allowed is 1..=65527", link(LinkFault::Mtu(0))),
        (
            "is 36001s, allowed is 0s..=36000s",
            first_step(Operation::SendUntil {
                from: 0,
                to: 1,
                lengths: vec![12],
                lifetime: crate::secs(36_001),
            }),
        ),
        (
            "count in steps[0].operation is 10001, allowed is 0..=10000",
            first_step(Operation::Withdraw(Withdrawal {
                from: 0,
                to: 1,
                lengths: Vec::new(),
                behind: 0,
                count: 10_001,
                when: When::Now,
            })),
        ),
        (
            "nodes is 1, allowed is 2..=64",
            Box::new(|world| world.nodes = 1),
        ),
        (
            "connections_max = 0 is out of range 1..=1000000",
            Box::new(|world| world.limits.connections_max = 0),
        ),
        (
            "batch_bytes_max = 1 is out of range 1024..=",
            Box::new(|world| {
                world.own_limits = vec![OwnLimits {
                    batch_bytes_max: Some(1),
                    ..OwnLimits::of(1)
                }];
            }),
        ),
        (
            "a node in own_limits[0] is 2, allowed is 0..=1",
            Box::new(|world| world.own_limits = vec![OwnLimits::of(2)]),
        ),
        (
            "a node in own_limits is 1 twice",
            Box::new(|world| world.own_limits = vec![OwnLimits::of(1), OwnLimits::of(1)]),
        ),
        (
            "is 7200s, allowed is 0s..=3600s",
            Box::new(|world| world.steps[0].pause = crate::secs(7_200)),
        ),
        (
            "the length of outsiders is 1, allowed is 0..=0",
            Box::new(|world| world.outsiders = vec![outsider(1)]),
        ),
        (
            "a node in outsiders is 1 twice",
            Box::new(|world| world.outsiders = vec![outsider(1), outsider(1)]),
        ),
    ];
    for (error, change) in changes {
        let mut scenario = world_of_two();
        assert_eq!(scenario.check(), Ok(()));
        change(&mut scenario);
        let found = scenario.check().expect_err(error).to_string();
        assert!(found.contains(error), "{found}, not {error}");
    }
}

#[test]
fn a_panic_is_known_by_its_words() {
    let same = [
        "livelock: n0 has work without end, Some(Deadline { at: 17.5s })\nand a picture",
        "livelock: n12 has work without end, Some(Deadline { at: 3ms })",
    ];
    let [one, other] = same.map(without_numbers);
    assert_eq!(one, other);
    assert_eq!(
        one,
        "livelock: # has work without end, Some(Deadline { at: # })"
    );
    assert_ne!(one, without_numbers("n0: packets before Readable"));
}

type Change = Box<dyn Fn(&mut Scenario)>;

fn first_step(operation: Operation) -> Change {
    Box::new(move |world| world.steps[0].operation = operation.clone())
}

fn outsider(node: usize) -> crate::swarm::Outsider {
    let condition = crate::swarm::Condition::Frozen;
    crate::swarm::Outsider { node, condition }
}

fn world_of_two() -> Scenario {
    let mut scenario = (0..)
        .map(Scenario::draw)
        .find(|world| world.nodes == 2)
        .expect("many worlds have two");
    scenario.limits = Limits::default();
    scenario.own_limits = Vec::new();
    scenario
}

fn repro(scenario: Scenario) -> Repro {
    Repro::new(scenario, Failure::Property(Property::Converges), "it hangs")
}
