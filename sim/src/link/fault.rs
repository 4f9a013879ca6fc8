//! Faults of links as single words, for plans and worlds.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{BlackHole, Burst, Faults, FirstLost, Queue, Rate};
use crate::{duration, ms};

/// The extra delay of an overtaken datagram, at most.
const REORDER_EXTRA: Duration = ms(80);
/// The lowest rate, in bytes per second, at which a datagram leaves within a second.
const RATE_MIN: u64 = 1_500;
/// A terabyte per second: more is a typing error.
const RATE_MAX: u64 = 1_000_000_000_000;
/// The longest payload of UDP over IPv4, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_527;
/// How long a black hole may last: longer than any run of use.
const BLACK_HOLE_MAX: Duration = Duration::from_secs(3_600);

/// One fault of a link. Probabilities are from 0 to 1, and for each datagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LinkFault {
    /// None: the link is as in the beginning.
    None,
    /// Loses datagrams with this probability.
    Loss(f64),
    /// Turns bad with this probability, and loses a third of what it meets for ten datagrams on
    /// average.
    Burst(f64),
    /// Loses the next datagrams of each kind.
    First {
        /// Those with an Initial packet.
        initial: u32,
        /// Those with a Handshake packet.
        handshake: u32,
        /// Those with a 1-RTT packet.
        one_rtt: u32,
    },
    /// Delivers datagrams twice with this probability.
    Duplicate(f64),
    /// Delays datagrams by up to 80 ms more with this probability, so that others overtake them.
    Reorder(f64),
    /// Damages datagrams with this probability.
    Corrupt(f64),
    /// Passes this many bytes per second, with a queue of a tenth of a second.
    Rate(u64),
    /// The same, and marks datagrams for congestion (ECN) while more than a tenth of the queue is
    /// used.
    Mark(u64),
    /// Loses datagrams with more bytes.
    Mtu(usize),
    /// Loses datagrams with more bytes for a time.
    BlackHole {
        /// The longest that passes.
        bytes: usize,
        /// How long it lasts.
        #[serde(with = "duration")]
        time: Duration,
    },
}

/// A number of a fault is out of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange {
    /// The value.
    pub value: String,
    /// The allowed values.
    pub allowed: String,
}

impl OutOfRange {
    fn unless<T: PartialOrd + fmt::Debug>(
        allowed: std::ops::RangeInclusive<T>,
        value: T,
    ) -> Result<(), Self> {
        match allowed.contains(&value) {
            true => Ok(()),
            false => Err(Self {
                value: format!("{value:?}"),
                allowed: format!("{allowed:?}"),
            }),
        }
    }
}

