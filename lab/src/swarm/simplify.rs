//! Simpler candidates for a part of a world, the simplest first.
//!
//! Every candidate has fewer things, smaller numbers or fewer digits than what it is made from, so
//! taking one after the other comes to an end.

use std::time::Duration;

use super::{
    Condition, Limits, LinkFault, LinkProfile, Operation, Outsider, Step, When, Where, Withdrawal,
    world::HEADER_LEN,
};
use crate::{Delay, ms};

/// The delay of links by default.
const PLAIN: Delay = Delay::Constant(ms(10));

pub(super) trait Simplify: Sized {
    fn simpler(&self) -> Vec<Self>;
}

impl Simplify for Duration {
    fn simpler(&self) -> Vec<Self> {
        let nanos = u64::try_from(self.as_nanos()).unwrap_or(u64::MAX);
        let candidates = [0].into_iter().chain(nanos.simpler());
        let durations = candidates.map(Self::from_nanos);
        durations.filter(|candidate| candidate < self).collect()
    }
}

/// Half of it, or all of it, in round numbers.
impl Simplify for u64 {
    fn simpler(&self) -> Vec<Self> {
        let mut candidates = vec![round(*self / 2), round(*self)];
        candidates.retain(|candidate| candidate < self);
        candidates
    }
}

/// The first digit, and zeros.
fn round(number: u64) -> u64 {
    let digits = number.checked_ilog10().unwrap_or(0);
    let unit = 10u64.pow(digits);
    number / unit * unit
}

/// A probability: never, always, in tenths, in hundredths.
impl Simplify for f64 {
    fn simpler(&self) -> Vec<Self> {
        let rank = |p: f64| match p {
            0.0 => 0,
            1.0 => 1,
            p if (p * 10.0).fract() == 0.0 => 2,
            _ => 3,
        };
        let tenths = (*self * 10.0).ceil() / 10.0;
        let mut candidates = vec![0.0, 1.0, tenths];
        candidates.retain(|candidate| rank(*candidate) < rank(*self));
        candidates
    }
}

impl Simplify for Vec<usize> {
    /// Fewer messages, and short ones.
    fn simpler(&self) -> Vec<Self> {
        let count = self.len();
        let short = vec![HEADER_LEN; count];
        let mut candidates = vec![self[..count.min(1)].to_vec()];
        candidates.push(self[..count / 2].to_vec());
        candidates.push(self[..count.saturating_sub(1)].to_vec());
        candidates.push(short);
        let half = |len: &usize| (round(*len as u64 / 2) as usize).max(HEADER_LEN);
        candidates.push(self.iter().map(half).collect());
        candidates.retain(|candidate| {
            (candidate.len(), candidate.iter().sum::<usize>()) < (count, self.iter().sum())
                && !candidate.is_empty()
        });
        candidates
    }
}

impl Simplify for Step {
    fn simpler(&self) -> Vec<Self> {
        let mut candidates: Vec<Self> = simpler(&self.operation, |operation| Self {
            operation,
            pause: self.pause,
        });
        candidates.extend(simpler(&self.pause, |pause| Self {
            operation: self.operation.clone(),
            pause,
        }));
        candidates
    }
}

