//! The configuration of a world's nodes, as plain data.

use std::{fmt, time::Duration};

#[cfg(doc)]
use quicpool_core::Tuning;
use quicpool_core::{Config, Flush, OnPeerRestart, Sealing};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{duration, secs};

/// Long enough that no session expires in a storm: what is lost then is lost by a bug.
pub(super) const SESSION_TIMEOUT: Duration = secs(3_000);

/// The longest message of a world, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4_096;

/// Bytes of datagrams that wait for each peer, in each direction: so few that some are dropped.
pub(super) const DATAGRAM_QUEUE_BYTES_MAX: usize = 4_096;

/// Failures in a row after which a send fails at once: so many that sends are accepted, whatever
/// the network did to dials before.
const BREAKER_FAILURES: u32 = 1_000;

/// How long a hidden node stays away.
pub(super) const RECONNECT_POLL: Duration = secs(5);

/// The limits of a [`Config`] that worlds differ in, in its units and under its names. Files may have
/// the former name of a field (`alias`).
///
/// What is left out of a file is as in [`Config::default`], but for `message_bytes_max`, which is 4,096.
///
/// ```
/// use quicpool_lab::swarm::Limits;
///
/// let limits = Limits { connections_max: 1, ..Limits::default() };
/// assert_eq!(limits.config().connections_max, 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// [`Config::connections_max`].
    pub connections_max: usize,
    /// [`Config::handshakes_max`].
    pub handshakes_max: usize,
    /// [`Config::batch_messages_max`].
    pub batch_messages_max: usize,
    /// [`Config::batch_bytes_max`].
    pub batch_bytes_max: usize,
    /// [`Config::message_bytes_max`].
    pub message_bytes_max: usize,
    /// [`Config::inbox_bytes_max`].
    pub inbox_bytes_max: usize,
    /// [`Config::outbox_bytes_max`].
    pub outbox_bytes_max: usize,
    /// [`Config::dial_rate`].
    pub dial_rate: u32,
    /// [`Config::pool_ttl`].
    #[serde(with = "duration")]
    pub pool_ttl: Duration,
    /// [`Config::liveness_timeout`].
    #[serde(with = "duration")]
    pub liveness_timeout: Duration,
    /// [`Config::handshake_timeout`].
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// `max` of [`Config::backoff`].
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    /// [`Tuning::stable_after`].
    #[serde(with = "duration")]
    pub stable_after: Duration,
    /// [`Tuning::hold_time_min`].
    #[serde(alias = "tenure_min", with = "duration")]
    pub hold_time_min: Duration,
    /// [`Tuning::slot_wait`].
    #[serde(with = "duration")]
    pub slot_wait: Duration,
    /// [`Config::flush`].
    #[serde(with = "FlushText")]
    pub flush: Flush,
    /// [`Config::sealing`].
    #[serde(with = "SealingText")]
    pub sealing: Sealing,
    /// [`Config::on_peer_restart`].
    #[serde(with = "OnPeerRestartText")]
    pub on_peer_restart: OnPeerRestart,
}

impl Default for Limits {
    fn default() -> Self {
        let config = Config::default();
        Self {
            connections_max: config.connections_max,
            handshakes_max: config.handshakes_max,
            batch_messages_max: config.batch_messages_max,
            batch_bytes_max: config.batch_bytes_max,
            message_bytes_max: MESSAGE_BYTES_MAX,
            inbox_bytes_max: config.inbox_bytes_max,
            outbox_bytes_max: config.outbox_bytes_max,
            dial_rate: config.dial_rate,
            pool_ttl: config.pool_ttl,
            liveness_timeout: config.liveness_timeout,
            handshake_timeout: config.handshake_timeout,
            backoff_max: config.backoff.max,
            stable_after: config.tuning.stable_after,
            hold_time_min: config.tuning.hold_time_min,
            slot_wait: config.tuning.slot_wait,
            flush: config.flush,
            sealing: config.sealing,
            on_peer_restart: config.on_peer_restart,
        }
    }
}

impl Limits {
    /// The configuration with these limits. It is not checked: see [`Config::check`].
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.connections_max = self.connections_max;
        config.handshakes_max = self.handshakes_max;
        config.batch_messages_max = self.batch_messages_max;
        config.batch_bytes_max = self.batch_bytes_max;
        config.message_bytes_max = self.message_bytes_max;
        config.inbox_bytes_max = self.inbox_bytes_max;
        config.outbox_bytes_max = self.outbox_bytes_max;
        config.datagram_queue_bytes_max = DATAGRAM_QUEUE_BYTES_MAX;
        config.dial_rate = self.dial_rate;
        config.breaker_failures = BREAKER_FAILURES;
        config.pool_ttl = self.pool_ttl;
        config.session_timeout = SESSION_TIMEOUT;
        config.liveness_timeout = self.liveness_timeout;
        config.handshake_timeout = self.handshake_timeout;
        config.backoff.max = self.backoff_max;
        config.tuning.stable_after = self.stable_after;
        config.tuning.hold_time_min = self.hold_time_min;
        config.tuning.slot_wait = self.slot_wait;
        config.reconnect_poll = RECONNECT_POLL;
        config.flush = self.flush;
        config.sealing = self.sealing;
        config.on_peer_restart = self.on_peer_restart;
        config
    }
}

/// What is not as by default.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = fields(&Self::default());
        let mut changed = fields(self);
        changed.retain(|name, value| default.get(name) != Some(&*value));
        match changed.is_empty() {
            true => f.write_str("default limits"),
            false => f.write_str(&in_words(&changed)),
        }
    }
}

/// The limits of a file, by name.
pub(super) fn fields(limits: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(limits) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Limits in a row.
pub(super) fn in_words(fields: &Map<String, Value>) -> String {
    let words = fields.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Flush", rename_all = "snake_case")]
enum FlushText {
    Adaptive,
    Fixed,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Sealing", rename_all = "snake_case")]
enum SealingText {
    On,
    Off,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OnPeerRestart", rename_all = "snake_case")]
enum OnPeerRestartText {
    Report,
    Resend,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_left_out_are_the_defaults_of_the_configuration() {
        let limits: Limits = serde_json::from_str("{}").expect("nothing is required");
        assert_eq!(limits, Limits::default());
        let (config, default) = (limits.config(), Config::default());
        assert_eq!(config.connections_max, default.connections_max);
        assert_eq!(config.backoff, default.backoff);
        assert!(config.check().is_ok());
    }
}
