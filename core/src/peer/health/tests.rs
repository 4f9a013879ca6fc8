//! A peer that is heard, is far, loses packets, is silent, or hears nothing.

use proptest::prelude::*;

use super::*;
use crate::testing::epoch;
use Health::{Degraded, Healthy, Unresponsive};

const LIMIT: Duration = secs(15);
const LINK: LinkId = LinkId::new(0, 0);
const OTHER: LinkId = LinkId::new(1, 0);
const NEAR: Duration = ms(20);
/// Above twice the usual one and 100 ms.
const FAR: Duration = ms(150);

#[test]
fn a_quiet_connection_that_is_kept_alive_is_healthy() {
    let mut scene = Scene::new();
    for _ in 0..1_000 {
        scene.pass(secs(5), NEAR, 1, 0, Heard::Yes);
    }
    assert_eq!(scene.changes, []);
}

#[test]
fn a_peer_that_says_nothing_is_unresponsive_at_half_of_the_limit() {
    let mut scene = Scene::new();
    scene.pass(secs(1), NEAR, 1, 0, Heard::Yes);
    scene.pass(LIMIT / 2 - ms(1), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.health(), Healthy);
    scene.pass(ms(1), NEAR, 0, 0, Heard::No);
    let silence = LIMIT / 2;
    assert_eq!(
        scene.changes,
        [told(Healthy, Unresponsive, silent(silence))]
    );
    scene.pass(secs(5), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.changes.len(), 1, "it is told once");
}

#[test]
fn a_path_of_seconds_is_given_time_to_answer_a_keep_alive_that_was_lost() {
    let rtt = secs(2);
    let mut scene = Scene::at(rtt);
    scene.pass(secs(11) - ms(1), rtt, 1, 0, Heard::No);
    assert_eq!(scene.health(), Healthy);
    scene.pass(ms(1), rtt, 0, 0, Heard::No);
    assert_eq!(scene.health(), Unresponsive);
    let rtt = secs(20);
    let mut scene = Scene::at(rtt);
    scene.pass(LIMIT * 5 / 6, rtt, 1, 0, Heard::No);
    assert_eq!(
        scene.health(),
        Unresponsive,
        "before the connection is lost"
    );
}

#[test]
fn a_peer_that_is_heard_again_is_watched_before_it_is_healthy() {
    let mut scene = Scene::new();
    scene.pass(secs(8), NEAR, 1, 0, Heard::No);
    scene.pass(secs(2), NEAR, 1, 0, Heard::Yes);
    assert_eq!(scene.health(), Degraded);
    scene.pass(secs(4), NEAR, 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Degraded);
    scene.pass(secs(4), NEAR, 10, 0, Heard::Yes);
    let silence = LIMIT / 2;
    let story = [
        told(Healthy, Unresponsive, silent(silence)),
        told(Unresponsive, Degraded, HealthReason::Heard),
        told(Degraded, Healthy, HealthReason::Recovered),
    ];
    assert_eq!(scene.changes, story);
}

#[test]
fn a_path_that_becomes_slow_is_degraded_until_it_is_well_for_a_while() {
    let mut scene = Scene::new();
    scene.pass(secs(60), NEAR, 10, 0, Heard::Yes);
    scene.pass(secs(7), FAR, 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Degraded);
    let HealthReason::Slow { rtt, usual } = scene.monitor.symptom() else {
        panic!("{:?}", scene.changes);
    };
    assert!(
        rtt == FAR && usual >= NEAR && usual < NEAR + ms(3),
        "{usual:?}"
    );
    // Not slow, and not well either.
    scene.pass(secs(60), ms(120), 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Degraded);
    scene.pass(secs(7), NEAR, 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Healthy);
}

#[test]
fn one_bad_look_is_no_sign() {
    let mut scene = Scene::new();
    scene.pass(secs(5), FAR, 10, 0, Heard::Yes);
    scene.pass(secs(5), NEAR, 300, 100, Heard::Yes);
    scene.pass(secs(30), NEAR, 300, 0, Heard::Yes);
    assert_eq!(scene.changes, []);
}

