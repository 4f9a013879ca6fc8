//! Keeps memory within `memory_max`. While more is in use, closed connections are forgotten early, idle ones are
//! evicted, those of strangers first and then the least recently used, no credit is raised, and strangers are refused.

use super::{
    context::{Context, Parts},
    peer::Peers,
    shared::Shared,
    slot_taking,
};
use crate::{slots::Slots, transport::Transport};

/// The part of `memory_max` that is left for what is connected when strangers are refused.
const STRANGERS_RESERVE: usize = 8;

/// Bytes of memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Behind queues and buffers.
    pub(super) queues: usize,
    /// That, what is known about peers, and an estimate of what is in QUIC and TLS.
    pub(super) all: usize,
}

impl Usage {
    pub(super) fn of(peers: &Peers, transport: &Transport, slots: &Slots, shared: &Shared) -> Self {
        let queues = shared.budget.queued_memory()
            + shared.report.memory()
            + shared.work.memory()
            + transport.buffers();
        let known = peers.memory() + slots.memory() + shared.timers.memory() + shared.handle_memory;
        let door = shared.gate.memory() + shared.half_open.memory();
        Self {
            queues,
            all: queues + known + door + transport.quic_memory(),
        }
    }

    fn of_parts(parts: &Parts<'_>) -> Self {
        Self::of(parts.peers, parts.transport, parts.slots, parts.shared)
    }
}

/// Whether strangers are to be refused for want of memory.
pub(super) fn keeps_strangers_out(parts: &Parts<'_>) -> bool {
    let max = parts.shared.config.memory_max;
    Usage::of_parts(parts).all > max - max / STRANGERS_RESERVE
}

/// Gives memory back while more than `memory_max` is in use: one connection at a time. Returns whether there was
/// one.
pub(super) fn relieve(parts: &mut Parts<'_>) -> bool {
    if !parts.shared.budget.is_pressed() && !parts.shared.is_turn_to_weigh() {
        return false;
    }
    let max = parts.shared.config.memory_max;
    let used = Usage::of_parts(parts).all;
    parts.shared.budget.set_exceeded(used > max);
    if used <= max {
        return end_overdraft(parts);
    }
    if parts.transport.forget_silent(parts.now) {
        return true;
    }
    // Connections that are closed are as good as gone.
    if used - parts.transport.closing_memory() <= max {
        return false;
    }
    match parts.slots.least_recently_used(parts.now) {
        Some(victim) => {
            slot_taking::evict(&mut parts.at(victim));
            true
        }
        None => false,
    }
}

/// Evicts a peer that has had the credit for a whole record beyond the budget for `liveness_timeout`, while others
/// wait for the same.
fn end_overdraft(parts: &mut Parts<'_>) -> bool {
    let patience = parts.shared.config.liveness_timeout;
    let Some(link) = parts.shared.budget.overdue(parts.now, patience) else {
        return false;
    };
    parts.shared.budget.finish_record(link);
    let Some(key) = parts.transport.link(link).and_then(|link| link.owner) else {
        return false;
    };
    let cx: &mut Context<'_> = &mut parts.at(key);
    slot_taking::evict(cx);
    true
}
