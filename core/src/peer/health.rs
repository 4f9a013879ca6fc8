//! How well a peer can be reached: from a few numbers, taken now and then.
//!
//! Nothing is done for each packet. A connection is looked at every third of `liveness_timeout`, as
//! often as it is kept alive, four times as often while something seems wrong, and when the other
//! end ought to have been heard.
//!
//! It must not flap. What is bad has to be so twice in a row, what is well has to keep a distance from
//! the bounds, for a while, and for longer with each relapse.

use std::time::{Duration, Instant};

use crate::{Health, HealthReason};

/// A round trip is slow when it takes this many times the usual one, and [`SLOW_BEYOND`] more.
const SLOW_FACTOR: u32 = 2;

/// What people begin to notice. Without it a path of a millisecond would be slow at three.
const SLOW_BEYOND: Duration = Duration::from_millis(100);

/// The share of packets whose loss is bad: one in twenty. There a congestion window stays around five
/// packets (1.2 / sqrt(loss), Mathis et al. 1997), so bulk data is slow on any path of some length.
const LOSSY_ONE_IN: u64 = 20;

/// The share of packets that may be lost where all is well.
const WELL_ONE_IN: u64 = 2 * LOSSY_ONE_IN;

/// Packets that make a measure of loss. Fewer say little: a single burst of losses would be a tenth
/// of them.
const MEASURE_PACKETS: u64 = 200;

/// Packets that a measure is taken to have at least, so that a few that are lost on a quiet
/// connection are no sign.
const MEASURE_PACKETS_MIN: u64 = 60;

/// How often in a row something has to be bad.
const BAD_IN_A_ROW: u8 = 2;

/// The longest time that everything has to be well, in terms of the shortest.
const RELAPSES_MAX: u32 = 4;

/// What was measured on a connection up to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The smoothed round-trip time.
    pub(crate) rtt: Duration,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Packets lost of these.
    pub(crate) lost: u64,
    /// Grows whenever the other end is heard.
    pub(crate) heard: u64,
    /// When a datagram last arrived, whoever has sent it.
    pub(crate) arrival: Instant,
}

/// How well one peer can be reached on one connection.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    limit: Duration,
    health: Health,
    /// Why it is what it is.
    symptom: HealthReason,
    usual: Usual,
    slow_in_a_row: u8,
    loss: Loss,
    silence: Silence,
    recovery: Recovery,
    /// When it was last looked at, and when it ought to be next.
    looked: Instant,
    due: Instant,
}

/// A move from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Health,
    pub(crate) to: Health,
    pub(crate) reason: HealthReason,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Look {
    /// Nothing has changed.
    Same,
    /// The health has changed.
    Changed(Change),
    /// It is we who were late: the other end is to be asked for an answer.
    Ask,
}

impl Monitor {
    /// A connection of which the other end was heard at this moment.
    pub(crate) fn new(now: Instant, limit: Duration, sample: &Sample) -> Self {
        Self {
            limit,
            health: Health::Healthy,
            symptom: HealthReason::NewConnection,
            usual: Usual(sample.rtt),
            slow_in_a_row: 0,
            loss: Loss::new(now, sample),
            silence: Silence {
                heard: sample.heard,
                since: now,
                patience: patience(limit, sample.rtt),
            },
            recovery: Recovery::new(),
            looked: now,
            due: now + limit / 3,
        }
    }

    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// What made it so.
    pub(crate) const fn symptom(&self) -> HealthReason {
        self.symptom
    }

