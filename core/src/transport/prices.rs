//! Prices of what is cheap for the other end and changes nothing here: now and then it is legal, and without end
//! it is a violation.
//!
//! Honest ends send such frames for the sake of frames that do change something, as the acknowledgement that
//! nothing is held any more, or all at once after a reconnect, as records that have arrived before. So each frame
//! that changes something pays for another one, and a burst is large.

use std::time::Instant;

use super::Link;
use crate::bucket::Bucket;
use crate::wire::code::CloseCode;

/// Cheap frames in a second beyond those that are paid for: less than 1 % of a core.
const PER_SECOND: u32 = 4_096;

/// As many at once: more records than the largest credit has room for at the shortest length of one.
const BURST: u32 = 65_536;

/// What a connection has sent that was cheap.
pub(super) struct Prices {
    bucket: Bucket,
    /// Cheap frames since they were last settled, and frames that pay for others.
    cheap: u64,
    paid: u64,
}

impl Prices {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bucket: Bucket::new(now, PER_SECOND, BURST),
            cheap: 0,
            paid: 0,
        }
    }

    fn settle(&mut self, now: Instant) -> Result<(), CloseCode> {
        let (cheap, paid) = (self.cheap, self.paid);
        (self.cheap, self.paid) = (0, 0);
        if cheap <= paid {
            self.bucket.give_back(now, paid - cheap);
            return Ok(());
        }
        let count = u32::try_from(cheap - paid).unwrap_or(u32::MAX);
        match self.bucket.take(now, count) {
            true => Ok(()),
            false => Err(CloseCode::Excessive),
        }
    }
}

impl Link {
    /// Counts frames, streams, records or datagrams of the other end that have changed nothing.
    pub(crate) const fn charge(&mut self, cheap: u64) {
        self.prices.cheap += cheap;
    }

    /// Counts a frame or record of the other end that has changed something, or one that has not.
    pub(crate) fn price(&mut self, is_news: bool) {
        match is_news {
            true => self.prices.paid += 1,
            false => self.prices.cheap += 1,
        }
    }

    /// Checks that the other end has not sent more of what is cheap than the limit.
    pub(crate) fn settle_prices(&mut self, now: Instant) -> Result<(), CloseCode> {
        self.prices.settle(now)
    }
}
