//! What watches all nodes of a world, at every instant at which anything happens to them.
//!
//! Each auditor looks at one thing, is fed with plain records, and shares nothing with the machine:
//!
//! - [`lifecycle`]: a status moves along the edges of the lifecycle.
//! - [`bounds`]: slots and queues never exceed their limits.
//! - [`expiry`]: no connection expires before its time to live, and none is used after it.
//! - [`punctual`]: batches leave in time.
//! - [`backoff`]: dials after failures keep their distance, and come.
//! - [`records`]: nothing that is sealed is legible on the wire, no nonce is used twice, and what
//!   was accepted is in records; [`wire`] and [`quic`] find them.
//! - [`tally`]: counters say what was seen to happen.

mod backoff;
mod bounds;
mod expiry;
mod lifecycle;
mod punctual;
mod quic;
mod records;
mod sample;
mod tally;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use quicpool_core::{Config, Datagram, Event, PeerId, Reason, SendError};

pub(super) use self::records::FILLING;
use self::{
    backoff::Backoff,
    expiry::Expiry,
    lifecycle::Lifecycle,
    punctual::{Path, Punctual},
    records::{Records, body_max},
    sample::Sample,
    tally::Tally,
    wire::{Leaving, Wire},
};
use super::{
    Violation,
    marks::{Log, sometimes},
};
use crate::{
    NodeId,
    net::watch::{Asked, Departure, Scene, Watch},
};

/// All auditors of one world, whose nodes are its first ones.
pub(super) struct Audit {
    log: Log,
    peers: Vec<PeerId>,
    nodes: Vec<NodeId>,
    processes: Vec<Process>,
    /// Whether each node was up and has acted whenever it wanted to, so far.
    steady: Vec<bool>,
    packets: Packets,
    wire: Wire,
    records: Records,
}

/// Whether auditors can look into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packets {
    Legible,
    /// They are encrypted.
    Opaque,
}

/// What is known of the process that runs on a node.
#[derive(Default)]
struct Process {
    life: u64,
    config: Config,
    sample: Sample,
    lifecycle: Lifecycle,
    tally: Tally,
    /// Connections that the node had begun before this process.
    dials_before: u64,
    /// By place.
    pairs: Vec<Pair>,
    company: Company,
    /// When it was last seen held up.
    is_held_up: bool,
}

/// One process and one of its peers.
#[derive(Default)]
struct Pair {
    backoff: Backoff,
    expiry: Expiry,
    punctual: Punctual,
}

/// Whether a datagram has reached a process since it last had nothing more to do.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Company {
    #[default]
    Alone,
    Reached,
}

impl Audit {
    /// Auditors of these nodes, in the order in which they were added.
    pub(super) fn new(nodes: &[(NodeId, PeerId)], packets: Packets) -> Self {
        Self {
            log: Log::new(),
            peers: nodes.iter().map(|(_, peer)| *peer).collect(),
            nodes: nodes.iter().map(|(node, _)| *node).collect(),
            processes: nodes.iter().map(|_| Process::default()).collect(),
            steady: vec![true; nodes.len()],
            packets,
            wire: Wire::default(),
            records: Records::new(nodes.len()),
        }
    }

    /// The application of a node was given messages.
    pub(super) fn take(&mut self, node: NodeId, messages: u64) {
        self.processes[node.index()].tally.take(messages);
    }

    /// Time has passed without anything that happened.
    pub(super) fn pass(&mut self, at: Duration) {
        self.log.at = at;
        for (node, process) in self.nodes.iter().zip(&mut self.processes) {
            self.log.node = Some(*node);
            for pair in &mut process.pairs {
                pair.backoff.pass(&mut self.log, &process.config);
            }
            process.tally.look(&mut self.log);
        }
    }

    /// What did not hold since this was last asked.
    pub(super) fn take_violations(&mut self) -> Vec<Violation> {
        self.log.take_violations()
    }

