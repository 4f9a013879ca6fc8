//! Draws the limits of nodes: those that all share, and those that some have of their own.

use quicpool_core::{Flush, OnPeerRestart, Sealing};

use super::{WITH_PARAMETERS, WorldDraw};
use crate::{
    secs,
    swarm::{Limits, OwnLimits},
};

impl WorldDraw {
    /// Limits so small that they are met.
    pub(super) fn limits(&mut self) -> Limits {
        let mut limits = Limits {
            connections_max: self.between((1, 5)) as usize,
            // Worlds last for a minute: nothing of the default of five would be seen in it.
            pool_ttl: self.millis((500, 20_000)),
            liveness_timeout: secs(self.between((3, 12))),
            backoff_max: secs(self.between((2, 11))),
            inbox_bytes_max: 8_192,
            outbox_bytes_max: 65_536,
            ..Limits::default()
        };
        self.maybe(&mut limits.hold_time_min, |draw| draw.millis((200, 1_000)));
        self.maybe(&mut limits.slot_wait, |draw| draw.millis((0, 1_000)));
        self.maybe(&mut limits.stable_after, |draw| draw.millis((0, 5_000)));
        self.maybe(&mut limits.handshake_timeout, |draw| {
            draw.millis((3_000, 8_000))
        });
        self.maybe(&mut limits.handshakes_max, |draw| {
            draw.between((1, 4)) as usize
        });
        self.maybe(&mut limits.dial_rate, |draw| draw.between((1, 20)) as u32);
        self.maybe(&mut limits.batch_messages_max, |draw| {
            draw.between((1, 64)) as usize
        });
        limits.batch_bytes_max = self.pick([1_024, 4_096, 32_768]);
        limits.flush = self.pick([Flush::Adaptive, Flush::Fixed]);
        limits.sealing = self.pick([Sealing::On, Sealing::Off]);
        limits.on_peer_restart = self.pick([OnPeerRestart::Report, OnPeerRestart::Resend]);
        limits
    }

    /// In one world of two all are alike; in the others some are not, in some of their limits.
    pub(super) fn own_limits(&mut self) -> Vec<OwnLimits> {
        if self.happens() {
            return Vec::new();
        }
        let nodes = (0..self.nodes as usize).map(|node| self.own_limits_of(node));
        let own: Vec<OwnLimits> = nodes.collect();
        own.into_iter()
            .filter(|own| *own != OwnLimits::of(own.node))
            .collect()
    }

    fn own_limits_of(&mut self, node: usize) -> OwnLimits {
        let mut own = OwnLimits::of(node);
        self.maybe(&mut own.connections_max, |draw| {
            Some(draw.between((1, 5)) as usize)
        });
        self.maybe(&mut own.batch_messages_max, |draw| {
            Some(draw.between((1, 64)) as usize)
        });
        self.maybe(&mut own.batch_bytes_max, |draw| {
            Some(draw.pick([1_024, 4_096, 32_768]))
        });
        self.maybe(&mut own.inbox_bytes_max, |draw| {
            Some(draw.pick([2_048, 8_192, 65_536]))
        });
        self.maybe(&mut own.outbox_bytes_max, |draw| {
            Some(draw.pick([40_960, 65_536, 262_144]))
        });
        self.maybe(&mut own.pool_ttl, |draw| Some(draw.millis((500, 20_000))));
        self.maybe(&mut own.liveness_timeout, |draw| {
            Some(secs(draw.between((3, 12))))
        });
        own
    }

    /// In one world of three some nodes accept less than others do: messages, and bytes that wait.
    pub(super) fn parameters(&mut self, mut own_limits: Vec<OwnLimits>) -> Vec<OwnLimits> {
        if self.below(WITH_PARAMETERS) > 0 {
            return own_limits;
        }
        for node in 0..self.nodes as usize {
            let place = own_limits.partition_point(|own| own.node < node);
            let known = own_limits.get(place).filter(|own| own.node == node);
            let before = known.cloned().unwrap_or_else(|| OwnLimits::of(node));
            let mut own = before.clone();
            self.maybe(&mut own.message_bytes_max, |draw| {
                Some(draw.pick([100, 400, 1_000, 3_000]))
            });
            self.maybe(&mut own.batch_bytes_max, |draw| {
                Some(draw.pick([1_024, 2_048, 8_192]))
            });
            self.maybe(&mut own.inbox_bytes_max, |draw| {
                Some(draw.pick([1_024, 4_096, 16_384]))
            });
            match known.is_some() {
                true => own_limits[place] = own,
                false if own == before => {}
                false => own_limits.insert(place, own),
            }
        }
        own_limits
    }
}
