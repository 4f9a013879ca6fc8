//! One monitor of a peer: whether it is there, and how well it can be reached.
//!
//! A peer is there while it is heard and acknowledges packets, on any of its connections. Either alone
//! is not enough: on a path that is cut one way the other end is heard and hears nothing. Two thresholds
//! follow from how long one of them has been missing. After half of `liveness_timeout` the peer is
//! `Unresponsive`. After all of it the connection is over, each by its own times.
//!
//! Nothing is done for each packet. The connections are looked at every third of `liveness_timeout`, as
//! often as they are kept alive, four times as often while something seems wrong, and when a threshold
//! is due. A connection of which one of the two was missing for two fifths of `liveness_timeout` is probed
//! for an answer, fifteen times in `liveness_timeout`.
//!
//! Health must not flap. What is bad has to be so twice in a row, what is well has to keep a distance from
//! the bounds, for a while, and for longer with each relapse.

mod contact;
mod quality;

use std::time::{Duration, Instant};

use self::{
    contact::{Contact, Patience, Verdict, Watched},
    quality::Quality,
};
use super::LinkId;
use crate::{Health, HealthReason};

/// The longest time that everything has to be well, in terms of the shortest.
const RELAPSES_MAX: u32 = 4;

/// Measurements of a connection up to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The smoothed round-trip time.
    pub(crate) rtt: Duration,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Packets lost of these.
    pub(crate) lost: u64,
    /// Grows whenever the other end is heard.
    pub(crate) heard: u64,
    /// When a datagram last arrived, which anybody can have sent.
    pub(crate) arrival: Instant,
    /// When a packet was last acknowledged that had not been before, on the present path.
    pub(crate) acknowledged: Option<Instant>,
}

/// Judges one peer by all of its confirmed connections.
#[derive(Debug, Clone)]
pub(crate) struct Monitor {
    limit: Duration,
    health: Health,
    /// The reason of the last change of `health`.
    symptom: HealthReason,
    links: Vec<Watched>,
    /// The latest times of all connections, those included that have ended.
    contact: Contact,
    /// Times without contact that are not judged before this moment: this process was late.
    grace: Instant,
    /// When the quality of the connections was last measured.
    measured: Instant,
    recovery: Recovery,
    due: Instant,
}

/// A move from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Health,
    pub(crate) to: Health,
    pub(crate) reason: HealthReason,
}

/// What follows from a look.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Orders {
    pub(crate) change: Option<Change>,
    /// Connections that are to be probed.
    pub(crate) probes: Vec<LinkId>,
    /// The connection to send on, in place of one that is without contact.
    pub(crate) prefers: Option<LinkId>,
    /// Connections that are over.
    pub(crate) ends: Vec<LinkId>,
}

impl Monitor {
    /// Makes the monitor of a peer without connections, which begins healthy.
    pub(crate) fn new(now: Instant, limit: Duration) -> Self {
        Self {
            limit,
            health: Health::Healthy,
            symptom: HealthReason::NewConnection,
            links: Vec::new(),
            contact: Contact::at(now, Duration::ZERO),
            grace: now,
            measured: now,
            recovery: Recovery::new(),
            due: now + limit / 3,
        }
    }

    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// Returns the reason of the last change of health.
    pub(crate) const fn symptom(&self) -> HealthReason {
        self.symptom
    }

    /// Returns when to look next.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Watches a connection that was confirmed at this moment, unless it is watched already. The peer was
    /// heard on it, so it is healthy until the connection shows something else.
    pub(crate) fn begin(&mut self, now: Instant, link: LinkId, sample: &Sample) -> Option<Change> {
        if self.links.iter().any(|watched| watched.link == link) {
            return None;
        }
        self.links.reserve_exact(1);
        self.links.push(Watched::new(now, link, sample));
        self.contact = Contact::at(now, sample.rtt);
        self.grace = now;
        self.measured = now;
        self.recovery = Recovery::new();
        self.due = self.due.min(now + self.limit / 3);
        let from = std::mem::replace(&mut self.health, Health::Healthy);
        self.symptom = HealthReason::NewConnection;
        (from != Health::Healthy).then_some(Change {
            from,
            to: Health::Healthy,
            reason: HealthReason::NewConnection,
        })
    }

