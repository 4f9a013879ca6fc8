//! Batches leave in time: `batch_delay_max` after their first message was accepted at the latest.
//!
//! From outside that can be demanded where nothing else holds a batch back: the first message for
//! a peer that is connected and has taken everything before, that of earlier sessions included, finds the congestion
//! window and the peer's credit free. It must be on the wire in time, unless the sender's process or socket is
//! held up, or the connection is new, whose first credit the peer's inbox may have had no room for, or since the
//! connection was begun the peer's process has ended, an end has moved or anything has befallen a datagram between
//! both; or unless datagrams that may be lost were sent shortly before, which fill the window as messages do.
//!
//! Both matter from the beginning. Handshakes that lose datagrams leave a congestion window behind
//! that a single probe for a larger MTU fills (RFC 9002 section 7.6.2). And an end that has moved may
//! have its connection confirmed by what it sent from where it was, and what it sends next comes from
//! an address that is not validated: until it is, three times as much may be sent there as has come
//! (RFC 9000 section 9.3.1).

use std::{net::SocketAddr, time::Duration};

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting, Disconnected, Failed, New},
};

use super::{records::RecordStart, sample::PeerSample};
use crate::{
    NodeId, secs,
    swarm::marks::{Log, never, sometimes},
    watch::Scene,
};

/// How long what was sent once may fill the congestion window, and how long the first credit of a connection may
/// take: several round trips of the longest path.
const CROWDED: Duration = secs(5);

/// What one process owes one peer.
#[derive(Debug, Default)]
pub(super) struct Punctual {
    seen: PeerSample,
    /// The path, as it was when nothing was known of the connection.
    before: Option<Path>,
    /// Datagrams that have left since then for where the other end was no longer.
    strays: u64,
    /// The path that this connection needs: as it was before either end began it.
    path: Option<Path>,
    owed: Option<Owed>,
    /// Until when datagrams may fill the window, or credit may be on its way.
    crowded_until: Duration,
}

/// The way between both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    /// Where each end is.
    pub(super) ends: [SocketAddr; 2],
    /// Faults of datagrams so far.
    pub(super) faults: u64,
}

impl Path {
    /// The way between the node of a scene and another.
    pub(super) fn between(scene: &Scene<'_>, to: NodeId) -> Self {
        Self {
            ends: [scene.node, to].map(|node| scene.addr_of(node)),
            faults: scene.faults_between(scene.node, to),
        }
    }
}

/// A first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owed {
    number: u64,
    until: Duration,
}

impl Punctual {
    /// A message was accepted under this number.
    pub(super) fn accept(&mut self, log: &Log, config: &Config, number: u64) {
        let has_room = self.seen.outbox_bytes == 0 && log.at >= self.crowded_until;
        let is_first = self.owed.is_none() && has_room;
        if is_first && self.seen.status == Connected && self.path.is_some() {
            let until = log.at + config.batch_delay_max;
            self.owed = Some(Owed { number, until });
        }
    }

    /// A record has begun to leave; `path` is how the path is at this moment.
    pub(super) fn leave(&mut self, log: &mut Log, start: RecordStart, path: impl FnOnce() -> Path) {
        let Some(owed) = self.owed else {
            return;
        };
        if !(start.first..start.next()).contains(&owed.number) {
            return;
        }
        self.owed = None;
        if log.at > owed.until {
            self.judge(log, owed, path());
        } else {
            sometimes!(log, true, "a batch kept its delay");
        }
    }

    /// A datagram was accepted that is sent once.
    pub(super) fn crowd(&mut self, log: &Log) {
        self.crowded_until = log.at + CROWDED;
        self.excuse();
    }

    /// A datagram has left for where the other end is no longer.
    pub(super) const fn stray(&mut self) {
        self.strays += 1;
    }

    /// Faults of datagrams before the connection was seen.
    pub(super) fn faults_before(&self) -> Option<u64> {
        self.before.map(|path| path.faults)
    }

    /// The machine has nothing more to do. `faults_before` comes from the other end: it may have
    /// begun the connection long before it shows at this one.
    pub(super) fn settle(
        &mut self,
        log: &mut Log,
        peer: PeerSample,
        faults_before: Option<u64>,
        path: impl FnOnce() -> Path,
    ) {
        let is_other = peer.connections != self.seen.connections;
        self.seen = peer;
        match peer.status {
            Connected if is_other => {
                self.excuse();
                self.crowded_until = log.at + CROWDED;
                let Path { ends, faults } = self.before.unwrap_or_else(path);
                let faults = faults_before.map_or(faults, |before| before.min(faults));
                self.path = Some(Path { ends, faults });
            }
            Connected => self.pass(log, path),
            Connecting => {
                self.excuse();
                self.path = None;
            }
            New | Disconnected | Failed => {
                self.excuse();
                self.path = None;
                self.before = Some(path());
                self.strays = 0;
            }
        }
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, log: &mut Log, path: impl FnOnce() -> Path) {
        if let Some(owed) = self.owed.filter(|owed| log.at > owed.until) {
            self.owed = None;
            self.judge(log, owed, path());
        }
    }

    /// Something else holds back what is owed.
    pub(super) fn excuse(&mut self) {
        self.owed = None;
    }

