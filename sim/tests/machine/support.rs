//! Helpers of the tests of whole machines: pairs of nodes, numbered messages, and events of a node.

use std::ops::Range;

use quicpool_core::{
    Config, ConnectionStatus, Counters, Event, Losses, Message, Reason, Undeliverable,
};
use quicpool_sim::{Net, NodeId, secs};

/// Bytes of the number that each message of [`send_many`] begins with.
const NUMBER_LEN: usize = 8;

/// What follows the number.
const FILLING: u8 = 7;

/// A net with two nodes that know each other.
pub(crate) fn introduced(mut net: Net, config: Config) -> (Net, NodeId, NodeId) {
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.introduce(a, b);
    (net, a, b)
}

/// A net with two nodes whose connection was dialled by the first.
pub(crate) fn connected(net: Net, config: Config) -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = introduced(net, config);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    (net, a, b)
}

/// Sends messages that say their number, and nothing else.
pub(crate) fn send_many(net: &mut Net, a: NodeId, b: NodeId, count: u64) {
    send_many_of(net, a, b, count, NUMBER_LEN);
}

/// Sends messages of this many bytes, of which the first say its number.
pub(crate) fn send_many_of(net: &mut Net, a: NodeId, b: NodeId, count: u64, message_bytes: usize) {
    let first = net
        .peer_metrics(a, b)
        .map_or(0, |peer| peer.messages_accepted);
    for number in first..first + count {
        let mut message = number.to_be_bytes().to_vec();
        message.resize(message_bytes, FILLING);
        net.send(a, b, &message);
    }
}

/// The numbers of messages of [`send_many`], each of which has come as it was sent.
pub(crate) fn numbers(messages: &[Message]) -> Vec<u64> {
    let number = |message: &Message| {
        let split = message.payload.split_first_chunk();
        let (number, filling) = split.expect("a message has a number");
        assert!(filling.iter().all(|byte| *byte == FILLING), "{message:?}");
        u64::from_be_bytes(*number)
    };
    messages.iter().map(number).collect()
}

pub(crate) fn counters(net: &Net, node: NodeId) -> Counters {
    net.metrics(node).expect("it is up").counters
}

pub(crate) fn hits(net: &Net, node: NodeId) -> u64 {
    counters(net, node).pool_hits
}

pub(crate) fn misses(net: &Net, node: NodeId) -> u64 {
    counters(net, node).pool_misses
}

/// Why a node's connections have changed, from its beginning.
pub(crate) fn reasons(net: &Net, node: NodeId) -> Vec<Reason> {
    let reason = |(_, event): &(_, Event)| {
        if let Event::StatusChanged { reason, .. } = event {
            Some(reason.clone())
        } else {
            None
        }
    };
    net.history(node).iter().filter_map(reason).collect()
}

/// The states that a node's connection to another came to, from its beginning.
pub(crate) fn changes(net: &Net, node: NodeId, of: NodeId) -> Vec<ConnectionStatus> {
    let of = net.peer_id(of);
    let to = |(_, event): &(_, Event)| {
        if let Event::StatusChanged { peer, to, .. } = event
            && *peer == of
        {
            Some(*to)
        } else {
            None
        }
    };
    net.history(node).iter().filter_map(to).collect()
}

/// Events but for those about connections and waiting messages.
pub(crate) fn news(net: &mut Net, node: NodeId) -> Vec<Event> {
    let mut events = net.events(node);
    events.retain(|event| {
        !matches!(
            event,
            Event::StatusChanged { .. } | Event::HealthChanged { .. } | Event::Readable { .. }
        )
    });
    events
}

pub(crate) fn undelivered(
    net: &Net,
    to: NodeId,
    messages: Range<u64>,
    reason: Undeliverable,
) -> Event {
    let peer = net.peer_id(to);
    Event::Undelivered {
        peer,
        messages,
        reason,
    }
}

pub(crate) fn flushed(net: &Net, to: NodeId, token: u64, result: Result<(), Losses>) -> Event {
    let peer = net.peer_id(to);
    Event::Flushed {
        peer,
        token,
        result,
    }
}

/// The end of a node that has lost nothing.
pub(crate) fn closed_well() -> Event {
    Event::Closed {
        undelivered: 0,
        losses: Vec::new(),
    }
}
