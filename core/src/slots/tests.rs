use std::{collections::BTreeMap, sync::LazyLock};

use proptest::prelude::*;

use super::*;
use crate::testing::epoch;

static START: LazyLock<Instant> = LazyLock::new(epoch);
const WAIT: Duration = Duration::from_millis(200);
const HOLD: Duration = Duration::from_secs(1);

fn slots(slots_max: usize) -> Slots {
    let mut config = Config {
        connections_max: slots_max,
        ..Config::default()
    };
    config.tuning.slot_wait = WAIT;
    Slots::new(&config, 7, *START)
}

fn at(millis: u64) -> Instant {
    *START + Duration::from_millis(millis)
}

fn dial(since: Instant, priority: Priority) -> Claim {
    Claim::Dial {
        since,
        priority,
        has_given_way: false,
    }
}

const ARRIVAL: Claim = Claim::Arrival { waits_since: None };

/// Some of the peers of a test are strangers.
fn class_of(key: PeerKey) -> Class {
    match key.index() < 5 {
        true => Class::Stranger,
        false => Class::Known,
    }
}

fn keys<const N: usize>() -> [PeerKey; N] {
    std::array::from_fn(|index| PeerKey::new(index as u32))
}

/// Has a peer connected from a moment on.
fn connect(slots: &mut Slots, now: Instant, key: PeerKey) {
    assert_eq!(
        slots.claim(now, key, ARRIVAL, Class::Known),
        Decision::Granted
    );
    slots.confirm(now, key, HOLD);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Dial(Priority, bool),
    Arrival,
    OwedArrival,
    Confirm,
    KeepForDial,
    Release,
    Idle,
    Busy,
    Protect,
}

