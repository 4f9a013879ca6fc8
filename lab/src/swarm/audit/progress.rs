//! Whether messages that are taken are acknowledged to their sender.

use std::time::Duration;

use super::sample::PeerSample;
use crate::{
    secs,
    swarm::marks::{Log, always, sometimes},
};

/// How long the largest record and its acknowledgement may take on the slowest path.
const PASSAGE_MAX: Duration = secs(3);

/// What one process has sent to another.
#[derive(Debug, Default)]
pub(super) struct Progress {
    seen: Seen,
    /// When anything of it last changed.
    since: Duration,
}

/// Where the messages are, as both ends say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    held: u64,
    delivered: u64,
    received: u64,
    taken: u64,
    unread: usize,
}

impl Seen {
    /// From the sender's sample of the receiver, and the receiver's of the sender.
    pub(super) const fn of(sender: &PeerSample, receiver: &PeerSample) -> Self {
        Self {
            held: sender.outbox_messages,
            delivered: sender.delivered,
            received: receiver.received,
            taken: receiver.taken,
            unread: receiver.inbox_bytes,
        }
    }

    /// Whether the sender waits, and not for the receiver's application.
    const fn waits(&self) -> bool {
        self.held > 0 && self.unread == 0
    }
}

/// Whether two processes share one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    Shared,
    None,
}

impl Progress {
    /// What is held moves on, or is acknowledged, as long as there is a connection. What faults have
    /// done to that is mended, or the connection gone, within `silence_max` after the last of them,
    /// `calm_since`.
    pub(super) fn pass(
        &mut self,
        log: &mut Log,
        seen: Seen,
        tie: Tie,
        silence_max: Duration,
        calm_since: impl FnOnce() -> Option<Duration>,
    ) {
        if seen != self.seen || tie == Tie::None || !seen.waits() {
            sometimes!(
                log,
                self.seen.waits() && seen.delivered > self.seen.delivered,
                "a sender learnt that what it had sent was taken"
            );
            self.seen = seen;
            self.since = log.at;
            return;
        }
        if log.at - self.since <= PASSAGE_MAX {
            return;
        }
        let mended = calm_since().map_or(Duration::ZERO, |since| since + silence_max);
        self.since = self.since.max(mended.min(log.at));
        let time = log.at - self.since;
        always!(
            log,
            time <= PASSAGE_MAX,
            Acknowledged,
            "{} bytes are held for a peer that waits for them, or has them, for {time:?}",
            seen.held
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Property::{self, Acknowledged};

    const HELD: Seen = Seen {
        held: 100,
        delivered: 0,
        received: 1,
        taken: 1,
        unread: 0,
    };

    #[test]
    fn a_sender_that_hears_nothing_is_noticed() {
        assert_eq!(wait(HELD, Tie::Shared, secs(3), None), []);
        assert_eq!(wait(HELD, Tie::Shared, secs(4), None), [Acknowledged]);
        assert_eq!(wait(HELD, Tie::None, secs(4), None), []);
        let unread = Seen { unread: 1, ..HELD };
        assert_eq!(wait(unread, Tie::Shared, secs(4), None), []);
        let empty = Seen { held: 0, ..HELD };
        assert_eq!(wait(empty, Tie::Shared, secs(4), None), []);
    }

    #[test]
    fn what_a_fault_has_done_may_take_its_time() {
        let fault = Some(secs(1));
        assert_eq!(wait(HELD, Tie::Shared, secs(8), fault), []);
        assert_eq!(wait(HELD, Tie::Shared, secs(9), fault), [Acknowledged]);
    }

    /// Nothing changes for so long, and a connection that hears nothing is given up after four
    /// seconds.
    fn wait(seen: Seen, tie: Tie, time: Duration, calm_since: Option<Duration>) -> Vec<Property> {
        let (mut log, mut progress) = (Log::new(), Progress::default());
        for at in [Duration::ZERO, time] {
            log.at = at;
            progress.pass(&mut log, seen, tie, secs(4), || calm_since);
        }
        log.broken()
    }
}
