//! Whether the other end of a connection is there: it is heard, and acknowledges what it is sent.

use std::time::{Duration, Instant};

use super::{Quality, Sample};
use crate::{HealthReason, peer::LinkId};

/// Probes of a connection in `liveness_timeout`. Each costs a packet, and data flow again so soon
/// after a cut of the path.
const PROBES: u32 = 15;

/// A confirmed connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    pub(super) link: LinkId,
    /// What [`Sample::heard`] was at the last look.
    heard: u64,
    pub(super) contact: Contact,
    pub(super) quality: Quality,
}

/// When the other end was last heard, and when it last acknowledged a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contact {
    heard: Instant,
    acknowledged: Instant,
    /// The smoothed round-trip time when it was last heard.
    rtt: Duration,
    /// Probes since one of the two has been missing.
    probed: Option<Probed>,
}

/// When the first probe was sent, and the last.
#[derive(Debug, Clone, Copy)]
struct Probed {
    first: Instant,
    last: Instant,
}

/// What the times of one connection mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    /// One of the two is missing: the connection is to be probed.
    Probe,
    /// One of the two is missing, and the last probe is recent.
    Wait,
    Dead,
}

impl Watched {
    pub(super) fn new(now: Instant, link: LinkId, sample: &Sample) -> Self {
        Self {
            link,
            heard: sample.heard,
            contact: Contact::at(now, sample.rtt),
            quality: Quality::new(now, sample),
        }
    }

    /// Takes in a measurement. The last datagram may be forged, but then the next look finds nothing new.
    pub(super) fn listen(&mut self, sample: &Sample) {
        if sample.heard != self.heard {
            self.heard = sample.heard;
            self.contact.heard = sample.arrival;
            self.contact.rtt = sample.rtt;
        }
        if let Some(at) = sample.acknowledged {
            self.contact.acknowledged = self.contact.acknowledged.max(at);
        }
    }

    /// Judges the connection by the times until `now`.
    pub(super) fn judge(&mut self, now: Instant, limit: Duration) -> Verdict {
        if self.contact.probe_due(limit) > now {
            self.contact.probed = None;
            return Verdict::Alive;
        }
        let first = self.contact.probed.map_or(now, |probed| probed.first);
        let last = self.contact.probed.map(|probed| probed.last);
        if last.is_none_or(|last| last + limit / PROBES <= now) {
            self.contact.probed = Some(Probed { first, last: now });
        }
        if self.end(limit).is_some_and(|at| at <= now) {
            return Verdict::Dead;
        }
        match self.contact.probed.is_some_and(|probed| probed.last == now) {
            true => Verdict::Probe,
            false => Verdict::Wait,
        }
    }

    /// Returns when the connection is over, if no answer comes until then. There is time to answer after
    /// the first probe: a third of the limit, and on a path that is only long three round trips.
    fn end(&self, limit: Duration) -> Option<Instant> {
        let Contact {
            heard,
            acknowledged,
            rtt,
            probed,
        } = self.contact;
        let probed = probed?.first;
        let silent = (heard + limit).max(probed + limit / 3);
        let time = (limit / 3).max(3 * rtt);
        let deaf = (acknowledged + limit).max(probed + time);
        Some(match self.contact.is_one_way() {
            true => silent.min(deaf),
            false => silent,
        })
    }

    /// Returns when to judge it next.
    pub(super) fn due(&self, now: Instant, limit: Duration) -> Instant {
        let Some((probed, end)) = self.contact.probed.zip(self.end(limit)) else {
            return self.contact.probe_due(limit);
        };
        let next = probed.last + limit / PROBES;
        match end > now {
            true => end.min(next),
            false => next,
        }
    }
}

impl Contact {
    pub(super) const fn at(now: Instant, rtt: Duration) -> Self {
        Self {
            heard: now,
            acknowledged: now,
            rtt,
            probed: None,
        }
    }

    pub(super) fn note_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Forgets probes: this process stood still, and answers may wait in the socket.
    pub(super) fn probe_again(&mut self) {
        self.probed = None;
    }

    /// Takes the later times of two connections. If one is heard and does not answer, the peer is taken for
    /// deaf.
    pub(super) fn join(&mut self, other: Self) {
        if other.heard >= self.heard {
            (self.heard, self.rtt) = (other.heard, other.rtt);
        }
        self.acknowledged = self.acknowledged.max(other.acknowledged);
        if other.is_one_way() {
            self.probed = other.probed;
        }
    }

    /// Whether the other end was heard after the first probe, and has not acknowledged it.
    fn is_one_way(&self) -> bool {
        self.probed
            .is_some_and(|probed| self.heard > probed.first && self.acknowledged <= probed.first)
    }

    /// Returns when to probe: later than the time between two keep-alives and a little for the
    /// way after one of the two was last there.
    fn probe_due(&self, limit: Duration) -> Instant {
        self.heard.min(self.acknowledged) + limit * 2 / 5
    }

    /// Describes what is missing.
    pub(super) fn missing(&self, now: Instant) -> HealthReason {
        match self.is_one_way() {
            true => HealthReason::Unacknowledged {
                time: now.saturating_duration_since(self.acknowledged),
            },
            false => HealthReason::Silent {
                silence: now.saturating_duration_since(self.heard),
            },
        }
    }
}

/// How long a peer may be without contact before it is unresponsive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    silence: Duration,
    deafness: Duration,
}

impl Patience {
    /// Derives the times from the limit and the round-trip time.
    ///
    /// A third of the limit is the time between two keep-alives, whose answer takes a round trip, and two
    /// more if it is lost. The rest of the limit is left for the user. The first probe is sent after two fifths
    /// and repeated: after two thirds four have not been acknowledged, each after loss probes.
    pub(super) fn new(limit: Duration, contact: Contact) -> Self {
        let rtt = contact.rtt;
        Self {
            silence: (limit / 2).max(limit / 3 + 3 * rtt).min(limit * 5 / 6),
            deafness: (limit * 2 / 3).max(limit * 2 / 5 + 3 * rtt),
        }
    }

    /// Returns when each of the two has been missing for too long.
    pub(super) fn ends(self, contact: Contact) -> [Instant; 2] {
        [
            contact.heard + self.silence,
            contact.acknowledged + self.deafness,
        ]
    }

    /// Whether the peer has been without contact for too long.
    pub(super) fn is_over(self, now: Instant, contact: Contact) -> bool {
        let [silent, deaf] = self.ends(contact);
        silent <= now || deaf <= now && contact.is_one_way()
    }
}
