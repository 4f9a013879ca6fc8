//! Flushes: each loss fails all flushes that wait for it, or else the next one, and none after; and the
//! end of a process names what no flush has reported, and all that was lost since it was asked for.
//!
//! Losses are known by their events, which come before the answers of flushes. An answer that is due
//! has come by the time at which the process has nothing more to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Range,
    time::Duration,
};

use quicpool_core::{Config, Event, Losses, PeerId};

use crate::{
    secs,
    swarm::marks::{Log, always, sometimes},
};

/// How much longer than `close_timeout` the end may take: goodbyes leave when all is flushed.
const GOODBYE_MAX: Duration = secs(1);

/// The flushes of one process.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    peers: BTreeMap<PeerId, ToPeer>,
    ending: Ending,
}

/// Flushes to one peer.
#[derive(Debug, Default)]
struct ToPeer {
    /// Messages that were accepted so far.
    accepted: u64,
    /// By token, how many messages each covers.
    waiting: BTreeMap<u64, u64>,
    /// By token, the message that each caller waits for alone.
    confirming: BTreeMap<u64, u64>,
    /// By token, what each flush has to report at this instant.
    due: BTreeMap<u64, BTreeSet<u64>>,
    /// Losses that no flush has reported.
    unreported: BTreeSet<u64>,
}

/// How far a process is with its end.
#[derive(Debug, Default)]
enum Ending {
    #[default]
    No,
    Asked {
        until: Duration,
        /// Messages that were lost since.
        undelivered: u64,
        /// What its last event has to name.
        losses: BTreeMap<PeerId, BTreeSet<u64>>,
    },
    Done,
}

impl Flushes {
    /// A message was accepted.
    pub(super) fn accept(&mut self, to: PeerId) {
        self.to(to).accepted += 1;
    }

    /// A flush has begun.
    pub(super) fn begin(&mut self, to: PeerId, token: u64) {
        let peer = self.to(to);
        if peer.unreported.is_empty() {
            peer.waiting.insert(token, peer.accepted);
        } else {
            peer.due.insert(token, mem::take(&mut peer.unreported));
        }
    }

    /// The message that was accepted last is to be confirmed.
    pub(super) fn confirm(&mut self, to: PeerId, token: u64) {
        let peer = self.to(to);
        peer.confirming.insert(token, peer.accepted - 1);
    }

    /// The caller of a flush, or of a message to be confirmed, waits no longer.
    pub(super) fn cancel(&mut self, to: PeerId, token: u64) {
        let peer = self.to(to);
        peer.waiting.remove(&token);
        peer.confirming.remove(&token);
    }

    /// The process is asked to end.
    pub(super) fn end(&mut self, log: &Log, config: &Config) {
        let unreported = |(peer, to): (&PeerId, &ToPeer)| {
            let is_any = !to.unreported.is_empty();
            is_any.then(|| (*peer, to.unreported.clone()))
        };
        self.ending = Ending::Asked {
            until: log.at + config.close_timeout + GOODBYE_MAX,
            undelivered: 0,
            losses: self.peers.iter().filter_map(unreported).collect(),
        };
    }

    /// Whether the process was asked to end.
    pub(super) const fn is_ending(&self) -> bool {
        !matches!(self.ending, Ending::No)
    }

    /// The process cannot act.
    pub(super) fn hold_up(&mut self, log: &Log, config: &Config) {
        if let Ending::Asked { until, .. } = &mut self.ending {
            *until = log.at + config.close_timeout + GOODBYE_MAX;
        }
    }

    pub(super) fn hear(&mut self, log: &mut Log, event: &Event) {
        match event {
            Event::Undelivered { peer, messages, .. } => self.lose(log, *peer, messages),
            Event::Flushed {
                peer,
                token,
                result,
            } => self.to(*peer).answer(log, *token, result),
            Event::Closed {
                undelivered,
                losses,
            } => self.close(log, *undelivered, losses),
            Event::StatusChanged { .. }
            | Event::HealthChanged { .. }
            | Event::Readable { .. }
            | Event::Writable { .. }
            | Event::PeerRestarted { .. }
            | Event::Stalled { .. }
            | Event::DatagramsReadable { .. }
            | Event::DatagramLimit { .. }
            | Event::IdentityInUse { .. }
            | _ => {}
        }
    }

