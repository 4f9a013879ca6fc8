//! Measures connections, probes them, and ends those that are dead.

use std::time::{Duration, Instant};

use quinn_proto::FrameStats;

use super::{
    Link, Transport,
    quirks::{self, window},
};
use crate::peer::{LinkId, health::Sample};

impl Transport {
    /// Returns what was measured on a connection so far.
    pub(crate) fn sample(&self, id: LinkId) -> Option<Sample> {
        let link = self.link(id)?;
        let stats = link.connection.stats();
        Some(Sample {
            rtt: stats.path.rtt,
            sent: stats.path.sent_packets,
            lost: stats.path.lost_packets,
            heard: certain_frames(&stats.frame_rx),
            arrival: link.arrival,
            acknowledged: window::acknowledged(&link.connection),
        })
    }

    /// Has the other end acknowledge a PING.
    pub(crate) fn probe(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            link.probe();
            self.mark_ready(id);
        }
    }

    /// Ends a connection as its own idle timeout would, without a CONNECTION_CLOSE: the other end does not
    /// hear it.
    pub(crate) fn time_out(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            quirks::abandon(now, &mut link.connection);
            self.mark_dirty(id);
        }
    }
}

impl Link {
    /// When the latest packet left that the other end has acknowledged, if there is one on the
    /// present path.
    pub(crate) fn answered(&self) -> Option<Instant> {
        window::answered(&self.connection)
    }

    /// The smoothed round-trip time.
    pub(crate) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }
}

/// Counts frames that only the other end can have sent, and that a living one cannot but send: it
/// answers keep-alives, and sends its own.
const fn certain_frames(stats: &FrameStats) -> u64 {
    stats.acks + stats.ping + stats.stream + stats.path_challenge + stats.path_response
}
