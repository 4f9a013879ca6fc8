//! Which process a peer is, when several have its identity.
//!
//! A process that has restarted and two processes that share a key look the same at first: a hello
//! comes from another incarnation than the one before. While the one before has a connection the
//! newcomer waits, since its hello alone proves little: it may have been on its way for longer than
//! its process has lived. Only an answer to something that was sent after the hello proves a process
//! to be alive. One that started later is the peer from its own answer on. One that started earlier,
//! or with a clock that has stepped back, is refused once the other has answered. When the other's connection
//! has ended, the one that waits gets the place.
//!
//! A process that comes back after another one had its place still believes in a session that was given up
//! here. It gets a close with `Forgotten` before anything else, and comes again as a new one.

use std::{collections::VecDeque, time::Instant};

use super::{LinkId, on_demand::Few};
use crate::Incarnation;

/// Processes of one peer whose place others have taken that are remembered. More than these within
/// one session are a key that many processes hold.
const PAST_MAX: usize = 8;

/// The processes that have sent a hello for one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Processes {
    present: Option<Incarnation>,
    /// Those before it, in this session, the last one last. Hardly any peer has one.
    #[expect(
        clippy::box_collection,
        reason = "hardly any peer has one, and there may be many peers"
    )]
    past: Option<Box<VecDeque<Incarnation>>>,
    /// Those that wait for its place.
    waiting: Few<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Waiting {
    link: LinkId,
    since: Instant,
    process: Incarnation,
}

/// When a process has started, beside the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Earlier,
    Later,
}

/// What a hello means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the process that it was before, or the first one.
    Same,
    /// It is another one, which takes the place of the one before.
    Next,
    /// It is another one, and either of them may be dead.
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

    /// Classifies the hello of a process.
    pub(crate) fn judge(&self, newcomer: Incarnation, presence: Presence) -> Claim {
        let Some(present) = self.present.filter(|present| *present != newcomer) else {
            return Claim::Same;
        };
        let is_past = self
            .past
            .as_ref()
            .is_some_and(|past| past.contains(&newcomer));
        match (presence, age(newcomer, present)) {
            (Presence::Connected, Age::Earlier) => Claim::Waits,
            (Presence::Connected | Presence::Absent, _) if is_past => Claim::Forgotten,
            (Presence::Connected, Age::Later) => Claim::Waits,
            (Presence::Absent, _) => Claim::Next,
        }
    }

    /// The session is with this process from now on.
    pub(crate) fn adopt(&mut self, process: Incarnation) {
        let before = self.present.replace(process);
        if let Some(before) = before.filter(|before| *before != process) {
            let past = self.past.get_or_insert_default();
            if past.len() == PAST_MAX {
                past.pop_front();
            }
            past.push_back(before);
        }
    }

    /// Ends the session: a process that comes back finds another line.
    pub(crate) fn end_session(&mut self) {
        self.past = None;
    }

    /// Expires the session: the next process is the first one.
    pub(crate) fn expire(&mut self) {
        self.present = None;
        self.past = None;
    }

    /// Notes that a process waits on this connection, from its hello on.
    pub(crate) fn wait(&mut self, now: Instant, link: LinkId, newcomer: Incarnation) {
        self.waiting.push(Waiting {
            link,
            since: now,
            process: newcomer,
        });
    }

    /// The connection has ended, or waits no longer.
    pub(crate) fn leave(&mut self, link: LinkId) {
        self.waiting.retain(|waiting| waiting.link != link);
    }

    /// Whether any process waits.
    pub(crate) fn is_contested(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connections on which processes wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = LinkId> {
        self.waiting.iter().map(|waiting| waiting.link)
    }

    /// The present process has answered what was sent to it at this moment: those that started
    /// earlier and have waited since then are refused.
    pub(crate) fn refused(&self, answered: Instant) -> Vec<LinkId> {
        let waited = self.waited(answered, Age::Earlier);
        waited.map(|waiting| waiting.link).collect()
    }

    /// Whether the process that waits on this connection takes the place of the present one, now that
    /// it has answered what was sent to it at this moment.
    pub(crate) fn prevails(&self, link: LinkId, answered: Instant) -> bool {
        let mut waited = self.waited(answered, Age::Later);
        waited.any(|waiting| waiting.link == link)
    }

    fn waited(&self, until: Instant, wanted: Age) -> impl Iterator<Item = &Waiting> {
        // The process in the place may have come on two connections: it does not wait for itself on the other.
        let others = |process| self.present.filter(|present| *present != process);
        let age = move |process| others(process).map(|present| age(process, present));
        let waited = move |w: &&Waiting| w.since <= until && age(w.process) == Some(wanted);
        self.waiting.iter().filter(waited)
    }

    /// Whether the process on this connection need not wait any longer: the place that it waits for is free, or
    /// it has got it on another connection.
    pub(crate) fn is_free_for(&self, link: LinkId, presence: Presence) -> bool {
        let mut waiting = self.waiting.iter().filter(|w| w.link == link);
        waiting.any(|w| presence == Presence::Absent || Some(w.process) == self.present)
    }

    /// Gives connections other names.
    #[cfg(test)]
    pub(crate) fn rename(&mut self, mut name: impl FnMut(&mut LinkId)) {
        let links = self.waiting.iter_mut().map(|waiting| &mut waiting.link);
        links.for_each(&mut name);
    }
}