    /// When to look next.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Looks at what was measured by this moment.
    pub(crate) fn look(&mut self, now: Instant, sample: &Sample) -> Look {
        let lateness = now.saturating_duration_since(self.due);
        let rtt = sample.rtt;
        let slow_above = rtt_max(self.usual.0);
        self.usual
            .follow(rtt, now.saturating_duration_since(self.looked), self.limit);
        self.looked = now;
        self.slow_in_a_row = match rtt > slow_above {
            true => self.slow_in_a_row.saturating_add(1),
            false => 0,
        };
        self.loss.measure(now, self.limit, sample);
        self.silence.listen(self.limit, sample);
        let silence = self.silence.at(now);
        if silence < self.silence.patience {
            let symptom = self.symptom_of(rtt, slow_above);
            let look = self.heard(now, symptom, rtt <= slow_above * 3 / 4);
            self.plan(now);
            return look;
        }
        self.recovery.is_not_well();
        if lateness > a_while(self.limit) && self.health != Health::Unresponsive {
            self.due = now + self.limit / 6;
            return Look::Ask;
        }
        self.due = now + a_while(self.limit);
        self.turn(now, Health::Unresponsive, HealthReason::Silent { silence })
    }

    /// The connection is lost since nothing was heard.
    pub(crate) fn lost(&mut self, now: Instant) -> Look {
        let silence = self.silence.at(now);
        self.turn(now, Health::Unresponsive, HealthReason::Silent { silence })
    }

    /// What is bad, and has been for long enough.
    fn symptom_of(&self, rtt: Duration, slow_above: Duration) -> Option<HealthReason> {
        if self.slow_in_a_row >= BAD_IN_A_ROW && rtt > slow_above {
            let usual = self.usual.0;
            return Some(HealthReason::Slow { rtt, usual });
        }
        let Loss { lost, sent, .. } = self.loss;
        let is_lossy = self.loss.bad_in_a_row >= BAD_IN_A_ROW;
        is_lossy.then_some(HealthReason::Lossy { lost, sent })
    }

    fn heard(&mut self, now: Instant, symptom: Option<HealthReason>, is_near: bool) -> Look {
        let is_well = is_near && self.loss.grade == Grade::Well;
        match self.health {
            Health::Healthy => match symptom {
                Some(reason) => self.turn(now, Health::Degraded, reason),
                None => Look::Same,
            },
            Health::Degraded if is_well => match self.recovery.is_well(now, self.limit) {
                true => self.turn(now, Health::Healthy, HealthReason::Recovered),
                false => Look::Same,
            },
            Health::Degraded => {
                self.recovery.is_not_well();
                Look::Same
            }
            Health::Unresponsive => self.turn(now, Health::Degraded, HealthReason::Heard),
        }
    }

    fn turn(&mut self, now: Instant, to: Health, reason: HealthReason) -> Look {
        let from = std::mem::replace(&mut self.health, to);
        if from == to {
            return Look::Same;
        }
        self.symptom = reason;
        self.recovery.turned(now, self.limit, from, to);
        Look::Changed(Change { from, to, reason })
    }

    /// The next look: soon if something seems wrong, and when the other end ought to have been heard.
    fn plan(&mut self, now: Instant) {
        let is_calm = self.health == Health::Healthy
            && self.slow_in_a_row == 0
            && self.loss.bad_in_a_row == 0;
        let wait = match is_calm {
            true => self.limit / 3,
            false => a_while(self.limit),
        };
        self.due = (now + wait).min(self.silence.since + self.silence.patience);
    }
}

/// Time between looks while something seems wrong.
fn a_while(limit: Duration) -> Duration {
    limit / 12
}

/// The longest round trip that is not slow.
fn rtt_max(usual: Duration) -> Duration {
    usual * SLOW_FACTOR + SLOW_BEYOND
}

/// How long the other end may be silent. A third of the limit is the time between two keep-alives,
/// whose answer takes a round trip, and two more if it is lost. The rest of the limit is left for
/// whoever is told.
fn patience(limit: Duration, rtt: Duration) -> Duration {
    (limit / 2).max(limit / 3 + 3 * rtt).min(limit * 5 / 6)
}

/// The usual round-trip time: the least one. It grows slowly, so that a path that has changed for
/// good becomes the usual one.
#[derive(Debug, Clone, Copy)]
struct Usual(Duration);

