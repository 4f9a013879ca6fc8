//! Decides which dials give their slot to a peer that has dialled us.
//!
//! A dial to a peer that is gone holds its slot until it times out, and where such peers are as many as
//! slots, hardly any slot is ever free. So a dial after one that failed is preemptible. But the peer may
//! be back, and then its dial is as good as any: one that was preempted is not preempted again before it
//! is confirmed or has failed by itself. Hence no dial is called off for ever, and healthy peers call
//! off each other's dials once.

use crate::peer::backoff::Kind;

/// Whether the next dial to a peer is preemptible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Preemption {
    /// No: the peer has answered the last dial, if only with `Busy`, or was never dialled.
    #[default]
    Answered,
    /// Yes: the last dial failed.
    Unanswered,
    /// No: the last dial failed, and one was preempted since.
    Spent,
}

impl Preemption {
    /// A dial has failed, at every address.
    pub(crate) fn failed(&mut self, kind: Kind) {
        *self = match kind {
            Kind::NoRoom => Self::Answered,
            Kind::Error => Self::Unanswered,
        };
    }

    /// A connection is confirmed.
    pub(crate) fn confirmed(&mut self) {
        *self = Self::Answered;
    }

    /// A dial was called off for a peer that had dialled us.
    pub(crate) fn preempted(&mut self) {
        debug_assert_eq!(*self, Self::Unanswered, "no other dial is preemptible");
        *self = Self::Spent;
    }

    pub(crate) fn is_preemptible(self) -> bool {
        self == Self::Unanswered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_after_one_that_failed_is_preemptible_once() {
        let mut preemption = Preemption::default();
        assert!(!preemption.is_preemptible(), "the first one");
        for _ in 0..3 {
            preemption.failed(Kind::Error);
            assert!(preemption.is_preemptible());
            preemption.preempted();
            assert!(!preemption.is_preemptible());
        }
        preemption.failed(Kind::Error);
        preemption.failed(Kind::NoRoom);
        assert!(!preemption.is_preemptible(), "it has answered");
        preemption.failed(Kind::Error);
        preemption.confirmed();
        assert!(!preemption.is_preemptible());
    }
}