fn age(newcomer: Incarnation, present: Incarnation) -> Age {
    let order = |process: Incarnation| (process.started_ms, process.random);
    match order(newcomer) < order(present) {
        true => Age::Earlier,
        false => Age::Later,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::epoch;

    #[test]
    fn who_comes_on_two_connections_does_not_wait_for_itself_on_the_other() {
        let mut processes = of(&[process(1)]);
        let [first, second] = [1, 2].map(|index| LinkId::new(index, 0));
        for link in [first, second] {
            processes.wait(epoch(), link, process(2));
            assert!(!processes.is_free_for(link, Presence::Connected));
            assert!(processes.is_free_for(link, Presence::Absent));
        }
        processes.leave(first);
        processes.adopt(process(2));
        assert!(
            !processes.is_free_for(first, Presence::Absent),
            "it has left"
        );
        assert!(processes.is_free_for(second, Presence::Connected));
        assert!(!processes.prevails(second, epoch()));
        assert_eq!(processes.refused(epoch()), []);
    }

    #[test]
    fn the_later_of_two_processes_is_the_peer_once_it_has_answered_or_nobody_is_there() {
        let mut processes = of(&[process(1)]);
        for (presence, claim) in [
            (Presence::Connected, Claim::Waits),
            (Presence::Absent, Claim::Next),
        ] {
            assert_eq!(processes.judge(process(2), presence), claim);
            assert_eq!(processes.judge(process(1), presence), Claim::Same);
        }
        let (link, other, now) = (LinkId::new(1, 0), LinkId::new(2, 0), epoch());
        let later = now + Duration::from_millis(1);
        processes.wait(later, link, process(2));
        processes.wait(now, other, process(0));
        assert!(!processes.prevails(link, now), "sent before its hello");
        assert!(processes.prevails(link, later));
        assert!(!processes.prevails(other, later), "it started earlier");
        assert_eq!(processes.refused(later), [other]);
        assert_eq!(
            Processes::default().judge(process(1), Presence::Absent),
            Claim::Same
        );
    }

    #[test]
    fn of_two_that_started_at_once_the_greater_number_is_the_later() {
        let processes = of(&[process(1)]);
        for (random, refused) in [(0, true), (9, false)] {
            let twin = Incarnation {
                random,
                ..process(1)
            };
            let (link, now) = (LinkId::new(1, 0), epoch());
            let mut processes = processes.clone();
            processes.wait(now, link, twin);
            assert_eq!(processes.refused(now) == [link], refused);
            assert_eq!(processes.prevails(link, now), !refused);
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
        assert_eq!(judge(&processes, 2, Presence::Absent), (2, Claim::Next));
        processes.expire();
        assert_eq!(judge(&processes, 2, Presence::Connected), (2, Claim::Same));
    }

    #[test]
    fn the_past_is_bounded() {
        let all: Vec<Incarnation> = (0..100).map(process).collect();
        let processes = of(&all);
        assert_eq!(
            processes.past.as_ref().map(|past| past.len()),
            Some(PAST_MAX)
        );
        let claim = processes.judge(process(98), Presence::Absent);
        assert_eq!(claim, Claim::Forgotten);
    }

    #[test]
    fn only_an_answer_to_what_was_sent_after_the_hello_refuses_it() {
        let (mut processes, now) = (of(&[process(2)]), epoch());
        let link = |number| LinkId::new(number, 0);
        let at = |ms| now + Duration::from_millis(ms);
        processes.wait(at(10), link(1), process(1));
        processes.wait(at(20), link(2), process(1));
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