    /// The process has nothing more to do.
    pub(super) fn settle(&mut self, log: &mut Log) {
        for to in self.peers.values_mut() {
            let due = mem::take(&mut to.due);
            always!(
                log,
                due.is_empty(),
                LossesReported,
                "flushes have not failed that waited for what is lost: {due:?}"
            );
        }
        self.pass(log);
    }

    /// Time has passed.
    pub(super) fn pass(&self, log: &mut Log) {
        if let Ending::Asked { until, .. } = &self.ending {
            always!(
                log,
                log.at <= *until,
                LossesReported,
                "the end was to be over at {until:?}"
            );
        }
    }

    fn to(&mut self, peer: PeerId) -> &mut ToPeer {
        self.peers.entry(peer).or_default()
    }

    fn lose(&mut self, log: &mut Log, peer: PeerId, messages: &Range<u64>) {
        let rest = self.to(peer).lose(log, messages);
        if let Ending::Asked {
            undelivered,
            losses,
            ..
        } = &mut self.ending
        {
            *undelivered += messages.end - messages.start;
            if !rest.is_empty() {
                losses.entry(peer).or_default().extend(rest);
            }
        }
    }

    fn close(&mut self, log: &mut Log, counted: u64, named: &[(PeerId, Losses)]) {
        let ending = mem::replace(&mut self.ending, Ending::Done);
        let Ending::Asked {
            undelivered,
            losses,
            ..
        } = ending
        else {
            let what = "an end that was not asked for, or that was over";
            always!(log, false, LossesReported, "{what}");
            return;
        };
        sometimes!(log, losses.is_empty(), "an end lost nothing");
        sometimes!(log, !losses.is_empty(), "an end named what was lost");
        let is_named = |(peer, lost): (&PeerId, &BTreeSet<u64>)| {
            named
                .iter()
                .any(|(to, named)| to == peer && names(named, lost))
        };
        always!(
            log,
            counted == undelivered && named.len() == losses.len() && losses.iter().all(is_named),
            LossesReported,
            "the end names {counted} messages, {named:?}; {undelivered} were lost, {losses:?}"
        );
    }
}

impl ToPeer {
    /// Returns those that no caller waits for alone.
    fn lose(&mut self, log: &mut Log, messages: &Range<u64>) -> BTreeSet<u64> {
        let mut rest: BTreeSet<u64> = messages.clone().collect();
        let due = &mut self.due;
        self.confirming.retain(|token, number| {
            let is_lost = rest.remove(number);
            if is_lost {
                due.insert(*token, BTreeSet::from([*number]));
            }
            !is_lost
        });
        let mut reported = messages.start;
        self.waiting.retain(|token, end| {
            let lost: BTreeSet<u64> = rest.range(..*end).copied().collect();
            let fails = !lost.is_empty();
            if fails {
                reported = reported.max(*end);
                due.insert(*token, lost);
            }
            !fails
        });
        let left: Vec<u64> = rest.range(reported..).copied().collect();
        sometimes!(
            log,
            reported > messages.start,
            "a flush waited for what was lost"
        );
        sometimes!(log, !left.is_empty(), "a loss was left for the next flush");
        sometimes!(
            log,
            (rest.len() as u64) < messages.end - messages.start,
            "a message to be confirmed was lost"
        );
        self.unreported.extend(left);
        rest
    }

    fn answer(&mut self, log: &mut Log, token: u64, result: &Result<(), Losses>) {
        let holds = match (result, self.due.remove(&token)) {
            (Ok(()), None) => {
                self.waiting.remove(&token).is_some() || self.confirming.remove(&token).is_some()
            }
            (Err(losses), Some(lost)) => names(losses, &lost),
            (Ok(()), Some(_)) | (Err(_), None) => false,
        };
        always!(
            log,
            holds,
            LossesReported,
            "flush {token} ended with {result:?}; {self:?}"
        );
    }
}

