//! A model of the lifecycle that is not the machine's own.

use std::collections::BTreeMap;

use quicpool_core::{
    ConnectionStatus::{self, Connected, Connecting, Disconnected, Failed, New},
    Event, PeerId,
};

use crate::swarm::marks::{Log, always};

/// The statuses that one process has reported of its peers.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    statuses: BTreeMap<PeerId, ConnectionStatus>,
}

impl Lifecycle {
    /// Something has happened.
    pub(super) fn hear(&mut self, log: &mut Log, event: &Event) {
        let Event::StatusChanged { peer, from, to, .. } = *event else {
            return;
        };
        let known = self.statuses.insert(peer, to);
        // A stranger that was forgotten comes back as New.
        let continues = from == known.unwrap_or(New) || from == New;
        let legal = is_edge(from, to);
        always!(
            log,
            continues && legal,
            LegalMoves,
            "{peer:?} was {known:?} and moved {from:?} -> {to:?}"
        );
    }

    pub(super) fn status(&self, peer: PeerId) -> ConnectionStatus {
        self.statuses.get(&peer).copied().unwrap_or(New)
    }

    /// Peers that are connected.
    pub(super) fn connected(&self) -> usize {
        self.count(|status| status == Connected)
    }

    /// Peers that are connected, or are about to be: each holds a slot.
    pub(super) fn holders(&self) -> usize {
        self.count(|status| matches!(status, Connected | Connecting))
    }

    fn count(&self, is: impl Fn(ConnectionStatus) -> bool) -> usize {
        self.statuses.values().filter(|status| is(**status)).count()
    }
}

/// The edges of the specification, and those that backoff and calling off need.
const fn is_edge(from: ConnectionStatus, to: ConnectionStatus) -> bool {
    matches!(
        (from, to),
        (New | Disconnected | Failed, Connecting)
            | (Connecting, Connected | Disconnected | Failed)
            | (Connected, Disconnected | Failed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Property::LegalMoves;
    use crate::swarm::audit::testing::moved;

    #[test]
    fn a_leap_and_a_break_are_noticed() {
        let (mut log, mut model) = (Log::new(), Lifecycle::default());
        model.hear(&mut log, &moved(New, Connecting));
        model.hear(&mut log, &moved(Connecting, Connected));
        assert_eq!((model.connected(), model.holders()), (1, 1));
        assert_eq!(log.broken(), []);
        // It was Connected.
        model.hear(&mut log, &moved(Connecting, Failed));
        assert_eq!(log.broken(), [LegalMoves]);
        // There is no such edge.
        model.hear(&mut log, &moved(Failed, Connected));
        assert_eq!(log.broken(), [LegalMoves]);
    }
}
