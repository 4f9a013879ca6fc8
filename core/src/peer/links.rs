//! The connections of one peer, from the first packet of a dial to the last end: which are
//! confirmed, which are on their way, and when another may be dialled.
//!
//! Knows no time: how long a dial waits is the machine's business. So `check` can go through every order
//! in which things may happen.

use std::net::SocketAddr;

use super::{
    LinkId,
    chooser::{Candidate, Chooser},
    on_demand::Few,
    processes::Presence,
};
use crate::PeerId;

/// Connections of one peer that may wait for its hello: an honest one has one, or a second after
/// it has lost the first.
const ARRIVALS_MAX: usize = 4;

/// The connections of one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Links {
    chooser: Chooser,
    /// Connections that the peer has begun, and that are not confirmed.
    arrivals: Few<LinkId>,
    dialling: Dialling,
}

/// Where our next connection to the peer stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Dialling {
    /// None is wanted.
    #[default]
    Idle,
    /// The backoff has to end first.
    Backoff,
    /// A slot or the dial rate is waited for; the ticket is its entry in the row.
    Waiting { ticket: u64 },
    /// This address is being dialled.
    Running { link: LinkId, address: SocketAddr },
}

/// What the end of a connection means for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Our dial has ended.
    Dial,
    /// It was not confirmed, and not our dial.
    Arrival,
    /// Another confirmed one is there, and was the one to send on already.
    Spare,
    /// Another confirmed one is there, and is now the one to send on.
    Live,
    /// It was the last confirmed one.
    Last,
}

impl Links {
    /// Gives back memory that nothing is in.
    pub(crate) fn rest(&mut self) {
        self.chooser.rest();
        self.arrivals.shrink_to_fit();
    }

    /// The connection to send on.
    pub(crate) fn live(&self) -> Option<LinkId> {
        self.chooser.live()
    }

    /// Whether messages can be sent at this moment.
    pub(crate) fn is_live(&self) -> bool {
        self.live().is_some()
    }

    /// The same, for processes that wait for the peer's place.
    pub(crate) fn presence(&self) -> Presence {
        match self.is_live() {
            true => Presence::Connected,
            false => Presence::Absent,
        }
    }

    /// Whether any connection is open, confirmed or not.
    pub(crate) fn are_open(&self) -> bool {
        self.is_live() || self.running().is_some() || self.has_arrivals()
    }

    /// Whether the peer has begun a connection that is not confirmed.
    pub(crate) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Every confirmed connection.
    pub(crate) fn confirmed(&self) -> impl Iterator<Item = LinkId> {
        self.chooser.links()
    }

    /// Every connection that is not confirmed, our dial last.
    pub(crate) fn unconfirmed(&self) -> impl Iterator<Item = LinkId> {
        self.arrivals.iter().copied().chain(self.running())
    }

    /// Where our next connection stands.
    pub(crate) fn dialling(&self) -> Dialling {
        self.dialling
    }

    /// The dial of ours that is under way.
    pub(crate) fn running(&self) -> Option<LinkId> {
        match self.dialling {
            Dialling::Running { link, .. } => Some(link),
            Dialling::Idle | Dialling::Backoff | Dialling::Waiting { .. } => None,
        }
    }

    /// The address that our dial on this connection goes to, while it is under way.
    pub(crate) fn dialled(&self, id: LinkId) -> Option<SocketAddr> {
        match self.dialling {
            Dialling::Running { link, address } if link == id => Some(address),
            Dialling::Running { .. }
            | Dialling::Idle
            | Dialling::Backoff
            | Dialling::Waiting { .. } => None,
        }
    }

    // Dials

    /// Whether a dial may be asked for: none was, no connection is live, and none has arrived.
    pub(crate) fn may_dial(&self) -> bool {
        self.dialling == Dialling::Idle && !self.is_live() && !self.has_arrivals()
    }

    /// A dial waits until its backoff has ended.
    pub(crate) fn put_off(&mut self) {
        self.dialling = Dialling::Backoff;
    }

    /// A dial waits in the row.
    pub(crate) fn queued(&mut self, ticket: u64) {
        self.dialling = Dialling::Waiting { ticket };
    }

    /// A dial that waits is not wanted any more, or not yet. One that runs goes on.
    pub(crate) fn stop_waiting(&mut self) {
        if self.running().is_none() {
            self.dialling = Dialling::Idle;
        }
    }

    /// A dial begins.
    pub(crate) fn begun(&mut self, link: LinkId, address: SocketAddr) {
        debug_assert!(self.running().is_none(), "one dial at a time");
        self.dialling = Dialling::Running { link, address };
    }

    // Connections

    /// Adds a connection that the peer has begun, and on which it has proved its identity. Returns which one to
    /// close, if there are too many.
    #[must_use]
    pub(crate) fn arrived(&mut self, link: LinkId) -> Option<LinkId> {
        self.stop_waiting();
        self.arrivals.push(link);
        (self.arrivals.len() > ARRIVALS_MAX).then(|| self.arrivals[0])
    }

    /// Confirms a connection. Returns which one to close, if any.
    #[must_use]
    pub(crate) fn confirm(
        &mut self,
        ours: PeerId,
        theirs: PeerId,
        candidate: Candidate,
    ) -> Option<LinkId> {
        self.leave_unconfirmed(candidate.link);
        self.stop_waiting();
        self.chooser.confirm(ours, theirs, candidate)
    }

    /// Makes a confirmed connection the one to send on. Whether it was another before.
    pub(crate) fn prefer(&mut self, link: LinkId) -> bool {
        self.chooser.prefer(link)
    }

    /// A connection has ended.
    pub(crate) fn lost(&mut self, link: LinkId) -> Loss {
        if self.running() == Some(link) {
            self.dialling = Dialling::Idle;
            return Loss::Dial;
        }
        let was_live = self.live() == Some(link);
        let was_confirmed = self.chooser.remove(link);
        self.leave_unconfirmed(link);
        match (was_confirmed, self.is_live()) {
            (false, _) => Loss::Arrival,
            (true, false) => Loss::Last,
            (true, true) if was_live => Loss::Live,
            (true, true) => Loss::Spare,
        }
    }

    fn leave_unconfirmed(&mut self, link: LinkId) {
        self.arrivals.retain(|arrival| *arrival != link);
        if self.running() == Some(link) {
            self.dialling = Dialling::Idle;
        }
    }

    /// Gives connections other names, and dials other numbers.
    #[cfg(test)]
    pub(crate) fn rename(
        &mut self,
        mut name: impl FnMut(&mut LinkId),
        dial: impl FnMut(LinkId) -> u64,
    ) {
        self.arrivals.iter_mut().for_each(&mut name);
        if let Dialling::Running { link, .. } = &mut self.dialling {
            name(link);
        }
        self.chooser.rename(name, dial);
    }
}