/// Whether losses name exactly these messages, or cover them if they are too scattered.
fn names(losses: &Losses, lost: &BTreeSet<u64>) -> bool {
    let named = losses.ranges().iter().cloned().flatten();
    if losses.messages() != lost.len() as u64 {
        return false;
    }
    let covering: u64 = losses
        .ranges()
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    match covering == losses.messages() {
        true => named.eq(lost.iter().copied()),
        false => lost
            .iter()
            .all(|number| losses.ranges().iter().any(|range| range.contains(number))),
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::Undeliverable::Goodbye;

    use super::*;
    use crate::swarm::{
        Property::{self, LossesReported},
        audit::testing::PEER,
    };

    const TO: PeerId = PeerId::from_bytes(PEER);

    #[test]
    fn a_loss_that_each_flush_reports_as_it_should_is_sound() {
        assert_eq!(after(&[flushed(0, Some(1..2)), flushed(1, Some(1..3))]), []);
    }

    #[test]
    fn a_flush_that_does_not_report_its_loss_is_noticed() {
        assert_eq!(after(&[flushed(0, Some(1..2))]), [LossesReported]);
        let silent = [flushed(0, Some(1..2)), flushed(1, None)];
        assert_eq!(after(&silent), [LossesReported]);
    }

    #[test]
    fn a_flush_that_names_other_messages_is_noticed() {
        let other = [flushed(0, Some(0..2)), flushed(1, Some(1..3))];
        assert_eq!(after(&other), [LossesReported]);
    }

    #[test]
    fn a_loss_that_is_reported_again_is_noticed() {
        let (mut log, mut flushes) = scene();
        flushes.hear(&mut log, &lost(3..4));
        flushes.begin(TO, 2);
        flushes.hear(&mut log, &flushed(2, Some(3..4)));
        flushes.begin(TO, 3);
        flushes.settle(&mut log);
        assert_eq!(log.broken(), []);
        flushes.hear(&mut log, &flushed(3, Some(3..4)));
        assert_eq!(log.broken(), [LossesReported]);
    }

    #[test]
    fn an_end_that_names_too_little_or_comes_too_late_is_noticed() {
        let end = |named: Vec<(PeerId, Losses)>, undelivered| {
            let (mut log, mut flushes) = scene();
            flushes.cancel(TO, 0);
            flushes.cancel(TO, 1);
            flushes.hear(&mut log, &lost(0..1));
            flushes.end(&log, &Config::default());
            flushes.hear(&mut log, &lost(1..4));
            let losses = named;
            flushes.hear(
                &mut log,
                &Event::Closed {
                    undelivered,
                    losses,
                },
            );
            flushes.settle(&mut log);
            log.broken()
        };
        assert_eq!(end(vec![(TO, Losses::new(0..4, Goodbye))], 3), []);
        assert_eq!(
            end(vec![(TO, Losses::new(1..4, Goodbye))], 3),
            [LossesReported]
        );
        assert_eq!(
            end(vec![(TO, Losses::new(0..4, Goodbye))], 4),
            [LossesReported]
        );
        assert_eq!(end(vec![], 3), [LossesReported]);
        let (mut log, mut flushes) = scene();
        flushes.end(&log, &Config::default());
        log.at = secs(7);
        flushes.pass(&mut log);
        assert_eq!(log.broken(), [LossesReported]);
    }

    /// Two flushes wait for two and for three messages, of which the second and the third are lost.
    fn after(events: &[Event]) -> Vec<Property> {
        let (mut log, mut flushes) = scene();
        flushes.hear(&mut log, &lost(1..3));
        events
            .iter()
            .for_each(|event| flushes.hear(&mut log, event));
        flushes.settle(&mut log);
        log.broken()
    }

    fn scene() -> (Log, Flushes) {
        let mut flushes = Flushes::default();
        flushes.accept(TO);
        flushes.accept(TO);
        flushes.begin(TO, 0);
        flushes.accept(TO);
        flushes.begin(TO, 1);
        flushes.accept(TO);
        (Log::new(), flushes)
    }

    fn lost(messages: Range<u64>) -> Event {
        Event::Undelivered {
            peer: TO,
            messages,
            reason: Goodbye,
        }
    }

    fn flushed(token: u64, lost: Option<Range<u64>>) -> Event {
        Event::Flushed {
            peer: TO,
            token,
            result: lost.map_or(Ok(()), |lost| Err(Losses::new(lost, Goodbye))),
        }
    }
}