fn step() -> impl Strategy<Value = (Step, u32)> {
    let priority = prop_oneof![Just(Priority::Foreground), Just(Priority::Background)];
    let step = prop_oneof![
        3 => (priority, any::<bool>()).prop_map(|(priority, has_given_way)| Step::Dial(priority, has_given_way)),
        2 => Just(Step::Arrival),
        1 => Just(Step::OwedArrival),
        3 => Just(Step::Confirm),
        1 => Just(Step::KeepForDial),
        2 => Just(Step::Release),
        2 => Just(Step::Idle),
        1 => Just(Step::Busy),
        1 => Just(Step::Protect),
    ];
    (step, 0..12u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn slots_never_exceed_their_limits_and_all_come_back(slots_max in 1..9usize, steps in prop::collection::vec((step(), 0..400u64), 0..200)) {
        let mut slots = slots(slots_max);
        let mut held: BTreeMap<PeerKey, Purpose> = BTreeMap::new();
        let mut now = *START;
        for ((step, key), pause) in steps {
            now += Duration::from_millis(pause);
            let key = PeerKey::new(key);
            let claim = match step {
                Step::Dial(priority, has_given_way) => Some(Claim::Dial { since: now, priority, has_given_way }),
                Step::Arrival => Some(ARRIVAL),
                Step::OwedArrival => Some(Claim::Arrival { waits_since: Some(*START) }),
                Step::Confirm | Step::KeepForDial | Step::Release | Step::Idle | Step::Busy | Step::Protect => None,
            };
            match (claim, step) {
                (Some(claim), _) => match slots.claim(now, key, claim, class_of(key)) {
                    Decision::Granted => {
                        let is_dial = matches!(claim, Claim::Dial { .. });
                        let purpose = if is_dial { Purpose::Dial } else { Purpose::Arrival };
                        let kept = *held.entry(key).or_insert(purpose);
                        prop_assert!(kept != Purpose::Peer || slots.held.get(&key).is_some());
                        let now_held = slots.held.get(&key).map(|held| held.purpose);
                        held.insert(key, now_held.expect("invariant: it was granted"));
                    }
                    Decision::Take(victim, taking) => {
                        prop_assert!(!held.contains_key(&key), "it needs a slot");
                        let purpose = held.remove(&victim);
                        prop_assert_eq!(purpose != Some(Purpose::Dial), taking == Taking::Evict);
                        let is_silent = purpose == Some(Purpose::Arrival);
                        prop_assert!(!is_silent || class_of(victim) == Class::Stranger);
                        slots.release(victim);
                    }
                    Decision::Wait(until) => prop_assert!(until.is_none_or(|until| until > now)),
                },
                (None, Step::Confirm) => {
                    slots.confirm(now, key, HOLD);
                    held.entry(key).and_modify(|purpose| *purpose = Purpose::Peer);
                }
                (None, Step::KeepForDial) => {
                    slots.keep_for(key, Purpose::Dial);
                    held.entry(key).and_modify(|purpose| if *purpose == Purpose::Peer { *purpose = Purpose::Dial });
                }
                (None, Step::Release) => {
                    slots.release(key);
                    held.remove(&key);
                }
                (None, Step::Idle) => slots.set_idle(key, Some(now)),
                (None, Step::Busy) => slots.set_idle(key, None),
                (None, _) => slots.set_class(key, Class::Protected),
            }
            let dials = held.values().filter(|purpose| **purpose == Purpose::Dial).count();
            prop_assert_eq!((slots.len(), slots.dials), (held.len(), dials));
            let is_stranger = |key: &&PeerKey| slots.held.get(key).is_some_and(|held| held.class == Class::Stranger);
            prop_assert_eq!(slots.strangers, held.keys().filter(is_stranger).count());
            prop_assert!(slots.len() <= slots_max);
            for place in &slots.order {
                let holder = slots.held.get(&place.key);
                prop_assert_eq!(holder.and_then(|held| held.place(place.key)), Some(*place));
            }
        }
        for key in 0..12 {
            slots.release(PeerKey::new(key));
        }
        prop_assert!(slots.order.is_empty());
        prop_assert_eq!((slots.len(), slots.dials), (0, 0));
    }
}

#[test]
fn the_least_recently_used_goes_first_and_the_protected_stays() {
    let [a, b, c, d] = keys();
    let mut slots = slots(3);
    for key in [a, b, c] {
        connect(&mut slots, at(0), key);
    }
    let claim = |slots: &mut Slots| slots.claim(at(40), d, ARRIVAL, Class::Known);
    assert_eq!(claim(&mut slots), Decision::Wait(None), "none is idle");
    for (key, millis) in [(a, 30), (b, 10), (c, 20)] {
        slots.set_idle(key, Some(at(millis)));
    }
    assert_eq!(claim(&mut slots), Decision::Take(b, Taking::Evict));
    slots.set_class(b, Class::Protected);
    assert_eq!(claim(&mut slots), Decision::Take(c, Taking::Evict));
    slots.set_idle(c, None);
    assert_eq!(claim(&mut slots), Decision::Take(a, Taking::Evict));
    slots.set_class(b, Class::Known);
    assert_eq!(claim(&mut slots), Decision::Take(b, Taking::Evict));
}

#[test]
fn a_holder_that_becomes_evictable_wakes_the_queue() {
    let [a, b] = keys();
    let mut slots = slots(1);
    connect(&mut slots, at(0), a);
    slots.set_idle(a, Some(at(1)));
    assert!(!slots.is_awake(), "no dial waits");
    slots.set_idle(a, None);
    slots.enqueue(at(2), b, Priority::Background);
    slots.set_idle(a, Some(at(3)));
    assert!(slots.is_awake());
    slots.begin_run();
    slots.set_idle(a, Some(at(4)));
    slots.set_class(a, Class::Protected);
    assert!(!slots.is_awake(), "it was idle before, or is protected");
    slots.set_class(a, Class::Known);
    assert!(slots.is_awake());
}

#[test]
fn a_peer_that_has_lost_its_connection_and_dials_again_is_left_alone() {
    let [key, other] = keys();
    for purpose in [Purpose::Dial, Purpose::Arrival] {
        let mut slots = slots(1);
        connect(&mut slots, at(0), key);
        slots.keep_for(key, purpose);
        let late = dial(at(0), Priority::Foreground);
        let claim = |slots: &mut Slots| slots.claim(at(9_000), other, late, Class::Known);
        assert_eq!(claim(&mut slots), Decision::Wait(None), "{purpose:?}");
        slots.confirm(at(0), key, HOLD);
        assert_eq!(claim(&mut slots), Decision::Take(key, Taking::Evict));
        slots.keep_for(key, purpose);
        slots.release(key);
        assert_eq!(slots.dials, 0);
    }
}

#[test]
fn the_oldest_background_dial_gives_way_until_its_peer_arrives_or_is_protected() {
    let [first, second, third, other, another] = keys();
    let mut slots = slots(4);
    for (key, secs) in [(second, 2), (first, 1), (third, 3)] {
        let claim = dial(at(secs), Priority::Background);
        let decision = slots.claim(at(secs * 1_000), key, claim, Class::Known);
        assert_eq!(decision, Decision::Granted);
    }
    connect(&mut slots, at(9_000), other);
    let late = dial(at(0), Priority::Background);
    let decision = slots.claim(at(9_000), another, late, Class::Known);
    assert_eq!(decision, Decision::Wait(None), "not to its like");
    let claim = |slots: &mut Slots| slots.claim(at(9_000), another, ARRIVAL, Class::Known);
    let taken = |key| Decision::Take(key, Taking::CallOff);
    assert_eq!(claim(&mut slots), taken(first));
    slots.set_class(first, Class::Protected);
    assert_eq!(claim(&mut slots), taken(second));
    let arrives = slots.claim(at(9_000), second, ARRIVAL, Class::Known);
    assert_eq!(arrives, Decision::Granted);
    assert_eq!(claim(&mut slots), taken(third));
    slots.confirm(at(9_000), third, HOLD);
    assert!(matches!(claim(&mut slots), Decision::Wait(_)));
}

#[test]
fn a_dial_after_one_that_has_given_way_gives_way_to_the_user_alone() {
    let [key, other] = keys();
    let mut slots = slots(1);
    let again = Claim::Dial {
        since: at(0),
        priority: Priority::Background,
        has_given_way: true,
    };
    assert_eq!(
        slots.claim(at(0), key, again, Class::Known),
        Decision::Granted
    );
    let claim = |slots: &mut Slots, claim| slots.claim(at(9_000), other, claim, Class::Known);
    assert_eq!(claim(&mut slots, ARRIVAL), Decision::Wait(None));
    let urgent = dial(at(0), Priority::Foreground);
    let taken = Decision::Take(key, Taking::CallOff);
    assert_eq!(claim(&mut slots, urgent), taken);
}

#[test]
fn a_busy_peer_is_safe_for_its_minimum_hold_time() {
    let [key, other] = keys();
    let mut slots = slots(1);
    let late = dial(at(0), Priority::Background);
    connect(&mut slots, at(9_000), key);
    let claim = |slots: &mut Slots, now| slots.claim(now, other, late, Class::Known);
    let end = at(9_000) + HOLD;
    assert_eq!(claim(&mut slots, at(9_000)), Decision::Wait(Some(end)));
    slots.confirm(end, key, HOLD);
    let decision = claim(&mut slots, end);
    assert_eq!(
        decision,
        Decision::Take(key, Taking::Evict),
        "it began once"
    );
    let early = dial(end, Priority::Foreground);
    let decision = slots.claim(end, other, early, Class::Known);
    assert_eq!(decision, Decision::Wait(Some(end + WAIT)), "not overdue");
}

#[test]
fn the_first_whose_hold_time_ends_goes_first() {
    let [long, short, other] = keys();
    let mut slots = slots(2);
    for (key, secs) in [(long, 9), (short, 2)] {
        let decision = slots.claim(at(0), key, ARRIVAL, Class::Known);
        assert_eq!(decision, Decision::Granted);
        slots.confirm(at(0), key, Duration::from_secs(secs));
    }
    let late = dial(at(0), Priority::Background);
    let claim = |slots: &mut Slots, millis| slots.claim(at(millis), other, late, Class::Known);
    assert_eq!(claim(&mut slots, 1_000), Decision::Wait(Some(at(2_000))));
    let taken = Decision::Take(short, Taking::Evict);
    assert_eq!(claim(&mut slots, 3_000), taken);
    slots.release(short);
    connect(&mut slots, at(3_000), short);
    assert_eq!(claim(&mut slots, 3_500), Decision::Wait(Some(at(4_000))));
}

#[test]
fn failure_20_background_dials_give_way_unless_their_peers_are_protected_or_there() {
    let [first, second, third, users, another] = keys();
    let mut slots = slots(4);
    for (secs, key) in (1..).zip([first, second, third]) {
        let claim = dial(at(secs * 1_000), Priority::Foreground);
        let decision = slots.claim(at(secs * 1_000), key, claim, Class::Known);
        assert_eq!(decision, Decision::Granted);
    }
    let urgent = dial(at(9_000), Priority::Foreground);
    let claim = |slots: &mut Slots| slots.claim(at(9_000), users, urgent, Class::Known);
    assert_eq!(claim(&mut slots), Decision::Wait(None), "three quarters");
    for key in [first, second, third] {
        slots.set_priority(key, Priority::Background);
    }
    let taken = |key| Decision::Take(key, Taking::CallOff);
    assert_eq!(claim(&mut slots), taken(first), "it has had the most time");
    slots.set_priority(first, Priority::Foreground);
    assert_eq!(claim(&mut slots), taken(second));
    slots.set_class(second, Class::Protected);
    assert_eq!(claim(&mut slots), taken(third));
    let arrives = slots.claim(at(9_000), third, ARRIVAL, Class::Known);
    assert_eq!(arrives, Decision::Granted);
    assert_eq!(
        claim(&mut slots),
        Decision::Granted,
        "an arrival is no dial"
    );
    slots.release(users);
    let idle = dial(at(9_000), Priority::Background);
    let decision = slots.claim(at(9_000), another, idle, Class::Known);
    assert_eq!(decision, Decision::Granted);
}

#[test]
fn no_peer_is_evicted_for_a_dial_that_other_dials_keep_out() {
    let [first, second, third, idle, another] = keys();
    let mut slots = slots(4);
    for key in [first, second, third] {
        let claim = dial(at(0), Priority::Foreground);
        assert_eq!(
            slots.claim(at(0), key, claim, Class::Known),
            Decision::Granted
        );
    }
    connect(&mut slots, at(0), idle);
    slots.set_idle(idle, Some(at(1)));
    for priority in [Priority::Foreground, Priority::Background] {
        let claim = dial(at(0), priority);
        let decision = slots.claim(at(9_000), another, claim, Class::Known);
        assert_eq!(decision, Decision::Wait(None), "{priority:?}");
    }
    let decision = slots.claim(at(9_000), another, ARRIVAL, Class::Known);
    assert_eq!(decision, Decision::Take(idle, Taking::Evict));
}

#[test]
fn a_stranger_without_a_greeting_is_the_first_to_go() {
    let [idle, silent, newcomer] = keys();
    let mut slots = slots(2);
    connect(&mut slots, at(0), idle);
    slots.set_idle(idle, Some(at(0)));
    let decision = slots.claim(at(5_000), silent, ARRIVAL, Class::Stranger);
    assert_eq!(decision, Decision::Granted);
    let claim = |slots: &mut Slots, now, class| slots.claim(now, newcomer, ARRIVAL, class);
    let evicted = |key| Decision::Take(key, Taking::Evict);
    let young = at(5_099);
    assert_eq!(
        claim(&mut slots, young, Class::Known),
        evicted(idle),
        "it may greet yet"
    );
    assert_eq!(claim(&mut slots, at(5_100), Class::Known), evicted(silent));
    let wait = claim(&mut slots, at(5_999), Class::Stranger);
    assert_eq!(wait, Decision::Wait(None), "strangers have their share");
    assert_eq!(
        claim(&mut slots, at(6_000), Class::Stranger),
        evicted(silent)
    );
    // It was added meanwhile.
    slots.set_class(silent, Class::Known);
    assert_eq!(claim(&mut slots, at(5_100), Class::Known), evicted(idle));
}

#[test]
fn strangers_beyond_their_share_take_the_slots_of_strangers_alone() {
    let mut slots = slots(8);
    let [known, first, second, third, newcomer] = keys();
    for key in [
        known,
        PeerKey::new(10),
        PeerKey::new(11),
        PeerKey::new(12),
        PeerKey::new(13),
    ] {
        connect(&mut slots, at(0), key);
        slots.set_idle(key, Some(at(0)));
    }
    for key in [first, second, third] {
        assert_eq!(
            slots.claim(at(0), key, ARRIVAL, Class::Stranger),
            Decision::Granted
        );
        slots.confirm(at(0), key, HOLD);
    }
    let evicted = |key| Decision::Take(key, Taking::Evict);
    let surplus = slots.claim(at(500), newcomer, ARRIVAL, Class::Stranger);
    assert_eq!(
        surplus,
        Decision::Wait(None),
        "three of eight are more than a quarter"
    );
    slots.set_idle(second, Some(at(400)));
    let surplus = slots.claim(at(500), newcomer, ARRIVAL, Class::Stranger);
    assert_eq!(surplus, evicted(second));
    slots.release(second);
    slots.release(third);
    connect(&mut slots, at(0), PeerKey::new(14));
    connect(&mut slots, at(0), PeerKey::new(15));
    let within = slots.claim(at(500), newcomer, ARRIVAL, Class::Stranger);
    assert_eq!(within, evicted(known), "one of eight is less");
}