    /// The other end's process is gone: this connection gets no credit any more, and what fills its congestion
    /// window is not acknowledged.
    pub(super) fn orphan(&mut self) {
        self.excuse();
        self.path = None;
    }

    fn judge(&self, log: &mut Log, owed: Owed, path: Path) {
        let late = log.at - owed.until;
        let is_clear = self.strays == 0 && self.path == Some(path);
        never!(
            log,
            is_clear,
            BatchesInTime,
            "message {} has not left in time; it is {late:?} late",
            owed.number
        );
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::ConnectionStatus;

    use super::*;
    use crate::{
        ms,
        swarm::{
            Property::{self, BatchesInTime},
            audit::records::tests::start,
        },
    };

    #[test]
    fn a_batch_may_wait_for_its_delay_and_no_longer() {
        assert_eq!(leave_after(ms(50), 0), []);
        assert_eq!(leave_after(ms(51), 0), [BatchesInTime]);
        assert_eq!(leave_after(ms(51), 1), [], "something was lost");
    }

    #[test]
    fn a_batch_that_never_leaves_is_noticed() {
        let (mut log, mut punctual) = accepted();
        log.at += ms(60);
        punctual.pass(&mut log, || path(0));
        punctual.pass(&mut log, || path(0));
        assert_eq!(log.broken(), [BatchesInTime], "once");
    }

    #[test]
    fn a_connection_to_a_process_that_is_gone_owes_nothing() {
        let (mut log, mut punctual) = accepted();
        punctual.orphan();
        punctual.settle(&mut log, connected(), None, || path(0));
        log.at += CROWDED;
        punctual.accept(&log, &Config::default(), 8);
        log.at += ms(60);
        punctual.pass(&mut log, || path(0));
        assert_eq!(log.broken(), []);
    }

    #[test]
    fn whoever_is_behind_others_may_wait() {
        let (mut log, mut punctual) = accepted();
        punctual.leave(&mut log, start(7, 1), || path(0));
        let peer = PeerSample {
            outbox_bytes: 5,
            ..connected()
        };
        punctual.settle(&mut log, peer, None, || path(0));
        punctual.accept(&log, &Config::default(), 8);
        log.at += ms(60);
        punctual.pass(&mut log, || path(0));
        assert_eq!(log.broken(), []);
    }

    #[test]
    fn whoever_moves_before_it_is_connected_may_be_out_of_reach() {
        let moves = |from: ConnectionStatus| {
            let (mut log, mut punctual) = (Log::new(), Punctual::default());
            let begun = PeerSample {
                status: from,
                ..PeerSample::default()
            };
            punctual.settle(&mut log, PeerSample::default(), None, || path(0));
            punctual.settle(&mut log, begun, None, moved);
            punctual.settle(&mut log, connected(), None, moved);
            log.at += CROWDED;
            punctual.accept(&log, &Config::default(), 7);
            log.at += ms(60);
            punctual.pass(&mut log, moved);
            log.broken()
        };
        assert_eq!(moves(Connecting), []);
        assert_eq!(moves(Failed), [BatchesInTime], "this one is dialled anew");
    }

    #[test]
    fn a_handshake_that_has_lost_something_leaves_a_small_window() {
        let late_after = |faults_before: [u64; 2]| {
            let [ours, theirs] = faults_before;
            let (mut log, mut punctual) = (Log::new(), Punctual::default());
            punctual.settle(&mut log, PeerSample::default(), None, || path(ours));
            punctual.settle(&mut log, connected(), Some(theirs), || path(2));
            log.at += CROWDED;
            punctual.accept(&log, &Config::default(), 7);
            log.at += ms(60);
            punctual.pass(&mut log, || path(2));
            log.broken()
        };
        assert_eq!(late_after([2, 2]), [BatchesInTime]);
        assert_eq!(late_after([1, 2]), [], "since we began it");
        assert_eq!(late_after([2, 1]), [], "since the other end began it");
    }

    #[test]
    fn what_is_sent_to_an_old_address_finds_nobody() {
        let (mut log, mut punctual) = accepted();
        punctual.stray();
        log.at += ms(60);
        punctual.pass(&mut log, || path(0));
        assert_eq!(log.broken(), []);
    }

    fn leave_after(wait: Duration, faults: u64) -> Vec<Property> {
        let (mut log, mut punctual) = accepted();
        log.at += wait;
        punctual.leave(&mut log, start(5, 3), || path(faults));
        log.broken()
    }

    /// Message 7 is owed.
    fn accepted() -> (Log, Punctual) {
        let (mut log, mut punctual) = (Log::new(), Punctual::default());
        punctual.settle(&mut log, connected(), None, || path(0));
        log.at += CROWDED;
        punctual.accept(&log, &Config::default(), 7);
        (log, punctual)
    }

    fn connected() -> PeerSample {
        PeerSample {
            status: Connected,
            connections: 1,
            ..PeerSample::default()
        }
    }

    fn path(faults: u64) -> Path {
        let end = ([10, 0, 0, 1], 1).into();
        Path {
            ends: [end, end],
            faults,
        }
    }

    fn moved() -> Path {
        let Path { ends, faults } = path(0);
        let ends = [ends[0], ([10, 0, 0, 1], 2).into()];
        Path { ends, faults }
    }
}
