use super::*;
use crate::testing::epoch;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Dial(u32),
    DoubtfulDial(u32),
    Arrival(u32),
    Confirm(u32),
    Release(u32),
    Idle(u32),
    Busy(u32),
    Protect(u32),
}

fn step() -> impl Strategy<Value = Step> {
    (0..8u8, 0..12u32).prop_map(|(kind, key)| match kind {
        0 => Step::Dial(key),
        1 => Step::Arrival(key),
        6 => Step::Confirm(key),
        7 => Step::DoubtfulDial(key),
        2 => Step::Release(key),
        3 => Step::Idle(key),
        4 => Step::Busy(key),
        _ => Step::Protect(key),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn slots_never_exceed_the_limit_and_all_come_back(slots_max in 1..9usize, steps in prop::collection::vec(step(), 0..200)) {
        let start = epoch();
        let mut pool = Pool::new(slots_max, 7);
        let mut purposes: BTreeMap<PeerKey, Purpose> = BTreeMap::new();
        for (tick, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_millis(tick as u64);
            match step {
                Step::Dial(key) | Step::DoubtfulDial(key) | Step::Arrival(key) => {
                    let purpose = if matches!(step, Step::Dial(_)) {
                        Purpose::Dial
                    } else if matches!(step, Step::DoubtfulDial(_)) {
                        Purpose::DoubtfulDial
                    } else {
                        Purpose::Arrival
                    };
                    let key = PeerKey::new(key);
                    if pool.acquire(now, key, purpose, Evictable::Yes).is_ok() {
                        let held = purposes.entry(key).or_insert(purpose);
                        if (*held, purpose) == (Purpose::DoubtfulDial, Purpose::Arrival) {
                            *held = Purpose::Arrival;
                        }
                    }
                }
                Step::Confirm(key) => {
                    pool.confirm(now, PeerKey::new(key), Duration::from_millis(10));
                    if let Some(held) = purposes.get_mut(&PeerKey::new(key)) {
                        *held = Purpose::Peer;
                    }
                }
                Step::Release(key) => {
                    pool.release(PeerKey::new(key));
                    purposes.remove(&PeerKey::new(key));
                }
                Step::Idle(key) => {
                    let _ = pool.set_idle(PeerKey::new(key), Some(now));
                }
                Step::Busy(key) => {
                    let _ = pool.set_idle(PeerKey::new(key), None);
                }
                Step::Protect(key) => {
                    let _ = pool.set_evictable(PeerKey::new(key), Evictable::No);
                }
            }
            prop_assert_eq!(pool.len(), purposes.len());
            prop_assert!(pool.len() <= slots_max);
            let dials = purposes.values().filter(|purpose| purpose.is_dial()).count();
            prop_assert_eq!(pool.dials, dials);
            prop_assert!(dials <= pool.dials_max.max(1));
            if let Some(victim) = pool.idle_victim() {
                prop_assert!(purposes.contains_key(&victim));
            }
            if let Some(dial) = pool.doubtful_dial() {
                prop_assert_eq!(purposes.get(&dial), Some(&Purpose::DoubtfulDial));
            }
        }
        for key in 0..12 {
            pool.release(PeerKey::new(key));
        }
        prop_assert!(pool.evictable.is_empty() && pool.idle.is_empty() && pool.doubtful.is_empty());
        prop_assert_eq!((pool.len(), pool.dials), (0, 0));
    }
}

#[test]
fn the_least_recently_used_goes_first_and_the_protected_stays() {
    let start = epoch();
    let at = |millis| start + Duration::from_millis(millis);
    let [a, b, c] = [0, 1, 2].map(PeerKey::new);
    let mut pool = Pool::new(3, 7);
    for key in [a, b, c] {
        assert_eq!(
            pool.acquire(start, key, Purpose::Arrival, Evictable::Yes),
            Ok(())
        );
        pool.confirm(start, key, Duration::ZERO);
    }
    assert_eq!(pool.idle_victim(), None, "nobody is idle");
    for (key, millis) in [(a, 30), (b, 10), (c, 20)] {
        let change = pool.set_idle(key, Some(at(millis)));
        assert_eq!(change, Evictability::Gained);
    }
    assert_eq!(pool.idle_victim(), Some(b));
    let change = pool.set_evictable(b, Evictable::No);
    assert_eq!(change, Evictability::AsBefore, "it has lost");
    assert_eq!(pool.idle_victim(), Some(c));
    assert_eq!(pool.set_idle(c, None), Evictability::AsBefore);
    assert_eq!(pool.idle_victim(), Some(a));
    let change = pool.set_evictable(b, Evictable::Yes);
    assert_eq!(change, Evictability::Gained);
    assert_eq!(pool.idle_victim(), Some(b));
}

#[test]
fn whoever_has_lost_its_connection_and_dials_again_is_left_alone() {
    let start = epoch();
    let key = PeerKey::new(0);
    for purpose in [Purpose::Dial, Purpose::Arrival] {
        let mut pool = Pool::new(1, 7);
        assert_eq!(pool.acquire(start, key, purpose, Evictable::Yes), Ok(()));
        pool.confirm(start, key, Duration::ZERO);
        pool.keep_for(key, purpose);
        assert_eq!(pool.busy_victim(start), Err(None));
        pool.confirm(start, key, Duration::ZERO);
        assert_eq!(pool.busy_victim(start), Ok(key));
        pool.keep_for(key, purpose);
        pool.release(key);
        assert_eq!(pool.dials, 0);
    }
}

#[test]
fn the_oldest_doubtful_dial_makes_way_until_its_peer_shows_itself_or_is_protected() {
    let start = epoch();
    let [first, second, third] = [0, 1, 2].map(PeerKey::new);
    let mut pool = Pool::new(3, 7);
    for (key, secs) in [(second, 2), (first, 1), (third, 3)] {
        let at = start + Duration::from_secs(secs);
        let slot = pool.acquire(at, key, Purpose::DoubtfulDial, Evictable::Yes);
        assert_eq!(slot, Ok(()));
    }
    assert_eq!(pool.busy_victim(start), Err(None), "not for other dials");
    assert_eq!(pool.doubtful_dial(), Some(first));
    let _ = pool.set_evictable(first, Evictable::No);
    assert_eq!(pool.doubtful_dial(), Some(second));
    let slot = pool.acquire(start, second, Purpose::Arrival, Evictable::Yes);
    assert_eq!((slot, pool.doubtful_dial()), (Ok(()), Some(third)));
    pool.confirm(start, third, Duration::ZERO);
    assert_eq!(pool.doubtful_dial(), None);
}

#[test]
fn a_busy_peer_is_safe_for_its_tenure() {
    let start = epoch();
    let tenure = Duration::from_secs(1);
    let mut pool = Pool::new(1, 7);
    let key = PeerKey::new(0);
    assert_eq!(pool.busy_victim(start), Err(None));
    assert_eq!(
        pool.acquire(start, key, Purpose::Dial, Evictable::Yes),
        Ok(())
    );
    let late = start + 9 * tenure;
    assert_eq!(pool.busy_victim(late), Err(None), "not confirmed");
    pool.confirm(late, key, tenure);
    assert_eq!(pool.busy_victim(late), Err(Some(late + tenure)));
    pool.confirm(late + tenure, key, tenure);
    assert_eq!(pool.busy_victim(late + tenure), Ok(key), "it began once");
}

#[test]
fn the_first_whose_tenure_ends_goes_first() {
    let start = epoch();
    let mut pool = Pool::new(2, 7);
    let [long, short] = [0, 1].map(PeerKey::new);
    for (key, secs) in [(long, 9), (short, 2)] {
        let slot = pool.acquire(start, key, Purpose::Arrival, Evictable::Yes);
        assert_eq!(slot, Ok(()));
        pool.confirm(start, key, Duration::from_secs(secs));
    }
    let end = |secs| start + Duration::from_secs(secs);
    assert_eq!(pool.busy_victim(end(1)), Err(Some(end(2))));
    assert_eq!(pool.busy_victim(end(3)), Ok(short));
    pool.release(short);
    assert_eq!(pool.busy_victim(end(3)), Err(Some(end(9))));
}

#[test]
fn failure_20_background_dials_make_way_unless_their_peers_are_protected_or_there() {
    let start = epoch();
    let keys = [0, 1, 2, 3].map(PeerKey::new);
    let mut pool = Pool::new(4, 7);
    for (secs, key) in (1..).zip(keys.into_iter().take(3)) {
        let at = start + Duration::from_secs(secs);
        let slot = pool.acquire(at, key, Purpose::Dial, Evictable::Yes);
        assert_eq!(slot, Ok(()));
    }
    let slot = pool.acquire(start, keys[3], Purpose::Dial, Evictable::Yes);
    assert_eq!((slot, pool.background_dial()), (Err(Full::Dials), None));
    for key in keys.into_iter().take(3) {
        pool.set_urgency(key, Urgency::Background);
    }
    assert_eq!(
        pool.background_dial(),
        Some(keys[0]),
        "it has had the most time"
    );
    pool.set_urgency(keys[0], Urgency::User);
    assert_eq!(pool.background_dial(), Some(keys[1]));
    let _ = pool.set_evictable(keys[1], Evictable::No);
    assert_eq!(pool.background_dial(), Some(keys[2]));
    let slot = pool.acquire(start, keys[2], Purpose::Arrival, Evictable::Yes);
    assert_eq!((slot, pool.background_dial()), (Ok(()), None));
    let slot = pool.acquire(start, keys[3], Purpose::Dial, Evictable::Yes);
    assert_eq!(slot, Ok(()), "an arrival is no dial");
}