#[test]
fn a_path_that_has_changed_for_good_becomes_the_usual_one() {
    let mut scene = Scene::new();
    scene.pass(secs(60), ms(400), 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Degraded);
    scene.pass(secs(900), ms(400), 10, 0, Heard::Yes);
    assert_eq!(scene.health(), Healthy);
    assert_eq!(scene.changes.len(), 2);
}

#[test]
fn a_path_that_loses_packets_is_degraded() {
    for (sent, lost, is_lossy) in [
        (200, 10, false),
        (200, 11, true),
        (2_000, 100, false),
        (2_000, 101, true),
    ] {
        let mut scene = Scene::new();
        for _ in 0..4 {
            scene.look(sent, lost);
        }
        let expected = match is_lossy {
            true => vec![told(Healthy, Degraded, HealthReason::Lossy { lost, sent })],
            false => vec![],
        };
        assert_eq!(scene.changes, expected);
    }
}

#[test]
fn a_few_packets_that_a_quiet_connection_loses_are_no_sign() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.pass(secs(5), NEAR, 3, 1, Heard::Yes);
    }
    assert_eq!(scene.changes, []);
    for _ in 0..8 {
        scene.pass(secs(5), NEAR, 6, 4, Heard::Yes);
    }
    assert_eq!(scene.health(), Degraded, "and more are");
}

#[test]
fn a_process_that_stood_still_asks_before_it_judges() {
    let mut scene = Scene::new();
    scene.now += secs(100);
    let orders = scene.judge();
    assert_eq!((orders.probes, orders.change), (vec![LINK], None));
    let mut answered = scene.clone();
    answered.pass(LIMIT / 6, NEAR, 1, 0, Heard::Yes);
    assert_eq!(answered.changes, []);
    scene.pass(LIMIT / 6, NEAR, 1, 0, Heard::No);
    assert_eq!(scene.health(), Unresponsive);
    assert_eq!(scene.ended, None);
    scene.pass(LIMIT, NEAR, 1, 0, Heard::No);
    assert_eq!(scene.ended, Some(secs(100) + LIMIT / 3), "not at once");
}

#[test]
fn a_connection_is_asked_every_second_from_two_fifths_on_and_ends_at_the_limit() {
    let mut scene = Scene::new();
    let start = scene.now;
    scene.pass(LIMIT, NEAR, 1, 0, Heard::No);
    let asked: Vec<_> = scene
        .probes
        .iter()
        .map(|at| (*at - start).as_secs())
        .collect();
    assert_eq!(asked, [6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(scene.ended, Some(LIMIT));
}

#[test]
fn the_limit_counts_from_what_was_heard_last() {
    let mut scene = Scene::new();
    scene.pass(secs(4), NEAR, 1, 0, Heard::Yes);
    let heard = scene.sample.arrival;
    scene.pass(secs(15), NEAR, 1, 0, Heard::No);
    let ended = scene.ended.map(|silence| scene.start + silence);
    assert_eq!(ended, Some(heard + LIMIT));
}

#[test]
fn an_answer_ends_the_questions() {
    let mut scene = Scene::new();
    scene.pass(secs(6), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.probes.len(), 1);
    scene.pass(secs(20), NEAR, 1, 0, Heard::Yes);
    assert_eq!((scene.probes.len(), &scene.changes[..]), (1, &[][..]));
}

#[test]
fn datagrams_of_somebody_else_are_not_heard() {
    let mut scene = Scene::new();
    let start = scene.now;
    loop {
        scene.now = scene.monitor.due();
        scene.sample.arrival = scene.now;
        let samples = [(LINK, scene.sample)];
        if !scene
            .monitor
            .look(scene.now, LINK, &samples)
            .ends
            .is_empty()
        {
            break;
        }
    }
    assert_eq!(scene.now, start + LIMIT);
}

#[test]
fn a_peer_that_is_heard_and_does_not_hear_is_unresponsive_and_lost_at_the_limit() {
    let mut scene = Scene::new();
    scene.pass(LIMIT, NEAR, 1, 0, Heard::OneWay);
    let time = LIMIT * 2 / 3;
    let deaf = HealthReason::Unacknowledged { time };
    assert_eq!(scene.changes, [told(Healthy, Unresponsive, deaf)]);
    assert_eq!(scene.ended, Some(LIMIT));
}

#[test]
fn a_path_that_is_only_long_has_time_to_acknowledge() {
    let rtt = secs(10);
    let mut scene = Scene::at(rtt);
    scene.pass(secs(16), rtt, 1, 0, Heard::OneWay);
    scene.pass(secs(16), rtt, 1, 0, Heard::Yes);
    assert_eq!((scene.ended, &scene.changes[..]), (None, &[][..]));
}

#[test]
fn a_peer_that_only_receives_is_asked_and_answers() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        // It is heard all the time, and acknowledges what it is asked.
        scene.pass(ms(100), NEAR, 0, 0, Heard::OneWay);
        if scene.probes.last() == Some(&scene.now) {
            scene.sample.acknowledged = Some(scene.now);
        }
    }
    assert_eq!((scene.ended, &scene.changes[..]), (None, &[][..]));
}

