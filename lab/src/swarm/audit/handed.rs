//! Messages that an application was given count as taken, and soon: the sender keeps them until then.

use std::{collections::VecDeque, time::Duration};

use crate::swarm::marks::{Log, always, sometimes};

/// What one process has handed to its application.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// All of them.
    pub(super) messages: u64,
    /// When the messages up to a number must count as taken, in order.
    due: VecDeque<(Duration, u64)>,
    delay: Duration,
    counted: u64,
}

impl Handed {
    /// Messages were handed out that must count as taken after `delay` at the latest.
    pub(super) fn hand_out(&mut self, at: Duration, messages: u64, delay: Duration) {
        self.delay = delay;
        if messages > 0 {
            self.messages += messages;
            self.due.push_back((at + delay, self.messages));
        }
    }

    /// The process cannot act.
    pub(super) fn hold_up(&mut self, at: Duration) {
        for (due, _) in &mut self.due {
            *due = at + self.delay;
        }
    }

    /// The machine has nothing more to do, and counts so many as taken.
    pub(super) fn mark(&mut self, log: &mut Log, counted: u64) {
        self.counted = counted;
        always!(
            log,
            counted <= self.messages,
            CountersAgree,
            "taken: {counted} counted and {} handed out",
            self.messages
        );
        while let Some((due, _)) = self.due.front().filter(|(_, number)| *number <= counted) {
            let is_later = *due < log.at + self.delay;
            sometimes!(log, is_later, "what was taken counted as taken later");
            self.due.pop_front();
        }
        self.pass(log);
    }

    /// Time has passed.
    pub(super) fn pass(&self, log: &mut Log) {
        let Some((due, number)) = self.due.front() else {
            return;
        };
        always!(
            log,
            log.at <= *due && !self.delay.is_zero(),
            CountersAgree,
            "taken: {} counted, {number} handed out and due at {due:?}",
            self.counted
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ms,
        swarm::Property::{self, CountersAgree},
    };

    #[test]
    fn what_counts_as_taken_too_late_or_never_is_noticed() {
        assert_eq!(after(ms(0), ms(0), 3), []);
        assert_eq!(after(ms(0), ms(0), 2), [CountersAgree]);
        assert_eq!(after(ms(2), ms(2), 2), []);
        assert_eq!(after(ms(2), ms(3), 2), [CountersAgree]);
        assert_eq!(after(ms(2), ms(3), 3), []);
    }

    #[test]
    fn what_was_not_handed_out_and_counts_as_taken_is_noticed() {
        assert_eq!(after(ms(2), ms(0), 4), [CountersAgree]);
    }

    #[test]
    fn a_process_that_cannot_act_has_time() {
        let (mut log, mut handed) = (Log::new(), Handed::default());
        handed.hand_out(ms(0), 1, ms(2));
        log.at = ms(5);
        handed.hold_up(log.at);
        handed.pass(&mut log);
        assert_eq!(log.broken(), []);
    }

    /// Three messages are handed out, and so many are counted after some time.
    fn after(delay: Duration, time: Duration, counted: u64) -> Vec<Property> {
        let (mut log, mut handed) = (Log::new(), Handed::default());
        handed.hand_out(log.at, 3, delay);
        log.at = time;
        handed.mark(&mut log, counted);
        log.broken()
    }
}