impl Simplify for Operation {
    fn simpler(&self) -> Vec<Self> {
        match *self {
            Self::Send {
                from,
                to,
                ref lengths,
            } => simpler(lengths, |lengths| Self::Send { from, to, lengths }),
            Self::SendDatagrams {
                from,
                to,
                ref lengths,
            } => simpler(lengths, |lengths| Self::SendDatagrams { from, to, lengths }),
            Self::LeaveFlush(a, b) => vec![Self::Flush(a, b)],
            Self::ConnectBoth(a, b) => vec![Self::Connect(a, b), Self::Connect(b, a)],
            Self::Cut(a, b) => vec![Self::CutOneWay(a, b), Self::CutOneWay(b, a)],
            Self::Link { on, fault } => {
                let mut candidates = simpler(&fault, |fault| Self::Link { on, fault });
                candidates.extend(simpler(&on, |on| Self::Link { on, fault }));
                candidates
            }
            Self::Clog { from, to, time } => simpler(&time, |time| Self::Clog { from, to, time }),
            Self::Freeze { node, time } => simpler(&time, |time| Self::Freeze { node, time }),
            Self::BlockSocket { node, time } => {
                simpler(&time, |time| Self::BlockSocket { node, time })
            }
            Self::StepClock { node, ahead } => {
                let mut candidates = vec![Self::Crash(node)];
                candidates.extend(simpler(&ahead, |ahead| Self::StepClock { node, ahead }));
                candidates
            }
            Self::Close { node, last_words } => {
                let fewer = [0].into_iter().chain((last_words as u64).simpler());
                let fewer = fewer.map(|words| words as usize);
                let fewer = fewer.filter(|words| *words < last_words);
                fewer
                    .map(|last_words| Self::Close { node, last_words })
                    .collect()
            }
            Self::ReadUpTo { node, messages } => {
                let fewer = (messages as u64).simpler().into_iter();
                let fewer = fewer.map(|messages| messages as usize);
                let fewer = fewer.map(|messages| Self::ReadUpTo { node, messages });
                [Self::PauseReader(node)].into_iter().chain(fewer).collect()
            }
            Self::Move(node) => vec![Self::Rebind(node)],
            Self::SendConfirmed {
                from,
                to,
                ref lengths,
            } => simpler(lengths, |lengths| Self::SendConfirmed { from, to, lengths }),
            Self::SendUntil {
                from,
                to,
                ref lengths,
                lifetime,
            } => {
                let plain = Self::Send {
                    from,
                    to,
                    lengths: lengths.clone(),
                };
                let until = |lengths, lifetime| Self::SendUntil {
                    from,
                    to,
                    lengths,
                    lifetime,
                };
                let mut candidates = vec![plain];
                candidates.extend(simpler(lengths, |lengths| until(lengths, lifetime)));
                let shorter = simpler(&lifetime, |lifetime| until(lengths.clone(), lifetime));
                candidates.extend(shorter);
                candidates
            }
            Self::Withdraw(ref withdrawal) => simpler(withdrawal, Self::Withdraw),
            Self::Connect(..)
            | Self::Flush(..)
            | Self::Abort(_)
            | Self::Disconnect(..)
            | Self::CutOneWay(..)
            | Self::Heal
            | Self::Rebind(_)
            | Self::Crash(_)
            | Self::Restart(_)
            | Self::PauseReader(_)
            | Self::ResumeReader(_) => Vec::new(),
        }
    }
}

impl Simplify for Withdrawal {
    /// At once, fewer messages, and fewer that are sent before.
    fn simpler(&self) -> Vec<Self> {
        let mut candidates = vec![Self {
            when: When::Now,
            ..self.clone()
        }];
        let none = [Vec::new()].into_iter();
        let lengths = none.chain(self.lengths.simpler());
        candidates.extend(lengths.map(|lengths| Self {
            lengths,
            ..self.clone()
        }));
        let fewer = |number: usize| [0].into_iter().chain((number as u64).simpler());
        candidates.extend(fewer(self.behind).map(|behind| Self {
            behind: behind as usize,
            ..self.clone()
        }));
        let counts = (self.count as u64).simpler().into_iter();
        let counts = counts.chain((self.count as u64).checked_sub(1));
        candidates.extend(counts.map(|count| Self {
            count: count as usize,
            ..self.clone()
        }));
        candidates.retain(|candidate| candidate != self);
        candidates
    }
}

impl Simplify for Where {
    /// Everywhere is fewer words.
    fn simpler(&self) -> Vec<Self> {
        match self {
            Self::Everywhere => Vec::new(),
            Self::Link(..) => vec![Self::Everywhere],
        }
    }
}

