//! Peers that know no address of ours, as behind a NAT we have none to give: what waits for us there
//! waits until we dial.
//!
//! Each hello says whether its sender could dial the other end. Where it could not, the end that can
//! does not close an idle connection, and when it has lost one, or its slot was needed, it looks in
//! again after a while. The other end counts on that: it accepts messages for such a peer while it is
//! away.

use std::time::Instant;

use super::{
    Manager, Timer,
    peer::{Comes, Redial},
};
use crate::peer::PeerKey;

/// How much earlier than `revisit` a visit may come.
const JITTER: f64 = 0.25;

impl Manager {
    /// The last connection of a peer has ended.
    pub(super) fn plan_visit(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        if peer.session.comes != Comes::Never {
            return;
        }
        // The session has to be there still, at both ends.
        let longest = self.config.revisit.min(peer.session.timeout / 2);
        let delay = longest.mul_f64(1.0 - JITTER * self.fraction(key, "reconnect"));
        self.deadlines.set(Timer::Revisit(key), Some(now + delay));
    }

    /// It is time to see whether the peer has something for us.
    pub(super) fn revisit(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.redial == Redial::OnDemand {
            peer.redial = Redial::Wanted;
        }
        self.dial_if_wanted(now, key);
    }
}
