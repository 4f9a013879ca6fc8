//! How well packets get through on one connection: round-trip time and loss, measured now and then.

use std::time::{Duration, Instant};

use super::Sample;
use crate::HealthReason;

/// A round trip is slow when it takes this many times the usual one, and [`SLOW_BEYOND`] more.
const SLOW_FACTOR: u32 = 2;

/// What people begin to notice. Without it a path of a millisecond would be slow at three.
const SLOW_BEYOND: Duration = Duration::from_millis(100);

/// The share of packets whose loss is bad: one in twenty. There a congestion window stays around five
/// packets (1.2 / sqrt(loss), Mathis et al. 1997), so bulk data is slow on any path of some length.
const LOSSY_ONE_IN: u64 = 20;

/// The share of packets that may be lost where all is well.
const WELL_ONE_IN: u64 = 2 * LOSSY_ONE_IN;

/// Packets that make a measure of loss. Fewer are no measure: a single burst of losses would be a tenth
/// of them.
const MEASURE_PACKETS: u64 = 200;

/// Packets that a measure is taken to have at least, so that a few that are lost on a quiet
/// connection are no sign.
const MEASURE_PACKETS_MIN: u64 = 60;

/// How often in a row something has to be bad.
const BAD_IN_A_ROW: u8 = 2;

/// How well packets get through on one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quality {
    rtt: Duration,
    /// The longest round trip that was not slow at the last measurement.
    slow_above: Duration,
    usual: Usual,
    slow_in_a_row: u8,
    loss: Loss,
}

impl Quality {
    pub(super) fn new(now: Instant, sample: &Sample) -> Self {
        Self {
            rtt: sample.rtt,
            slow_above: rtt_max(sample.rtt),
            usual: Usual(sample.rtt),
            slow_in_a_row: 0,
            loss: Loss::new(now, sample),
        }
    }

    pub(super) fn measure(
        &mut self,
        now: Instant,
        elapsed: Duration,
        limit: Duration,
        sample: &Sample,
    ) {
        self.rtt = sample.rtt;
        self.slow_above = rtt_max(self.usual.0);
        self.usual.follow(self.rtt, elapsed, limit);
        self.slow_in_a_row = match self.rtt > self.slow_above {
            true => self.slow_in_a_row.saturating_add(1),
            false => 0,
        };
        self.loss.measure(now, limit, sample);
    }

    /// Returns what is bad, and has been for long enough.
    pub(super) fn symptom(&self) -> Option<HealthReason> {
        let Self { rtt, usual, .. } = *self;
        if self.slow_in_a_row >= BAD_IN_A_ROW && rtt > self.slow_above {
            let usual = usual.0;
            return Some(HealthReason::Slow { rtt, usual });
        }
        let Loss { lost, sent, .. } = self.loss;
        let is_lossy = self.loss.bad_in_a_row >= BAD_IN_A_ROW;
        is_lossy.then_some(HealthReason::Lossy { lost, sent })
    }

    /// Whether everything keeps a distance from the bounds.
    pub(super) fn is_well(&self) -> bool {
        self.rtt <= self.slow_above * 3 / 4 && self.loss.grade == Grade::Well
    }

    /// Whether nothing seems wrong.
    pub(super) const fn is_calm(&self) -> bool {
        self.slow_in_a_row == 0 && self.loss.bad_in_a_row == 0
    }
}

/// The longest round trip that is not slow.
fn rtt_max(usual: Duration) -> Duration {
    usual * SLOW_FACTOR + SLOW_BEYOND
}

/// The usual round-trip time: the least one. It grows slowly, so that a path that has changed for
/// good becomes the usual one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual(Duration);

impl Usual {
    pub(super) fn follow(&mut self, rtt: Duration, elapsed: Duration, limit: Duration) {
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
pub(super) struct Loss {
    /// When the present measure began, and what had been sent and lost by then.
    begun: Instant,
    sent_before: u64,
    lost_before: u64,
    /// The result of the last measure.
    grade: Grade,
    sent: u64,
    lost: u64,
    bad_in_a_row: u8,
}

/// How much was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Well,
    Between,
    Bad,
}

impl Loss {
    pub(super) const fn new(now: Instant, sample: &Sample) -> Self {
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
    pub(super) fn measure(&mut self, now: Instant, limit: Duration, sample: &Sample) {
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
