//! The limits that one node of a world has for itself.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Limits,
    limits::{fields, in_words},
    simplify::Simplify,
};
use crate::duration;

/// The values of one node in place of the [`Limits`] that all share, in the same units and under the
/// same names. A field that is `None`, or left out of a file, is as with all.
///
/// Sealing is not among them: two ends that differ in it cannot exchange messages.
///
/// ```
/// use quicpool_lab::swarm::{Limits, OwnLimits, Scenario};
///
/// let mut scenario = Scenario::draw(7);
/// scenario.own_limits = vec![OwnLimits {
///     batch_bytes_max: Some(1_024),
///     ..OwnLimits::of(1)
/// }];
/// assert_eq!(scenario.limits_of(0), scenario.limits);
/// assert_eq!(scenario.limits_of(1).batch_bytes_max, 1_024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLimits {
    /// Which node.
    pub node: usize,
    /// [`Limits::connections_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<usize>,
    /// [`Limits::batch_messages_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_messages_max: Option<usize>,
    /// [`Limits::batch_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes_max: Option<usize>,
    /// [`Limits::message_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<usize>,
    /// [`Limits::inbox_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox_bytes_max: Option<usize>,
    /// [`Limits::outbox_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbox_bytes_max: Option<usize>,
    /// [`Limits::pool_ttl`].
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub pool_ttl: Option<Duration>,
    /// [`Limits::liveness_timeout`].
    #[serde(
        default,
        with = "duration::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub liveness_timeout: Option<Duration>,
}

/// Does something with each limit that a node may have of its own.
macro_rules! for_each_limit {
    ($do:ident) => {
        $do!(
            connections_max,
            batch_messages_max,
            batch_bytes_max,
            message_bytes_max,
            inbox_bytes_max,
            outbox_bytes_max,
            pool_ttl,
            liveness_timeout
        )
    };
}

impl OwnLimits {
    /// A node that is like all others.
    #[must_use]
    pub const fn of(node: usize) -> Self {
        Self {
            node,
            connections_max: None,
            batch_messages_max: None,
            batch_bytes_max: None,
            message_bytes_max: None,
            inbox_bytes_max: None,
            outbox_bytes_max: None,
            pool_ttl: None,
            liveness_timeout: None,
        }
    }

    /// All limits of the node.
    pub(super) fn beside(&self, shared: &Limits) -> Limits {
        let mut limits = shared.clone();
        macro_rules! put {
            ($($field:ident),*) => {$(
                if let Some(own) = self.$field {
                    limits.$field = own;
                }
            )*};
        }
        for_each_limit!(put);
        limits
    }
}

impl Simplify for OwnLimits {
    /// One limit less.
    fn simpler(&self) -> Vec<Self> {
        let mut candidates = Vec::new();
        macro_rules! leave_out {
            ($($field:ident),*) => {$(
                candidates.push(Self { $field: None, ..self.clone() });
            )*};
        }
        for_each_limit!(leave_out);
        candidates.retain(|candidate| candidate != self);
        candidates
    }
}

impl fmt::Display for OwnLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut own = fields(self);
        own.remove("node");
        match own.is_empty() {
            true => write!(f, "n{} is like all", self.node),
            false => write!(f, "n{} has {}", self.node, in_words(&own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secs;

    #[test]
    fn a_file_and_a_story_name_what_is_different_and_nothing_else() {
        let own = OwnLimits {
            batch_bytes_max: Some(1_024),
            pool_ttl: Some(secs(3)),
            ..OwnLimits::of(1)
        };
        let text = serde_json::to_string(&own).expect("it is plain data");
        assert_eq!(text, r#"{"node":1,"batch_bytes_max":1024,"pool_ttl":"3s"}"#);
        let read: OwnLimits = serde_json::from_str(&text).expect("it was written by us");
        assert_eq!(read, own);
        assert_eq!(own.to_string(), "n1 has batch_bytes_max 1024, pool_ttl 3s");
        let sealing = r#"{"node":1,"sealing":"off"}"#;
        assert!(serde_json::from_str::<OwnLimits>(sealing).is_err());
    }

    #[test]
    fn one_limit_less_comes_to_an_end() {
        let mut own = OwnLimits {
            inbox_bytes_max: Some(2_048),
            liveness_timeout: Some(secs(3)),
            ..OwnLimits::of(1)
        };
        let mut limits = 0;
        while let Some(simpler) = own.simpler().pop() {
            own = simpler;
            limits += 1;
        }
        assert_eq!((own, limits), (OwnLimits::of(1), 2));
    }
}