    /// How often each mark was hit.
    pub(super) fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.log.marks()
    }

    /// The place of a node that takes part.
    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|other| *other == node)
    }

    /// Another process runs on a node, or none any more.
    fn begin(&mut self, scene: &Scene<'_>, place: usize) {
        let Some(machine) = scene.machine else {
            self.processes[place] = Process::default();
            self.steady[place] = false;
            return;
        };
        self.records.restart(place);
        self.processes[place] = Process {
            life: scene.life,
            config: machine.config().clone(),
            dials_before: self.wire.dials(place),
            pairs: self.peers.iter().map(|_| Pair::default()).collect(),
            ..Process::default()
        };
    }

    fn leave(&mut self, scene: &Scene<'_>, from: usize, departure: &Departure) {
        let to = scene.who_is_at(departure.destination);
        let Some(to) = to.and_then(|node| self.place(node)) else {
            return;
        };
        let leaving = Leaving {
            from,
            to,
            destination: departure.destination,
            payload: &departure.payload,
            accepts: body_max(&self.processes[to].config),
        };
        let (log, process) = (&mut self.log, &mut self.processes[from]);
        if scene.addr_of(self.nodes[to]) != departure.destination
            && let Some(pair) = process.pairs.get_mut(to)
        {
            pair.punctual.stray();
        }
        Records::look(log, &process.config, &leaving);
        if self.packets == Packets::Opaque {
            return;
        }
        let starts = self
            .wire
            .leave(log, &process.config, &mut self.records, &leaving);
        for start in starts {
            let path = || path(scene, self.nodes[start.to]);
            process.pairs[start.to].punctual.leave(log, start, path);
        }
    }

    fn hear(&mut self, place: usize, event: &Event) {
        let (log, process) = (&mut self.log, &mut self.processes[place]);
        process.lifecycle.hear(log, event);
        bounds::hear(log, &process.config, &process.lifecycle);
        process.tally.hear(log, event);
        sometimes!(
            log,
            matches!(event, Event::Writable { .. }),
            "an outbox had room again"
        );
        let Event::StatusChanged { peer, reason, .. } = event else {
            return;
        };
        let Some(peer) = self.peers.iter().position(|other| other == peer) else {
            return;
        };
        let is_busy = process.sample.peers.get(peer).copied().unwrap_or_default();
        sometimes!(
            log,
            *reason == Reason::Evicted && is_busy.outbox_bytes > 0,
            "a busy peer gave up its slot for another"
        );
        let pair = &mut process.pairs[peer];
        pair.backoff.hear(log, &process.config, event);
        pair.expiry.hear(log, event);
    }

    fn settle(&mut self, scene: &Scene<'_>, place: usize) {
        let held_for: Vec<usize> = self
            .processes
            .iter()
            .map(|other| other.sample.peers.get(place).map_or(0, |p| p.outbox_bytes))
            .collect();
        let faults_before: Vec<Option<u64>> = self
            .processes
            .iter()
            .map(|other| other.pairs.get(place)?.punctual.faults_before())
            .collect();
        let dials = self.wire.dials(place);
        self.steady[place] &= !scene.is_held_up;
        let (log, process) = (&mut self.log, &mut self.processes[place]);
        let expirations = process.sample.counters.expirations;
        if !process.sample.take(scene, &self.peers) {
            return;
        }
        let Process {
            config,
            sample,
            pairs,
            ..
        } = process;
        bounds::settle(log, config, sample);
        let was_held_up = std::mem::replace(&mut process.is_held_up, scene.is_held_up);
        let company = std::mem::take(&mut process.company);
        let is_alone = company == Company::Alone && !was_held_up && !scene.is_held_up;
        process.tally.settle(
            log,
            &process.lifecycle,
            sample,
            is_alone,
            dials - process.dials_before,
        );
        let expired = sample.counters.expirations - expirations;
        let ended = pairs.iter().filter(|pair| pair.expiry.has_expired());
        let is_own = expired > 0 && expired == ended.count() as u64;
        for (peer, pair) in pairs.iter_mut().enumerate().filter(|(at, _)| *at != place) {
            let numbers = sample.peers[peer];
            pair.backoff.settle(log, config, sample, numbers);
            let steady = self.steady[place] && self.steady[peer];
            let is_clear = || steady && scene.faults_between(scene.node, self.nodes[peer]) == 0;
            pair.expiry
                .settle(log, config, numbers, is_own, held_for[peer]);
            pair.expiry.pass(log, config, is_clear);
            if scene.is_held_up {
                pair.backoff.hold_up();
                pair.punctual.excuse();
            }
            let path = || path(scene, self.nodes[peer]);
            pair.punctual
                .settle(log, numbers, faults_before[peer], path);
        }
    }
}

