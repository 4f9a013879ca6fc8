//! The server that is attacked: a quicpool with default limits that echoes what asks for it.

use anyhow::{Context, Result};
use quicpool::{
    Config, ConnectionManager, Identity, Message, Peer, PeerId, TokioRuntime,
    machine::UnreliableCounters,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::child::{Orders, reply};

/// The first byte of a message that is to come back.
pub const ECHO: u8 = 1;

/// Messages taken in one call.
const RECEIVE_MAX: usize = 1_024;

/// Runs until the parent has gone. It knows the peers of the lines `add PEERID`, and answers `metrics`.
pub async fn run(memory_max: Option<usize>) -> Result<()> {
    let mut config = Config::default();
    if let Some(memory_max) = memory_max {
        config.memory_max = memory_max;
    }
    let identity = Identity::generate();
    let manager = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity, config).await?;
    reply(&json!({ "address": manager.peer_addr().to_string() }));
    tokio::spawn(echo(manager.clone()));
    tokio::spawn(drop_datagrams(manager.clone()));
    let mut orders = Orders::new();
    while let Some(order) = orders.next().await {
        match order.split_once(' ') {
            Some(("add", id)) => {
                let id: PeerId = id.parse().context("a peer's id")?;
                manager.peer(id)?;
            }
            _ => reply(&metrics(&manager).await?),
        }
    }
    Ok(())
}

async fn echo(manager: ConnectionManager) -> Result<()> {
    let mut peers: BTreeMap<PeerId, Peer> = BTreeMap::new();
    let mut messages: Vec<Message> = Vec::with_capacity(RECEIVE_MAX);
    loop {
        manager.recv_many(&mut messages, RECEIVE_MAX).await?;
        for message in messages.drain(..) {
            if message.payload.first() != Some(&ECHO) {
                continue;
            }
            if let std::collections::btree_map::Entry::Vacant(place) = peers.entry(message.from) {
                place.insert(manager.peer(message.from)?);
            }
            // A peer that has gone or takes nothing loses its echo: the server waits for none.
            let _ = peers[&message.from].try_send(&message.payload);
        }
    }
}

async fn drop_datagrams(manager: ConnectionManager) -> Result<()> {
    loop {
        manager.recv_datagram().await?;
    }
}

async fn metrics(manager: &ConnectionManager) -> Result<Value> {
    let metrics = manager.metrics().await?;
    let counters = metrics.counters;
    let UnreliableCounters { received, .. } = counters.unreliable;
    Ok(json!({
        "memory_usage": metrics.memory_usage,
        "connections": metrics.connections,
        "confirmed": counters.connections_confirmed,
        "refused": counters.handshakes_refused,
        "failed": counters.handshakes_failed,
        "evictions": counters.evictions,
        "violations": counters.violations,
        "replies_dropped": counters.replies_dropped,
        "messages": counters.messages_taken,
        "datagrams": received,
        "skipped": counters.frames_skipped,
    }))
}
