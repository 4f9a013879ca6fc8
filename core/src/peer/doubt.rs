//! Which dials make way for peers that have come.
//!
//! A dial to a peer that is gone holds its slot until it times out, and where such peers are as many
//! as slots, there is hardly a moment at which one is free. So a dial to a peer that has not answered
//! the last one is doubtful, and gives its slot to whoever has come and proved who it is. But the
//! peer may have come back, and then the dial is as good as any: so one that has made way is not
//! asked to again until it is confirmed or has failed by itself. Hence nobody is called off for
//! ever, and healthy peers that call off each other's dials do so once.

use super::{backoff::Kind, pool::Purpose};

/// What is known against the next dial to a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It has answered the last one, if only that it has no room, or was never dialled.
    #[default]
    None,
    /// The last dial failed.
    Unanswered,
    /// The last dial failed, and one was called off after it.
    MadeWay,
}

impl Doubt {
    /// A dial has failed, at every address.
    pub(crate) fn failed(&mut self, kind: Kind) {
        *self = match kind {
            Kind::NoRoom => Self::None,
            Kind::Error => Self::Unanswered,
        };
    }

    /// A connection is confirmed.
    pub(crate) fn confirmed(&mut self) {
        *self = Self::None;
    }

    /// A dial was called off for a peer that had come.
    pub(crate) fn made_way(&mut self) {
        debug_assert_eq!(*self, Self::Unanswered, "no other makes way");
        *self = Self::MadeWay;
    }

    /// What the next dial holds its slot for.
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::None | Self::MadeWay => Purpose::Dial,
            Self::Unanswered => Purpose::DoubtfulDial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dials_after_one_that_failed_make_way_and_every_other_one_is_let_finish() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.purpose(), Purpose::Dial, "the first one");
        for _ in 0..3 {
            doubt.failed(Kind::Error);
            assert_eq!(doubt.purpose(), Purpose::DoubtfulDial);
            doubt.made_way();
            assert_eq!(doubt.purpose(), Purpose::Dial);
        }
        doubt.failed(Kind::Error);
        doubt.failed(Kind::NoRoom);
        assert_eq!(doubt.purpose(), Purpose::Dial, "it is there");
        doubt.failed(Kind::Error);
        doubt.confirmed();
        assert_eq!(doubt.purpose(), Purpose::Dial);
    }
}