#[test]
fn a_peer_is_heard_on_any_of_its_connections() {
    let mut scene = Scene::new();
    scene.begin(OTHER);
    // The first one is heard, and the one to send on is dead.
    scene.live = OTHER;
    scene.pass(LIMIT / 2 - ms(1), NEAR, 1, 0, Heard::Yes);
    assert_eq!(scene.prefers, None);
    scene.pass(ms(501), NEAR, 1, 0, Heard::Yes);
    assert_eq!(scene.prefers, Some(LINK));
    assert_eq!(scene.health(), Healthy);
    scene.pass(LIMIT, NEAR, 1, 0, Heard::Yes);
    assert_eq!((scene.ended, &scene.changes[..]), (Some(LIMIT), &[][..]));
}

#[test]
fn a_peer_is_heard_in_the_last_packet_of_a_connection() {
    let mut scene = Scene::new();
    scene.pass(secs(6), NEAR, 1, 0, Heard::No);
    scene.monitor.note_heard(scene.now);
    scene.pass(secs(7), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.health(), Healthy);
    scene.pass(secs(1), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.health(), Unresponsive);
}

#[test]
fn a_silence_does_not_end_with_the_connection_that_is_sent_on() {
    let mut scene = Scene::new();
    scene.begin(OTHER);
    scene.live = OTHER;
    scene.pass(secs(8), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.health(), Unresponsive);
    scene.others.clear();
    scene.live = LINK;
    let sample = scene.sample;
    assert_eq!(scene.monitor.begin(scene.now, LINK, &sample), None);
    scene.pass(secs(3), NEAR, 1, 0, Heard::No);
    assert_eq!(scene.changes.len(), 1, "{:?}", scene.changes);
}

#[test]
fn a_connection_that_is_confirmed_begins_healthy() {
    let mut scene = Scene::new();
    scene.pass(secs(8), NEAR, 1, 0, Heard::No);
    scene.begin(OTHER);
    assert_eq!(scene.health(), Healthy);
    let reason = HealthReason::NewConnection;
    assert_eq!(scene.changes[1..], [told(Unresponsive, Healthy, reason)]);
}

#[test]
fn whoever_is_lost_to_silence_was_unresponsive() {
    let mut scene = Scene::new();
    scene.now += secs(3);
    let silence = secs(3);
    let last = told(Healthy, Unresponsive, silent(silence));
    assert_eq!(scene.monitor.lost(scene.now), Some(last));
    assert_eq!(scene.monitor.lost(scene.now), None);
}

#[test]
fn each_relapse_makes_the_recovery_longer_up_to_sixteen_times() {
    let mut scene = Scene::new();
    let mut spells = Vec::new();
    for _ in 0..7 {
        scene.pass(secs(10), FAR, 0, 0, Heard::Yes);
        assert_eq!(scene.health(), Degraded);
        let begun = scene.now;
        while scene.health() == Degraded {
            scene.pass(ms(250), NEAR, 0, 0, Heard::Yes);
        }
        spells.push((scene.now - begun).as_secs());
    }
    let least = [5, 10, 20, 40, 80, 80, 80];
    assert!(
        spells
            .iter()
            .zip(least)
            .all(|(spell, least)| (least..least + 3).contains(spell)),
        "{spells:?}"
    );
    scene.pass(secs(100), NEAR, 0, 0, Heard::Yes);
    scene.pass(secs(10), FAR, 0, 0, Heard::Yes);
    scene.pass(secs(10), NEAR, 0, 0, Heard::Yes);
    assert_eq!(scene.health(), Healthy, "it is forgotten after a while");
}

