//! What watches each node: a model of the lifecycle that is not the machine's own, and its limits.

use std::collections::BTreeMap;

use quicpool_core::{
    ConnectionStatus::{self, Connected, Connecting, Disconnected, Failed, New},
    Event, PeerId,
};

/// What one process has said of its peers.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    statuses: BTreeMap<PeerId, ConnectionStatus>,
    pub(super) undelivered: u64,
}

impl Auditor {
    /// Something has happened; what is wrong with it, if anything is.
    pub(super) fn hear(&mut self, event: &Event) -> Option<String> {
        if let Event::Undelivered { messages, .. } = event {
            self.undelivered += messages.end - messages.start;
        }
        let Event::StatusChanged { peer, from, to, .. } = event else {
            return None;
        };
        self.moved(*peer, *from, *to)
    }

    fn moved(
        &mut self,
        peer: PeerId,
        from: ConnectionStatus,
        to: ConnectionStatus,
    ) -> Option<String> {
        let known = self.statuses.insert(peer, to);
        // A stranger that was forgotten comes back as New.
        let continues = from == known.unwrap_or(New) || from == New;
        let legal = is_edge(from, to);
        (!continues || !legal)
            .then(|| format!("{peer:?} was {known:?} and moved {from:?} -> {to:?}"))
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
    use quicpool_core::Reason;

    fn moved(from: ConnectionStatus, to: ConnectionStatus) -> Event {
        Event::StatusChanged {
            peer: PeerId::from_bytes([1; 32]),
            from,
            to,
            reason: Reason::Dialling,
        }
    }

    #[test]
    fn a_leap_and_a_break_are_noticed() {
        let mut auditor = Auditor::default();
        assert_eq!(auditor.hear(&moved(New, Connecting)), None);
        assert_eq!(auditor.hear(&moved(Connecting, Connected)), None);
        assert!(
            auditor.hear(&moved(Connecting, Failed)).is_some(),
            "it was Connected"
        );
        assert!(
            auditor.hear(&moved(Failed, Connected)).is_some(),
            "no such edge"
        );
    }
}
