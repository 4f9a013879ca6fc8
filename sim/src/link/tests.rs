//! Whole links: what their stages do together.

use std::ops::RangeInclusive;

use proptest::{prelude::*, test_runner::TestCaseError};

use super::{
    testing::{
        check::{self, Step},
        parcel,
    },
    *,
};
use crate::{ms, secs};

/// What may go wrong, one at a time.
type Change = fn(&mut Faults);
const CHANGES: [Change; 7] = [
    |faults| faults.loss = 0.2,
    |faults| faults.duplicate = 0.3,
    |faults| faults.corrupt = 0.3,
    |faults| faults.reorder = 0.3,
    |faults| faults.mtu = 50,
    |faults| {
        faults.burst = Some(Burst {
            to_bad: 0.1,
            to_good: 0.3,
            loss: 0.9,
        });
    },
    |faults| {
        faults.delay = Delay::Uniform {
            from: ms(5),
            to: ms(50),
        };
    },
];

#[test]
fn a_calm_link_delivers_each_datagram_once_and_in_time() {
    let mut link = link(Faults::default());
    for n in 0..100 {
        link.enter(ms(n), parcel(0, None, &[n as u8]));
    }
    let arrived = payloads(run(&mut link, ms(0)..=secs(1)));
    let expected = (0..100).map(|n| (ms(n + 10), vec![n as u8]));
    assert_eq!(arrived, expected.collect::<Vec<_>>());
}

#[test]
fn a_cut_link_delivers_nothing_that_is_offered_or_in_flight() {
    let mut link = link(Faults::default());
    link.enter(ms(0), parcel(0, None, b"in flight"));
    link.is_cut = true;
    link.enter(ms(0), parcel(0, None, b"offered"));
    assert_eq!(run(&mut link, ms(0)..=ms(50)), []);
    link.is_cut = false;
    link.enter(ms(50), parcel(0, None, b"later"));
    assert_eq!(run(&mut link, ms(50)..=secs(1)).len(), 1);
    assert_eq!((link.counts().cut, link.counts().arrived), (2, 1));
}

#[test]
fn a_clog_ends_when_it_is_told_to() {
    let mut link = link(Faults::default());
    link.clog(secs(9));
    link.enter(ms(0), parcel(0, None, b"stuck"));
    assert_eq!(run(&mut link, ms(0)..=secs(1)), []);
    link.unclog();
    let arrived = payloads(run(&mut link, secs(1)..=secs(2)));
    assert_eq!(arrived, [(secs(1), b"stuck".to_vec())]);
}

