//! Whether the other end of a confirmed connection is alive.

use std::time::Instant;

use super::{Manager, Timer};
use crate::{
    peer::LinkId,
    transport::{Stage, Verdict},
};

impl Manager {
    /// Sees to it that a confirmed connection does not outlive the other end by more than
    /// `liveness_timeout`.
    pub(super) fn watch_for_silence(&mut self, now: Instant, id: LinkId) {
        let limit = self.config.liveness_timeout;
        let due = self.transport.begin_silence(now, id, limit);
        self.deadlines.set(Timer::Silence(id), due);
    }

    pub(super) fn silence_is_due(&mut self, now: Instant, id: LinkId) {
        let confirmed = |stage: &Stage| matches!(stage, Stage::Confirmed(_));
        let link = self.transport.link(id);
        if !link.is_some_and(|link| confirmed(&link.stage) && link.ending.is_none()) {
            return;
        }
        let limit = self.config.liveness_timeout;
        let next = match self.transport.judge_silence(now, id, limit) {
            Verdict::Alive(at) => at,
            Verdict::Silent(at) => {
                self.transport.ask(id);
                at
            }
            Verdict::Dead => return self.transport.time_out(now, id),
        };
        self.deadlines.set(Timer::Silence(id), Some(next));
    }
}