#[doc(hidden)]
impl LinkFault {
    /// Its name, for counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "calm",
            Self::Loss(_) => "loss",
            Self::Burst(_) => "burst",
            Self::First { .. } => "first",
            Self::Duplicate(_) => "duplicate",
            Self::Reorder(_) => "reorder",
            Self::Corrupt(_) => "corrupt",
            Self::Rate(_) => "rate",
            Self::Mark(_) => "mark",
            Self::Mtu(_) => "mtu",
            Self::BlackHole { .. } => "black_hole",
        }
    }

    /// Adds the fault to those of a link, in place of one of its kind.
    pub fn impose(self, now: Duration, faults: &mut Faults) {
        match self {
            Self::None => {}
            Self::Loss(probability) => faults.loss = probability,
            Self::Burst(to_bad) => {
                faults.burst = Some(Burst {
                    to_bad,
                    to_good: 0.1,
                    loss: 0.33,
                });
            }
            Self::First {
                initial,
                handshake,
                one_rtt,
            } => {
                faults.first = FirstLost {
                    initial,
                    handshake,
                    one_rtt,
                };
            }
            Self::Duplicate(probability) => faults.duplicate = probability,
            Self::Reorder(probability) => {
                faults.reorder = probability;
                faults.reorder_extra = REORDER_EXTRA;
            }
            Self::Corrupt(probability) => faults.corrupt = probability,
            Self::Rate(bytes) => faults.rate = Some(rate(bytes, None)),
            Self::Mark(bytes) => faults.rate = Some(rate(bytes, Some(bytes / 100))),
            Self::Mtu(bytes) => faults.mtu = bytes,
            Self::BlackHole { bytes, time } => {
                faults.black_hole = Some(BlackHole {
                    mtu: bytes,
                    from: now,
                    until: now.saturating_add(time),
                });
            }
        }
    }

    /// Adds the fault where the link is not worse already.
    pub fn worsen(self, now: Duration, faults: &mut Faults) {
        let before = faults.clone();
        self.impose(now, faults);
        faults.loss = faults.loss.max(before.loss);
        faults.duplicate = faults.duplicate.max(before.duplicate);
        faults.reorder = faults.reorder.max(before.reorder);
        faults.corrupt = faults.corrupt.max(before.corrupt);
        faults.mtu = faults.mtu.min(before.mtu);
        let per_second = |rate: &Rate| rate.bytes_per_second;
        faults.rate = [before.rate, faults.rate]
            .into_iter()
            .flatten()
            .min_by_key(per_second);
    }

    /// Checks that its numbers are in their ranges.
    ///
    /// # Errors
    ///
    /// The first that is not.
    pub fn check(self) -> Result<(), OutOfRange> {
        match self {
            Self::None | Self::First { .. } => Ok(()),
            Self::Loss(probability)
            | Self::Burst(probability)
            | Self::Duplicate(probability)
            | Self::Reorder(probability)
            | Self::Corrupt(probability) => OutOfRange::unless(0.0..=1.0, probability),
            Self::Rate(bytes) | Self::Mark(bytes) => OutOfRange::unless(RATE_MIN..=RATE_MAX, bytes),
            Self::Mtu(bytes) => OutOfRange::unless(1..=DATAGRAM_BYTES_MAX, bytes),
            Self::BlackHole { bytes, time } => {
                OutOfRange::unless(1..=DATAGRAM_BYTES_MAX, bytes)?;
                OutOfRange::unless(Duration::ZERO..=BLACK_HOLE_MAX, time)
            }
        }
    }
}

const fn rate(bytes_per_second: u64, mark_above: Option<u64>) -> Rate {
    Rate {
        bytes_per_second,
        queue: Queue::Bytes(bytes_per_second / 10),
        mark_above,
    }
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("no faults"),
            Self::Loss(part) => write!(f, "{} loss", percent(part)),
            Self::Burst(part) => write!(f, "bursts of loss, {} of the time", percent(part)),
            Self::First {
                initial,
                handshake,
                one_rtt,
            } => write!(
                f,
                "loss of the next {initial} Initial, {handshake} Handshake, {one_rtt} 1-RTT"
            ),
            Self::Duplicate(part) => write!(f, "{} duplicates", percent(part)),
            Self::Reorder(part) => write!(f, "{} overtaken", percent(part)),
            Self::Corrupt(part) => write!(f, "{} damaged", percent(part)),
            Self::Rate(bytes) => write!(f, "{bytes} B/s"),
            Self::Mark(bytes) => write!(f, "{bytes} B/s, marking"),
            Self::Mtu(bytes) => write!(f, "at most {bytes} B in a datagram"),
            Self::BlackHole { bytes, time } => {
                let time = duration::text(time);
                write!(f, "at most {bytes} B in a datagram for {time}")
            }
        }
    }
}

fn percent(part: f64) -> String {
    format!("{} %", (part * 10_000.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_worse_already_stays_so() {
        let mut faults = Faults {
            loss: 0.5,
            rate: Some(rate(2_000, None)),
            ..Faults::default()
        };
        for fault in [LinkFault::Loss(0.1), LinkFault::Rate(50_000)] {
            let before = faults.clone();
            fault.worsen(Duration::ZERO, &mut faults);
            assert_eq!(faults, before, "{fault}");
        }
        LinkFault::Loss(0.9).worsen(Duration::ZERO, &mut faults);
        LinkFault::Mark(1_600).worsen(Duration::ZERO, &mut faults);
        assert_eq!(
            (faults.loss, faults.rate),
            (0.9, Some(rate(1_600, Some(16))))
        );
    }
}