#[test]
fn a_fault_less_leaves_all_other_decisions_in_place() {
    let alone = CHANGES.map(|change| fates(&[change]));
    for (a, one) in alone.iter().enumerate() {
        for (b, other) in alone.iter().enumerate().skip(a + 1) {
            let both = fates(&[CHANGES[a], CHANGES[b]]);
            let expected = one.iter().zip(other).map(|(one, other)| meet(one, other));
            assert!(
                both.into_iter().eq(expected),
                "faults {a} and {b} are not independent"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_datagram_goes_missing(
        loss in 0.0..0.5,
        duplicate in 0.0..1.0,
        duplicate_max in 0..5u8,
        reorder in 0.0..1.0,
        mtu in 60..120usize,
        bytes_per_second in prop::option::of(100..100_000u64),
        steps in check::steps(),
    ) {
        let queue = Queue::Bytes(400);
        let mark_above = Some(100);
        let rate = |bytes_per_second| Rate { bytes_per_second, queue, mark_above };
        let faults = Faults {
            loss,
            duplicate,
            duplicate_max,
            reorder,
            reorder_extra: ms(30),
            mtu,
            rate: bytes_per_second.map(rate),
            ..Faults::default()
        };
        conserves(link(faults), steps)?;
    }
}

fn conserves(mut link: Link, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut now, mut arrived) = (ms(0), 0);
    for step in steps {
        match step {
            Step::Offer { first_byte, length } => {
                link.enter(now, parcel(0, None, &check::datagram(first_byte, length)));
            }
            Step::Wait { ms: time } => {
                let end = now + ms(time);
                arrived += run(&mut link, now..=end).len() as u64;
                now = end;
            }
            Step::Cut { is_cut } => link.is_cut = is_cut,
            Step::Clog { ms: time } => link.clog(now + ms(time)),
        }
        check_counts(&link, arrived)?;
    }
    arrived += run(&mut link, now..=Duration::MAX).len() as u64;
    prop_assert_eq!(link.counts().in_flight, 0);
    check_counts(&link, arrived)
}

/// What leaves one stage enters the next, and the sum is right.
fn check_counts(link: &Link, arrived: u64) -> Result<(), TestCaseError> {
    let mut entering = link.offered;
    for (name, stage) in link.stage_counts() {
        prop_assert_eq!(stage.entered, entering, "before {}", name);
        entering = stage.left;
    }
    let counts = link.counts();
    prop_assert_eq!((entering, counts.arrived), (arrived, arrived));
    let lost = counts.lost + counts.too_long + counts.overflowed + counts.cut;
    let gone = lost + counts.arrived + counts.in_flight;
    prop_assert_eq!(counts.offered + counts.duplicated, gone);
    Ok(())
}

/// What has become of a datagram that was not lost.
#[derive(Debug, Clone, PartialEq)]
struct Fate {
    copies: usize,
    /// What it has become, if it was damaged.
    damage: Option<Vec<u8>>,
    travel_ns: i128,
}

/// The fates of datagrams, each of which has the link for itself.
fn fates(changes: &[Change]) -> Vec<Option<Fate>> {
    let mut faults = Faults {
        delay: Delay::Constant(ms(0)),
        reorder_extra: ms(40),
        ..Faults::default()
    };
    changes.iter().for_each(|change| change(&mut faults));
    let mut link = link(faults);
    let fate = |n: u64| {
        link.enter(secs(n), parcel(0, None, &sent(n)));
        let mut arrived = run(&mut link, secs(n)..=secs(n + 1));
        let is_copy = |(_, parcel): &(Duration, Parcel)| parcel.number % Parcel::NUMBERS != 0;
        let copies = arrived.extract_if(.., |arrived| is_copy(arrived)).count();
        let (at, parcel) = arrived.pop()?;
        Some(Fate {
            copies,
            damage: Some(parcel.payload.to_vec()).filter(|payload| *payload != sent(n)),
            travel_ns: (at - secs(n)).as_nanos() as i128,
        })
    };
    (0..1_000).map(fate).collect()
}

/// Every other datagram is too long for a small MTU.
fn sent(n: u64) -> Vec<u8> {
    vec![7; 40 + 20 * (n as usize % 2)]
}

/// What two faults that do not know of each other make of one datagram.
fn meet(one: &Option<Fate>, other: &Option<Fate>) -> Option<Fate> {
    let (one, other) = (one.as_ref()?, other.as_ref()?);
    Some(Fate {
        copies: one.copies + other.copies,
        damage: one.damage.clone().or_else(|| other.damage.clone()),
        travel_ns: one.travel_ns + other.travel_ns,
    })
}

fn link(faults: Faults) -> Link {
    Link::new(Dice::new(1), 0, faults)
}

/// Lets a link deliver for some time; returns what arrives, and when.
fn run(link: &mut Link, time: RangeInclusive<Duration>) -> Vec<(Duration, Parcel)> {
    let mut now = *time.start();
    let mut arrived = Vec::new();
    while let Some(at) = link.due(now).filter(|at| time.contains(at)) {
        now = at;
        arrived.extend(link.pull(now).map(|parcel| (now, parcel)));
    }
    arrived
}

fn payloads(arrived: Vec<(Duration, Parcel)>) -> Vec<(Duration, Vec<u8>)> {
    let payload = |(at, parcel): (Duration, Parcel)| (at, parcel.payload.to_vec());
    arrived.into_iter().map(payload).collect()
}