/// The way between the node of a scene and another.
fn path(scene: &Scene<'_>, to: NodeId) -> Path {
    Path {
        ends: [scene.node, to].map(|node| scene.addr_of(node)),
        faults: scene.faults_between(scene.node, to),
    }
}

impl Watch for Audit {
    fn asked(&mut self, scene: &Scene<'_>, to: NodeId, asked: &Asked<'_>) {
        (self.log.at, self.log.node) = (scene.at, Some(scene.node));
        let (Some(from), Some(to)) = (self.place(scene.node), self.place(to)) else {
            return;
        };
        let (log, process) = (&mut self.log, &mut self.processes[from]);
        let is_accepted = match asked {
            Asked::Connect(result) => result.is_ok(),
            Asked::Send(_, result) => {
                sometimes!(log, **result == Err(SendError::Full), "an outbox was full");
                result.is_ok()
            }
        };
        if !is_accepted {
            return;
        }
        process
            .tally
            .use_peer(log, &process.lifecycle, self.peers[to]);
        let pair = &mut process.pairs[to];
        pair.backoff.use_it();
        pair.expiry.use_it(log);
        if let Asked::Send(message, _) = asked {
            process.tally.accept();
            let number = self.records.accept(scene.at, from, to, message);
            if !scene.is_held_up && self.packets == Packets::Legible {
                pair.punctual.accept(log, &process.config, number);
            }
        }
    }

    fn arrived(&mut self, scene: &Scene<'_>, _datagram: &Datagram) {
        if let Some(place) = self.place(scene.node) {
            self.processes[place].company = Company::Reached;
        }
    }

    fn settled(&mut self, scene: &Scene<'_>, news: &[(Duration, Event)], departures: &[Departure]) {
        (self.log.at, self.log.node) = (scene.at, Some(scene.node));
        let Some(place) = self.place(scene.node) else {
            return;
        };
        if scene.machine.is_none() || self.processes[place].life != scene.life {
            self.begin(scene, place);
        }
        for (_, event) in news {
            self.hear(place, event);
        }
        for departure in departures {
            self.leave(scene, place, departure);
        }
        self.settle(scene, place);
    }
}

#[cfg(test)]
mod testing {
    use quicpool_core::{
        ConnectionStatus::{self, Connected, Disconnected, Failed},
        Event, PeerId, Reason,
    };

    pub(super) const PEER: [u8; 32] = [1; 32];

    pub(super) fn moved(from: ConnectionStatus, to: ConnectionStatus) -> Event {
        told(from, to, Reason::Confirmed)
    }

    pub(super) fn ended(reason: Reason) -> Event {
        told(Connected, Disconnected, reason)
    }

    pub(super) fn lost(reason: Reason) -> Event {
        told(Connected, Failed, reason)
    }

    fn told(from: ConnectionStatus, to: ConnectionStatus, reason: Reason) -> Event {
        Event::StatusChanged {
            peer: PeerId::from_bytes(PEER),
            from,
            to,
            reason,
        }
    }
}