#[test]
fn every_short_history_moves_along_few_edges() {
    let kinds = [
        (NEAR, 0, Heard::Yes),
        (FAR, 0, Heard::Yes),
        (NEAR, 100, Heard::Yes),
        (NEAR, 0, Heard::No),
    ];
    let mut edges = std::collections::BTreeSet::new();
    let lookups = 8;
    for history in 0..4usize.pow(lookups) {
        let mut scene = Scene::new();
        for place in 0..lookups {
            let (rtt, lost, heard) = kinds[history / 4usize.pow(place) % 4];
            scene.pass(secs(4), rtt, 500, lost, heard);
        }
        edges.extend(scene.changes.iter().map(|change| (change.from, change.to)));
    }
    let expected = [
        (Healthy, Degraded),
        (Healthy, Unresponsive),
        (Degraded, Healthy),
        (Degraded, Unresponsive),
        (Unresponsive, Degraded),
    ];
    assert_eq!(Vec::from_iter(edges), expected);
}

proptest! {
    #[test]
    fn whatever_is_measured_it_does_not_flap_nor_call_anybody_silent_who_is_heard(
        spans in prop::collection::vec(span(), 1..300),
    ) {
        let mut scene = Scene::new();
        let start = scene.now;
        for Span { time, rtt, sent, lost, heard } in spans {
            scene.pass(time, rtt, sent, lost, heard);
        }
        let moves = |to| scene.changes.iter().filter(move |change| change.to == to).count();
        let time = (scene.now - start).as_secs_f64();
        // Spells of 5, 10, 20, 40 seconds, and then of 80; a peer that is healthy for so long begins anew.
        prop_assert!(moves(Healthy) as f64 <= 4.0 + time / 80.0, "{:?}", scene.changes);
        // Each move to `Unresponsive` takes at least half of the limit anew.
        prop_assert!(moves(Unresponsive) as f64 <= 1.0 + time / 7.5, "{:?}", scene.changes);
    }

    #[test]
    fn a_steady_path_settles_whatever_it_loses(loss in 0.0..0.3, seed in any::<u64>()) {
        let mut scene = Scene::new();
        let mut random = seed | 1;
        let lost_of = |sent: u64, random: &mut u64| {
            let mut lost = 0;
            for _ in 0..sent {
                *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                lost += u64::from(((*random >> 33) as f64) < loss * 2f64.powi(31));
            }
            lost
        };
        for _ in 0..1_200 {
            let lost = lost_of(60, &mut random);
            scene.pass(ms(500), NEAR, 60, lost, Heard::Yes);
        }
        // Ten minutes.
        prop_assert!(scene.changes.len() <= 6, "{loss}: {:?}", scene.changes);
    }
}

/// A time in which nothing changes.
#[derive(Debug, Clone)]
struct Span {
    time: Duration,
    rtt: Duration,
    sent: u64,
    lost: u64,
    heard: Heard,
}

