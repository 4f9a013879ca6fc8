//! How each node saw its peers, and from when until when.

use std::{collections::BTreeMap, time::Duration};

use quicpool_core::{ConnectionStatus, Event};

use super::{Moment, Recording, What};
use crate::NodeId;

/// The statuses that one node had of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) node: NodeId,
    /// `None` stands for all peers that are no nodes.
    pub(super) peer: Option<NodeId>,
    pub(super) spans: Vec<Span>,
}

/// A time in which a peer was in one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) status: ConnectionStatus,
    pub(super) from: Duration,
    pub(super) until: Duration,
    /// Why it began.
    pub(super) reason: String,
}

/// Bars that grow.
#[derive(Default)]
struct Bars {
    done: BTreeMap<Pair, Vec<Span>>,
    open: BTreeMap<Pair, Span>,
    /// When a peer was forgotten.
    forgotten: BTreeMap<Pair, Duration>,
}

/// A node, and the peer that it sees. Those that are no nodes come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    node: NodeId,
    is_stranger: bool,
    peer: Option<NodeId>,
}

impl Recording {
    /// The bars of all nodes, in their order.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let mut bars = Bars::default();
        for moment in &self.moments {
            bars.add(moment);
        }
        for pair in bars.open.keys().copied().collect::<Vec<_>>() {
            bars.close(pair, self.ended);
        }
        let done = bars.done.into_iter();
        done.map(|(pair, spans)| Bar {
            node: pair.node,
            peer: pair.peer,
            spans,
        })
        .collect()
    }
}

impl Bars {
    fn add(&mut self, moment: &Moment) {
        let pair = Pair {
            node: moment.node,
            is_stranger: moment.about.is_none(),
            peer: moment.about,
        };
        match &moment.what {
            What::Started | What::Crashed => self.close_all(moment.node, moment.at),
            What::Asked("introduce") if !self.open.contains_key(&pair) => {
                self.open(pair, ConnectionStatus::New, moment.at, "introduced");
            }
            What::Asked("forget") => {
                self.close(pair, moment.at);
                self.forgotten.insert(pair, moment.at);
            }
            What::Event(Event::StatusChanged { to, reason, .. }) => {
                self.close(pair, moment.at);
                // The status change at the instant of `forget` is the last: no bar begins with it.
                if self.forgotten.get(&pair) != Some(&moment.at) {
                    self.open(pair, *to, moment.at, &reason.to_string());
                }
            }
            What::Event(_)
            | What::Asked(_)
            | What::Sent { .. }
            | What::Took { .. }
            | What::Refused { .. } => {}
        }
    }

    fn open(&mut self, pair: Pair, status: ConnectionStatus, at: Duration, reason: &str) {
        let span = Span {
            status,
            from: at,
            until: at,
            reason: reason.to_owned(),
        };
        self.open.insert(pair, span);
    }

    fn close(&mut self, pair: Pair, at: Duration) {
        if let Some(span) = self.open.remove(&pair)
            && at > span.from
        {
            let spans = self.done.entry(pair).or_default();
            spans.push(Span { until: at, ..span });
        }
    }

    fn close_all(&mut self, node: NodeId, at: Duration) {
        let of_node = self.open.keys().filter(|pair| pair.node == node);
        for pair in of_node.copied().collect::<Vec<_>>() {
            self.close(pair, at);
        }
    }
}