    /// Looks at what was measured by this moment on each confirmed connection, and forgets all others.
    /// `live` is the one to send on.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        live: LinkId,
        samples: &[(LinkId, Sample)],
    ) -> Orders {
        let lateness = now.saturating_duration_since(self.due);
        if lateness > a_while(self.limit) {
            self.grace = now + self.limit / 6;
        }
        self.measure(now, samples);
        let mut orders = self.judge_links(now, lateness);
        let found = self.links.iter().find(|watched| watched.link == live);
        let Some(quality) = found.map(|watched| watched.quality) else {
            self.due = now + a_while(self.limit);
            return orders;
        };
        let patience = Patience::new(self.limit, self.contact);
        let in_contact = |watched: &&Watched| !patience.is_over(now, watched.contact);
        let best = self.links.iter().rev().find(in_contact);
        let is_live_well = found.as_ref().is_some_and(in_contact);
        orders.prefers = best.map(|watched| watched.link).filter(|_| !is_live_well);
        orders.change = match patience.is_over(now, self.contact) {
            false => self.heard(now, &quality),
            true => self.missed(now),
        };
        self.plan(now, &quality, patience);
        orders
    }

    /// Notes that the peer was heard beside what samples show: by the last packet of a connection.
    pub(crate) fn note_heard(&mut self, now: Instant) {
        self.contact.note_heard(now);
    }

    /// The last connection was lost since the other end did not answer.
    pub(crate) fn lost(&mut self, now: Instant) -> Option<Change> {
        self.turn(now, Health::Unresponsive, self.contact.missing(now))
    }

    fn measure(&mut self, now: Instant, samples: &[(LinkId, Sample)]) {
        let elapsed = now.saturating_duration_since(self.measured);
        let is_due = elapsed >= a_while(self.limit);
        if is_due {
            self.measured = now;
        }
        let limit = self.limit;
        self.links.retain_mut(|watched| {
            let found = samples.iter().find(|(link, _)| *link == watched.link);
            let Some((_, sample)) = found else {
                return false;
            };
            watched.listen(sample);
            if is_due {
                watched.quality.measure(now, elapsed, limit, sample);
            }
            true
        });
    }

    /// Judges the connections one by one.
    fn judge_links(&mut self, now: Instant, lateness: Duration) -> Orders {
        let mut orders = Orders::default();
        self.contact.probe_again();
        for watched in &mut self.links {
            if lateness > self.limit / 3 {
                // This process stood still, and answers may wait in the socket.
                watched.contact.probe_again();
            }
            match watched.judge(now, self.limit) {
                Verdict::Alive | Verdict::Wait => {}
                Verdict::Probe => orders.probes.push(watched.link),
                Verdict::Dead => orders.ends.push(watched.link),
            }
            self.contact.join(watched.contact);
        }
        orders
    }

    /// The peer has been without contact for too long.
    fn missed(&mut self, now: Instant) -> Option<Change> {
        self.recovery.is_not_well();
        if self.grace > now {
            return None;
        }
        self.turn(now, Health::Unresponsive, self.contact.missing(now))
    }

    fn heard(&mut self, now: Instant, quality: &Quality) -> Option<Change> {
        match self.health {
            Health::Healthy => {
                let reason = quality.symptom()?;
                self.turn(now, Health::Degraded, reason)
            }
            Health::Degraded if quality.is_well() => match self.recovery.is_well(now, self.limit) {
                true => self.turn(now, Health::Healthy, HealthReason::Recovered),
                false => None,
            },
            Health::Degraded => {
                self.recovery.is_not_well();
                None
            }
            Health::Unresponsive => self.turn(now, Health::Degraded, HealthReason::Heard),
        }
    }

    fn turn(&mut self, now: Instant, to: Health, reason: HealthReason) -> Option<Change> {
        let from = std::mem::replace(&mut self.health, to);
        if from == to {
            return None;
        }
        self.symptom = reason;
        self.recovery.turned(now, self.limit, from, to);
        Some(Change { from, to, reason })
    }

    /// Plans the next look: soon if something seems wrong, and when a threshold is due.
    fn plan(&mut self, now: Instant, quality: &Quality, patience: Patience) {
        let is_calm = self.health == Health::Healthy && quality.is_calm();
        let wait = match is_calm {
            true => self.limit / 3,
            false => a_while(self.limit),
        };
        let of_links = self
            .links
            .iter()
            .map(|watched| watched.due(now, self.limit));
        let of_peer = patience.ends(self.contact).into_iter().chain([self.grace]);
        let due = of_links.chain(of_peer.filter(|at| *at > now)).min();
        self.due = due.map_or(now + wait, |at| at.min(now + wait));
    }
}

/// Time between looks while something seems wrong.
fn a_while(limit: Duration) -> Duration {
    limit / 12
}

/// Recovery hysteresis: required and elapsed healthy time.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    well_since: Option<Instant>,
    relapses: u32,
    /// When it last recovered, if it ever was anything but healthy.
    recovered_at: Option<Instant>,
}

impl Recovery {
    const fn new() -> Self {
        Self {
            well_since: None,
            relapses: 0,
            recovered_at: None,
        }
    }

    fn is_not_well(&mut self) {
        self.well_since = None;
    }

    /// Everything is well at this moment; whether it has been for long enough.
    fn is_well(&mut self, now: Instant, limit: Duration) -> bool {
        let since = *self.well_since.get_or_insert(now);
        now.saturating_duration_since(since) >= well_for(limit, self.relapses)
    }

    fn turned(&mut self, now: Instant, limit: Duration, from: Health, to: Health) {
        self.well_since = None;
        if to == Health::Healthy {
            self.recovered_at = Some(now);
        }
        if from == Health::Healthy {
            let lately = |at: Instant| at + well_for(limit, RELAPSES_MAX) > now;
            self.relapses = match self.recovered_at.is_some_and(lately) {
                true => (self.relapses + 1).min(RELAPSES_MAX),
                false => 0,
            };
        }
    }
}

/// How long everything has to be well.
fn well_for(limit: Duration, relapses: u32) -> Duration {
    limit / 3 * 2u32.pow(relapses)
}

#[cfg(test)]
mod tests;