impl Usual {
    fn follow(&mut self, rtt: Duration, elapsed: Duration, limit: Duration) {
        let Some(excess) = rtt.checked_sub(self.0) else {
            self.0 = rtt;
            return;
        };
        // Forty times the limit is ten minutes.
        let share = elapsed.as_secs_f64() / (limit * 40).as_secs_f64();
        self.0 += excess.mul_f64(share.min(1.0));
    }
}

/// Packets that were lost, measured now and then.
#[derive(Debug, Clone, Copy)]
struct Loss {
    /// When the present measure began, and what had been sent and lost by then.
    begun: Instant,
    sent_before: u64,
    lost_before: u64,
    /// What the last measure said.
    grade: Grade,
    sent: u64,
    lost: u64,
    bad_in_a_row: u8,
}

/// How much was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Well,
    Between,
    Bad,
}

impl Loss {
    const fn new(now: Instant, sample: &Sample) -> Self {
        Self {
            begun: now,
            sent_before: sample.sent,
            lost_before: sample.lost,
            grade: Grade::Well,
            sent: 0,
            lost: 0,
            bad_in_a_row: 0,
        }
    }

    /// Ends the present measure if it has enough packets, or has lasted for two keep-alives.
    fn measure(&mut self, now: Instant, limit: Duration, sample: &Sample) {
        let sent = sample.sent.saturating_sub(self.sent_before);
        if sent < MEASURE_PACKETS && self.begun + limit * 2 / 3 > now {
            return;
        }
        let lost = sample.lost.saturating_sub(self.lost_before);
        let of = sent.max(MEASURE_PACKETS_MIN);
        let grade = match lost {
            lost if lost * LOSSY_ONE_IN > of => Grade::Bad,
            lost if lost * WELL_ONE_IN > of => Grade::Between,
            _ => Grade::Well,
        };
        *self = Self {
            grade,
            sent,
            lost,
            bad_in_a_row: match grade {
                Grade::Bad => self.bad_in_a_row.saturating_add(1),
                Grade::Well | Grade::Between => 0,
            },
            ..Self::new(now, sample)
        };
    }
}

/// Since when the other end was not heard.
#[derive(Debug, Clone, Copy)]
struct Silence {
    heard: u64,
    since: Instant,
    /// How long it may be.
    patience: Duration,
}

impl Silence {
    /// The last datagram may be somebody else's, but then the next look will find nothing.
    fn listen(&mut self, limit: Duration, sample: &Sample) {
        if sample.heard != self.heard {
            *self = Self {
                heard: sample.heard,
                since: sample.arrival,
                patience: patience(limit, sample.rtt),
            };
        }
    }

    fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// How long everything has to be well, and has been.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    well_since: Option<Instant>,
    relapses: u32,
    /// When it last recovered, if it ever was anything but healthy.
    recovered_at: Option<Instant>,
}

impl Recovery {
    const fn new() -> Self {
        Self {
            well_since: None,
            relapses: 0,
            recovered_at: None,
        }
    }

    fn is_not_well(&mut self) {
        self.well_since = None;
    }

    /// Everything is well at this moment; whether it has been for long enough.
    fn is_well(&mut self, now: Instant, limit: Duration) -> bool {
        let since = *self.well_since.get_or_insert(now);
        now.saturating_duration_since(since) >= well_for(limit, self.relapses)
    }

    fn turned(&mut self, now: Instant, limit: Duration, from: Health, to: Health) {
        self.well_since = None;
        if to == Health::Healthy {
            self.recovered_at = Some(now);
        }
        if from == Health::Healthy {
            let lately = |at: Instant| at + well_for(limit, RELAPSES_MAX) > now;
            self.relapses = match self.recovered_at.is_some_and(lately) {
                true => (self.relapses + 1).min(RELAPSES_MAX),
                false => 0,
            };
        }
    }
}

/// How long everything has to be well.
fn well_for(limit: Duration, relapses: u32) -> Duration {
    limit / 3 * 2u32.pow(relapses)
}

#[cfg(test)]
mod tests;