fn span() -> impl Strategy<Value = Span> {
    let rtt = prop_oneof![Just(NEAR), Just(FAR), (1u64..3_000).prop_map(ms)];
    let loss = prop_oneof![Just(0.0), Just(0.04), Just(0.06), 0.0..1.0f64];
    let heard = prop_oneof![4 => Just(Heard::Yes), 1 => Just(Heard::No)];
    (1u64..20_000, rtt, 0u64..2_000, loss, heard).prop_map(|(time, rtt, sent, loss, heard)| Span {
        time: ms(time),
        rtt,
        sent,
        lost: (sent as f64 * loss) as u64,
        heard,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
    /// Nothing of ours arrives.
    OneWay,
}

/// A monitor that is called when it wants to be.
#[derive(Debug, Clone)]
struct Scene {
    now: Instant,
    sample: Sample,
    monitor: Monitor,
    start: Instant,
    live: LinkId,
    /// Other connections, of which nothing is heard.
    others: Vec<(LinkId, Sample)>,
    changes: Vec<Change>,
    probes: Vec<Instant>,
    prefers: Option<LinkId>,
    /// How long after the beginning a connection was given up.
    ended: Option<Duration>,
}

impl Scene {
    fn new() -> Self {
        Self::at(NEAR)
    }

    fn at(rtt: Duration) -> Self {
        let now = epoch();
        let sample = Sample {
            rtt,
            sent: 0,
            lost: 0,
            heard: 0,
            arrival: now,
            acknowledged: Some(now),
        };
        let mut monitor = Monitor::new(now, LIMIT);
        assert_eq!(monitor.begin(now, LINK, &sample), None);
        Self {
            now,
            sample,
            monitor,
            start: now,
            live: LINK,
            others: Vec::new(),
            changes: Vec::new(),
            probes: Vec::new(),
            prefers: None,
            ended: None,
        }
    }

    /// Another connection is confirmed, and nothing is heard of it from then on.
    fn begin(&mut self, link: LinkId) {
        let sample = self.sample;
        let change = self.monitor.begin(self.now, link, &sample);
        self.others.push((link, sample));
        self.changes.extend(change);
    }

    fn health(&self) -> Health {
        self.monitor.health()
    }

    /// Lets time pass in which so many packets are sent and lost, evenly; the other end is heard all
    /// the time, or not at all.
    fn pass(&mut self, time: Duration, rtt: Duration, sent: u64, lost: u64, heard: Heard) {
        let (start, before) = (self.now, self.sample);
        let end = start + time;
        self.sample.rtt = rtt;
        loop {
            let due = self.monitor.due();
            self.now = due.min(end);
            let share = (self.now - start).as_secs_f64() / time.as_secs_f64();
            self.sample.sent = before.sent + (sent as f64 * share) as u64;
            self.sample.lost = before.lost + (lost as f64 * share) as u64;
            if heard != Heard::No {
                self.sample.heard += 1;
                self.sample.arrival = self.now;
            }
            if heard == Heard::Yes {
                self.sample.acknowledged = Some(self.now);
            }
            if due > end || self.ended.is_some() && self.others.is_empty() {
                return;
            }
            let _ = self.judge();
        }
    }

    /// A look at which the other end was heard, and so much had been sent and lost since the last.
    fn look(&mut self, sent: u64, lost: u64) {
        self.now = self.monitor.due();
        self.sample.sent += sent;
        self.sample.lost += lost;
        self.sample.heard += 1;
        self.sample.arrival = self.now;
        self.sample.acknowledged = Some(self.now);
        let _ = self.judge();
    }

    fn judge(&mut self) -> Orders {
        let silence = self.now - self.sample.arrival;
        let mut samples = self.others.clone();
        samples.push((LINK, self.sample));
        let look = self.monitor.look(self.now, self.live, &samples);
        if let Some(change) = look.change {
            let is_silent = matches!(change.reason, HealthReason::Silent { .. });
            let was_silent = silence >= LIMIT / 2;
            assert!(!is_silent || was_silent, "{change:?}");
            assert!(change.from != Unresponsive || !was_silent, "{change:?}");
            self.changes.push(change);
        }
        if !look.probes.is_empty() && look.ends.is_empty() {
            self.probes.push(self.now);
        }
        self.prefers = self.prefers.or(look.prefers);
        if !look.ends.is_empty() && self.ended.is_none() {
            self.ended = Some(self.now - self.start);
        }
        self.others.retain(|(link, _)| !look.ends.contains(link));
        let (least, most) = (self.now, self.now + LIMIT / 3);
        let due = self.monitor.due();
        assert!(least < due && due <= most, "it moves on");
        look
    }
}

fn told(from: Health, to: Health, reason: HealthReason) -> Change {
    Change { from, to, reason }
}

const fn silent(silence: Duration) -> HealthReason {
    HealthReason::Silent { silence }
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