impl Simplify for LinkFault {
    fn simpler(&self) -> Vec<Self> {
        match *self {
            Self::None => Vec::new(),
            Self::Loss(part) => simpler(&part, Self::Loss),
            Self::Burst(part) => simpler(&part, Self::Burst),
            Self::Duplicate(part) => simpler(&part, Self::Duplicate),
            Self::Reorder(part) => simpler(&part, Self::Reorder),
            Self::Corrupt(part) => simpler(&part, Self::Corrupt),
            Self::First {
                initial,
                handshake,
                one_rtt,
            } => simpler_first([initial, handshake, one_rtt]),
            Self::Rate(bytes) => {
                let mut candidates = vec![Self::None, Self::Rate(round(bytes))];
                candidates.retain(|candidate| candidate != self);
                candidates
            }
            Self::Mark(bytes) => vec![Self::Rate(bytes)],
            Self::Mtu(_) => vec![Self::None],
            Self::BlackHole { bytes, time } => {
                let mut candidates = vec![Self::None];
                candidates.extend(simpler(&time, |time| Self::BlackHole { bytes, time }));
                candidates
            }
        }
    }
}

fn simpler_first(counts: [u32; 3]) -> Vec<LinkFault> {
    let mut candidates = Vec::new();
    for place in 0..counts.len() {
        for fewer in [0, counts[place] / 2, counts[place].saturating_sub(1)] {
            let mut counts = counts;
            if fewer < counts[place] {
                counts[place] = fewer;
                candidates.push(counts);
            }
        }
    }
    let make = |[initial, handshake, one_rtt]: [u32; 3]| LinkFault::First {
        initial,
        handshake,
        one_rtt,
    };
    candidates.into_iter().map(make).collect()
}

impl Simplify for Outsider {
    fn simpler(&self) -> Vec<Self> {
        let node = self.node;
        let conditions = match self.condition {
            Condition::Unhealed => Vec::new(),
            Condition::Lossy(part) => {
                let mut conditions = vec![Condition::Unhealed, Condition::CutOff];
                conditions.extend(simpler(&part, Condition::Lossy));
                conditions
            }
            Condition::Deaf | Condition::Mute => vec![Condition::Unhealed, Condition::CutOff],
            Condition::Crashed | Condition::Frozen | Condition::CutOff => {
                vec![Condition::Unhealed]
            }
        };
        let outsider = |condition| Self { node, condition };
        conditions.into_iter().map(outsider).collect()
    }
}

impl Simplify for LinkProfile {
    /// A plain delay, and a round one.
    fn simpler(&self) -> Vec<Self> {
        let plain = Self::Delay(PLAIN);
        let mut candidates = match *self {
            Self::Delay(PLAIN) => return Vec::new(),
            Self::Delay(Delay::Constant(delay)) => {
                let candidates = simpler(&delay, |delay| Self::Delay(Delay::Constant(delay)));
                return [plain].into_iter().chain(candidates).collect();
            }
            Self::Delay(Delay::Uniform { from: mean, .. } | Delay::Normal { mean, .. }) => {
                vec![Self::Delay(Delay::Constant(mean))]
            }
            Self::Lan
            | Self::Dsl
            | Self::Lte
            | Self::Satellite
            | Self::WifiFade
            | Self::Datacenter => vec![Self::Delay(self.path().up.delay)],
        };
        candidates.insert(0, plain);
        candidates
    }
}

impl Simplify for Limits {
    /// As by default: all of them, or one.
    fn simpler(&self) -> Vec<Self> {
        let default = Self::default();
        let mut candidates = vec![default.clone()];
        macro_rules! fields {
            ($($field:ident),*) => {$(
                candidates.push(Self { $field: default.$field, ..self.clone() });
            )*};
        }
        fields!(
            connections_max,
            handshakes_max,
            batch_messages_max,
            batch_bytes_max,
            message_bytes_max,
            inbox_bytes_max,
            outbox_bytes_max,
            dial_rate,
            pool_ttl,
            liveness_timeout,
            handshake_timeout,
            backoff_max,
            stable_after,
            hold_time_min,
            slot_wait,
            flush,
            sealing,
            on_peer_restart
        );
        candidates.retain(|candidate| candidate != self);
        candidates
    }
}

/// Simpler candidates for a part, put into the whole.
fn simpler<T: Simplify, W>(part: &T, whole: impl Fn(T) -> W) -> Vec<W> {
    part.simpler().into_iter().map(whole).collect()
}
