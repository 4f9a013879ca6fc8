//! Which process a peer is, when several have its identity.
//!
//! A process that has restarted and two processes that share a key look the same at first: a hello
//! comes from another incarnation than the one before. One that started later is the peer from then
//! on. One that started earlier may have a clock that stepped back, and the other may be dead: it
//! waits until the other has answered something that was sent after the hello, which proves both to
//! be alive, or until the other's connection has ended.
//!
//! A process that comes back after another one had its place still believes in a session that was
//! given up here. It is told so before anything else, and comes again as a new one.

use std::{collections::VecDeque, time::Instant};

use super::LinkId;
use crate::Incarnation;

/// Processes of one peer whose place others have taken that are remembered. More than these within
/// one session are a key that many processes hold.
const PAST_MAX: usize = 8;

/// Whoever has said hello for one peer.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    present: Option<Incarnation>,
    /// Those before it, in this session, the last one last.
    past: VecDeque<Incarnation>,
    /// Those that started before it, and wait.
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    link: LinkId,
    since: Instant,
}

/// What a hello means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the process that it was before, or the first one.
    Same,
    /// It is another one, which takes the place of the one before.
    Next,
    /// It is another one, and the one before may be alive.
    Waits,
    /// It had its place before, and that session was given up.
    Forgotten,
}

/// Whether the present process has a confirmed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Connected,
    Absent,
}

impl Processes {
    /// The process that the session is with.
    pub(crate) const fn present(&self) -> Option<Incarnation> {
        self.present
    }

    /// What it means that this process says hello.
    pub(crate) fn judge(&self, newcomer: Incarnation, presence: Presence) -> Claim {
        let Some(present) = self.present.filter(|present| *present != newcomer) else {
            return Claim::Same;
        };
        let is_earlier = order(newcomer) < order(present);
        if is_earlier && presence == Presence::Connected {
            return Claim::Waits;
        }
        match self.past.contains(&newcomer) {
            true => Claim::Forgotten,
            false => Claim::Next,
        }
    }

    /// The session is with this process from now on.
    pub(crate) fn adopt(&mut self, process: Incarnation) {
        let before = self.present.replace(process);
        if let Some(before) = before.filter(|before| *before != process) {
            if self.past.len() == PAST_MAX {
                self.past.pop_front();
            }
            self.past.push_back(before);
        }
    }

    /// The session has ended: whoever comes back finds another line.
    pub(crate) fn end_session(&mut self) {
        self.past.clear();
    }

    /// The session has expired: whoever comes next is the first one.
    pub(crate) fn expire(&mut self) {
        self.present = None;
        self.past.clear();
    }

    /// A process waits on this connection since it has said hello.
    pub(crate) fn wait(&mut self, now: Instant, link: LinkId) {
        self.waiting.push(Waiting { link, since: now });
    }

    /// The connection has ended, or waits no longer.
    pub(crate) fn leave(&mut self, link: LinkId) {
        self.waiting.retain(|waiting| waiting.link != link);
    }

    /// Whether any process waits.
    pub(crate) const fn is_contested(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connections on which processes wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = LinkId> {
        self.waiting.iter().map(|waiting| waiting.link)
    }

    /// The present process has answered what was sent to it at this moment: those that have waited
    /// since then are refused.
    pub(crate) fn refused(&self, answered: Instant) -> Vec<LinkId> {
        let waited = self.waiting.iter().filter(|w| w.since <= answered);
        waited.map(|waiting| waiting.link).collect()
    }
}

const fn order(process: Incarnation) -> (u64, u64) {
    (process.started_ms, process.random)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::epoch;

    #[test]
    fn the_later_of_two_processes_is_the_peer_at_once() {
        let processes = of(&[process(1)]);
        for presence in [Presence::Connected, Presence::Absent] {
            assert_eq!(processes.judge(process(2), presence), Claim::Next);
            assert_eq!(processes.judge(process(1), presence), Claim::Same);
        }
        assert_eq!(
            Processes::default().judge(process(1), Presence::Absent),
            Claim::Same
        );
    }

    #[test]
    fn of_two_that_started_at_once_the_greater_number_is_the_later() {
        let processes = of(&[process(1)]);
        for (random, claim) in [(0, Claim::Waits), (9, Claim::Next)] {
            let twin = Incarnation {
                random,
                ..process(1)
            };
            assert_eq!(processes.judge(twin, Presence::Connected), claim);
        }
    }

    #[test]
    fn the_earlier_one_waits_while_the_other_may_be_alive() {
        let processes = of(&[process(2)]);
        let judge = |presence| processes.judge(process(1), presence);
        assert_eq!(judge(Presence::Connected), Claim::Waits);
        assert_eq!(judge(Presence::Absent), Claim::Next, "its clock is wrong");
    }

    #[test]
    fn whoever_had_its_place_before_is_told_that_it_was_given_up() {
        let mut processes = of(&[process(1), process(2)]);
        let judge = |processes: &Processes, number, presence| {
            let claim = processes.judge(process(number), presence);
            (number, claim)
        };
        assert_eq!(
            judge(&processes, 1, Presence::Connected),
            (1, Claim::Waits),
            "first it is to be seen who is alive"
        );
        assert_eq!(
            judge(&processes, 1, Presence::Absent),
            (1, Claim::Forgotten)
        );
        processes.adopt(process(0));
        assert_eq!(
            judge(&processes, 2, Presence::Connected),
            (2, Claim::Forgotten)
        );
        processes.end_session();
        assert_eq!(judge(&processes, 2, Presence::Connected), (2, Claim::Next));
        processes.expire();
        assert_eq!(judge(&processes, 2, Presence::Connected), (2, Claim::Same));
    }

    #[test]
    fn the_past_is_bounded() {
        let all: Vec<Incarnation> = (0..100).map(process).collect();
        let processes = of(&all);
        assert_eq!(processes.past.len(), PAST_MAX);
        let claim = processes.judge(process(98), Presence::Absent);
        assert_eq!(claim, Claim::Forgotten);
    }

    #[test]
    fn only_an_answer_to_what_was_sent_after_the_hello_refuses_it() {
        let (mut processes, now) = (of(&[process(2)]), epoch());
        let link = |number| LinkId::new(number, 0);
        let at = |ms| now + Duration::from_millis(ms);
        processes.wait(at(10), link(1));
        processes.wait(at(20), link(2));
        assert_eq!(processes.refused(at(9)), []);
        assert_eq!(processes.refused(at(10)), [link(1)]);
        assert_eq!(processes.refused(at(20)), [link(1), link(2)]);
        processes.leave(link(1));
        assert!(processes.is_contested());
        assert_eq!(processes.refused(at(20)), [link(2)]);
        processes.leave(link(2));
        assert!(!processes.is_contested());
    }

    fn process(started_ms: u64) -> Incarnation {
        Incarnation {
            started_ms,
            random: 5,
        }
    }

    fn of(processes: &[Incarnation]) -> Processes {
        let mut all = Processes::default();
        processes.iter().for_each(|process| all.adopt(*process));
        all
    }
}
