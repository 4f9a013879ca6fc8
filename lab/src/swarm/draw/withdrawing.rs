//! Draws messages that are taken back, and messages with a lifetime.

use std::time::Duration;

use super::WorldDraw;
use crate::swarm::{Operation, When, Withdrawal, limits::SESSION_TIMEOUT};

impl WorldDraw {
    pub(super) fn withdrawal(&mut self) -> Operation {
        match self.below(3) {
            0 => self.send_until(),
            _ => self.withdraw(),
        }
    }

    /// Some lifetimes end before anything can be written, and some not before the session does.
    fn send_until(&mut self) -> Operation {
        let (from, to) = self.pair();
        let lifetime = match self.below(6) {
            0 => Duration::ZERO,
            1..=2 => self.millis((0, 300)),
            3..=4 => self.millis((0, 15_000)),
            _ => SESSION_TIMEOUT + self.millis((0, 30_000)),
        };
        let lengths = self.lengths((1, 20));
        Operation::SendUntil {
            from,
            to,
            lengths,
            lifetime,
        }
    }

    /// One, some or all of a batch, that was sent before or right now.
    fn withdraw(&mut self) -> Operation {
        let (from, to) = self.pair();
        let lengths = match self.below(2) {
            0 => Vec::new(),
            _ => self.lengths((1, 40)),
        };
        let sent = lengths.len().max(1) as u64;
        let (behind, count) = match self.below(4) {
            0 => (0, lengths.len().max(40) as u64),
            1 => (0, self.between((1, 3))),
            2 => (self.below(sent), self.between((1, sent))),
            _ => (self.between((0, 60)), self.between((1, 10))),
        };
        Operation::Withdraw(Withdrawal {
            from,
            to,
            lengths,
            behind: behind as usize,
            count: count as usize,
            when: self.pick([When::Now, When::Now, When::Reconnected]),
        })
    }

    fn lengths(&mut self, count: (u64, u64)) -> Vec<usize> {
        let most = self.pick([400, 400, 400, 4_000]);
        let lengths = 0..self.between(count);
        lengths.map(|_| self.between((12, most)) as usize).collect()
    }
}
