//! Auditors that watch all nodes of a world, at every instant at which anything happens to them.
//!
//! Each auditor looks at one thing, is fed with plain records, and shares nothing with the machine:
//!
//! - [`lifecycle`]: a status moves along the edges of the lifecycle.
//! - [`health`]: the reported health of peers is right, and in time.
//! - [`bounds`]: slots and queues never exceed their limits.
//! - [`expiry`]: no connection expires before its time to live, and none is used after it.
//! - [`agreement`]: both ends of a pair share one connection.
//! - [`calm`]: no connection is lost where nothing happens to it.
//! - [`datagrams`]: each is counted, and queues of them are bounded.
//! - [`flushes`]: each loss is reported by the flushes that it concerns, and by no other.
//! - [`left_out`]: what was never written is withdrawn or expires.
//! - [`handed`]: what an application was given counts as taken in time.
//! - [`progress`]: what is taken is acknowledged.
//! - [`punctual`]: batches leave in time.
//! - [`backoff`]: dials after failures keep their distance, and come; [`visits`]: so do those of
//!   processes that cannot be dialled.
//! - [`records`]: nothing that is sealed is legible on the wire, no nonce is used twice, and what
//!   was accepted is in records; [`wire`] and [`quic`] find them.
//! - [`early`]: no early data is sent.
//! - [`tally`]: counters agree with what was seen to happen.

mod agreement;
mod backoff;
mod bounds;
mod calm;
mod datagrams;
mod early;
mod expiry;
mod flushes;
mod handed;
mod health;
mod hearing;
mod left_out;
mod lifecycle;
mod pairs;
mod progress;
mod punctual;
mod quic;
mod records;
mod sample;
mod tally;
#[cfg(test)]
mod testing;
mod visits;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use quicpool_core::{Config, Datagram, PeerId, SendError};

pub(super) use self::records::FILLING;
use self::{
    datagrams::Datagrams,
    flushes::Flushes,
    lifecycle::Lifecycle,
    pairs::{Between, Pair, between},
    progress::{Seen, Tie},
    punctual::Path,
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
    Driven, NodeId,
    watch::{Asked, Departure, Done, Scene, Watch},
};

/// All auditors of one world, whose nodes are its first ones.
pub(super) struct Audit {
    log: Log,
    peers: Vec<PeerId>,
    /// Peers that are no nodes.
    strangers: Vec<PeerId>,
    nodes: Vec<NodeId>,
    processes: Vec<Process>,
    /// How long after it was handed out a message counts as taken, for each node.
    taken_delay: Vec<Duration>,
    /// Whether each node was up and has acted whenever it wanted to, so far.
    steady: Vec<bool>,
    /// See [`between`].
    between: Vec<Between>,
    /// Nodes of which the others have no address.
    hidden: Vec<usize>,
    packets: Packets,
    wire: Wire,
    records: Records,
}

/// The nodes that are hidden or driven.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// Those of which no other node has an address.
    pub(super) hidden: &'a [usize],
    /// Those that run in the event loop of the driver.
    pub(super) driven: &'a [usize],
    /// Peers that are no nodes.
    pub(super) strangers: &'a [PeerId],
}

/// Whether auditors can look into packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packets {
    Legible,
    /// They are encrypted.
    Opaque,
}

/// The state of the process that runs on a node.
#[derive(Default)]
struct Process {
    life: u64,
    config: Config,
    sample: Sample,
    lifecycle: Lifecycle,
    tally: Tally,
    flushes: Flushes,
    datagrams: Datagrams,
    /// Connections that the node had begun before this process.
    dials_before: u64,
    /// Dials that it had counted when it last had nothing more to do.
    dialled: u64,
    /// By place.
    pairs: Vec<Pair>,
    company: Company,
    /// When it was last seen held up.
    is_held_up: bool,
}

impl Process {
    /// Nodes count how often they were started.
    const fn is_up(&self) -> bool {
        self.life > 0
    }
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
    pub(super) fn new(
        nodes: &[(NodeId, PeerId)],
        Places {
            hidden,
            driven,
            strangers,
        }: Places<'_>,
        packets: Packets,
    ) -> Self {
        let taken_delay = |place| match driven.contains(&place) {
            true => Driven::TAKEN_DELAY_MAX,
            false => Duration::ZERO,
        };
        Self {
            log: Log::new(),
            peers: nodes.iter().map(|(_, peer)| *peer).collect(),
            strangers: strangers.to_vec(),
            nodes: nodes.iter().map(|(node, _)| *node).collect(),
            processes: nodes.iter().map(|_| Process::default()).collect(),
            taken_delay: (0..nodes.len()).map(taken_delay).collect(),
            steady: vec![true; nodes.len()],
            between: (1..nodes.len())
                .flat_map(|count| 0..count)
                .map(|_| Between::default())
                .collect(),
            hidden: hidden.to_vec(),
            packets,
            wire: Wire::default(),
            records: Records::new(nodes.len()),
        }
    }

    /// The application of a node was given messages.
    pub(super) fn take(&mut self, node: NodeId, messages: u64) {
        self.processes[node.index()].tally.take(messages);
    }

    /// The application of a node is about to end its session with another.
    pub(super) fn end_session(&mut self, node: usize, with: usize) {
        if let Some(pair) = self.processes[node].pairs.get_mut(with) {
            pair.visits.end();
        }
    }

    /// The application of a node flushes.
    pub(super) fn flush(&mut self, node: usize, to: usize, token: u64) {
        self.processes[node].flushes.begin(self.peers[to], token);
    }

    /// The application of a node waits for the message that was accepted last.
    pub(super) fn confirm(&mut self, node: usize, to: usize, token: u64) {
        let process = &mut self.processes[node];
        process.flushes.confirm(self.peers[to], token);
        process.pairs[to].left_out.confirm(token);
    }

    /// The caller of a flush waits no longer.
    pub(super) fn cancel_flush(&mut self, node: usize, to: usize, token: u64) {
        let process = &mut self.processes[node];
        process.flushes.cancel(self.peers[to], token);
        process.pairs[to].left_out.leave(token);
    }

    /// The application of a node is about to end the manager.
    pub(super) fn end(&mut self, node: usize) {
        let Process {
            config,
            flushes,
            pairs,
            ..
        } = &mut self.processes[node];
        flushes.end(&self.log, config);
        pairs.iter_mut().for_each(|pair| pair.visits.end());
    }

    /// It was given datagrams.
    pub(super) fn take_datagrams(&mut self, node: NodeId, datagrams: u64) {
        self.processes[node.index()].datagrams.take(datagrams);
    }

    /// It cannot act from here on: its process stands still, or its socket takes nothing.
    pub(super) fn hold_up(&mut self, node: NodeId) {
        self.processes[node.index()].is_held_up = true;
    }

    /// Time has passed without anything that happened.
    pub(super) fn pass(&mut self, at: Duration) {
        self.log.at = at;
        for (node, process) in self.nodes.iter().zip(&mut self.processes) {
            self.log.node = Some(*node);
            for pair in &mut process.pairs {
                pair.backoff.pass(&mut self.log, &process.config);
                if process.sample.waiting_dials == 0 {
                    pair.visits.pass(&mut self.log, &process.config);
                }
            }
            for pair in &mut process.pairs {
                if process.is_held_up {
                    pair.left_out.hold_up(at);
                }
                pair.left_out.pass(&mut self.log);
            }
            if process.is_held_up {
                process.tally.hold_up(&self.log);
            }
            process.tally.look(&mut self.log);
            process.flushes.pass(&mut self.log);
        }
    }

    /// Takes the violations since the last call.
    pub(super) fn take_violations(&mut self) -> Vec<Violation> {
        self.log.take_violations()
    }

    /// How often each mark was hit.
    pub(super) fn marks(&self) -> BTreeMap<&'static str, u64> {
        self.log.marks()
    }

    /// Whether two nodes do not share one connection, or none, at this moment.
    pub(super) fn are_apart(&self, a: usize, b: usize) -> bool {
        self.between[between(a, b).0].agreement.is_apart()
    }

    /// The place of a node that takes part.
    fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|other| *other == node)
    }

    /// Another process runs on a node, or none any more.
    fn begin(&mut self, scene: &Scene<'_>, place: usize) {
        for peer in self.others(place) {
            let (pair, end) = between(place, peer);
            self.between[pair].agreement.lose(end);
            self.between[pair].calm.disturb(&self.log);
            if let Some(pair) = self.processes[peer].pairs.get_mut(place) {
                pair.punctual.orphan();
            }
        }
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
        early::look(log, &departure.payload);
        Records::look(log, &process.config, &leaving);
        if self.packets == Packets::Opaque {
            return;
        }
        let starts = self
            .wire
            .leave(log, &process.config, &mut self.records, &leaving);
        for start in starts {
            let path = || Path::between(scene, self.nodes[start.to]);
            process.pairs[start.to].punctual.leave(log, start, path);
        }
    }

    fn others(&self, place: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.nodes.len()).filter(move |peer| *peer != place)
    }

    /// Looks whether both ends of each of its connections call it the same.
    fn compare(&mut self, scene: &Scene<'_>, place: usize) {
        let Some(machine) = scene.machine else {
            return;
        };
        let process = &mut self.processes[place];
        let dials = process.sample.counters.dials;
        let dialled_before = std::mem::replace(&mut process.dialled, dials);
        for peer in self.others(place) {
            let (at, end) = between(place, peer);
            let Between {
                agreement,
                calm,
                progress,
            } = &mut self.between[at];
            let log = &mut self.log;
            let ends = [place, peer].map(|at| &self.processes[at]);
            let dials = ends[0].sample.peers[peer].dials;
            agreement.dial(end, dials, dialled_before + 1);
            let connections = machine.connections(self.peers[peer]);
            agreement.see(log, end, connections.into_iter().flatten());
            if !ends[1].is_up() {
                agreement.lose(1 - end);
                continue;
            }
            if ends.iter().any(|process| process.is_held_up) {
                calm.disturb(log);
            }
            let faults = || scene.faults_between(scene.node, self.nodes[peer]);
            // A process that was late probes first, and judges a third later.
            let silence_max = ends.map(|process| process.config.liveness_timeout * 4 / 3);
            let silence_max = silence_max[0].max(silence_max[1]);
            let now = log.at;
            agreement.pass(log, silence_max, || calm.look(now, faults()));
            let tie = match agreement.is_shared() {
                true => Tie::Shared,
                false => Tie::None,
            };
            let samples = [&ends[0].sample.peers[peer], &ends[1].sample.peers[place]];
            for (sender, receiver) in [(0, 1), (1, 0)] {
                let seen = Seen::of(samples[sender], samples[receiver]);
                // Ends are ordered by place; of the samples that of the observed process is first.
                let progress = &mut progress[end ^ sender];
                progress.pass(log, seen, tie, silence_max, || calm.look(now, faults()));
            }
        }
    }

    fn settle(&mut self, scene: &Scene<'_>, place: usize) {
        let held_for: Vec<usize> = self
            .processes
            .iter()
            .map(|other| other.sample.peers.get(place).map_or(0, |p| p.outbox_bytes))
            .collect();
        let unread_of: Vec<usize> = self
            .processes
            .iter()
            .map(|other| other.sample.peers.get(place).map_or(0, |p| p.inbox_bytes))
            .collect();
        let faults_before: Vec<Option<u64>> = self
            .processes
            .iter()
            .map(|other| other.pairs.get(place)?.punctual.faults_before())
            .collect();
        let written = self.records.written(place);
        let dials = self.wire.dials(place);
        self.steady[place] &= !scene.is_held_up;
        let (log, process) = (&mut self.log, &mut self.processes[place]);
        let expirations = process.sample.counters.expirations;
        if !process.sample.take(scene, &self.peers, &self.strangers) {
            return;
        }
        let Process {
            config,
            sample,
            pairs,
            ..
        } = process;
        bounds::settle(log, config, sample);
        process.flushes.settle(log);
        process.datagrams.settle(log, config, sample);
        let was_held_up = std::mem::replace(&mut process.is_held_up, scene.is_held_up);
        if was_held_up || scene.is_held_up {
            process.tally.hold_up(log);
            process.flushes.hold_up(log, config);
        }
        let company = std::mem::take(&mut process.company);
        let is_alone = company == Company::Alone && !was_held_up && !scene.is_held_up;
        let idle_ends = process.tally.idle_ends();
        process.tally.settle(
            log,
            &process.lifecycle,
            sample,
            is_alone,
            dials - process.dials_before,
        );
        let expired = sample.counters.expirations - expirations;
        let ended = pairs.iter().filter(|pair| pair.expiry.has_expired());
        // With those of strangers.
        let ended = idle_ends.max(ended.count() as u64);
        let is_own = expired > 0 && expired == ended;
        for (peer, pair) in pairs.iter_mut().enumerate().filter(|(at, _)| *at != place) {
            let numbers = sample.peers[peer];
            if !self.hidden.contains(&peer) {
                pair.backoff.settle(log, config, sample, numbers);
            }
            let steady = self.steady[place] && self.steady[peer];
            let is_clear = || steady && scene.faults_between(scene.node, self.nodes[peer]) == 0;
            pair.expiry
                .settle(log, config, numbers, is_own, held_for[peer]);
            // A process that could not be reached again keeps its connections.
            match self.hidden.contains(&place) {
                // Which connection has expired is not known where one of a stranger may have.
                true if !self.strangers.is_empty() => {}
                true => pair.expiry.keep(log, expired),
                false => pair.expiry.pass(log, config, is_clear),
            }
            if was_held_up || scene.is_held_up {
                pair.health.disturb(scene.at);
                pair.left_out.hold_up(scene.at);
                // Also when it goes on: the pair may not have been compared meanwhile.
                self.between[between(place, peer).0].calm.disturb(log);
            }
            pair.health
                .settle(log, config, numbers.delivered, numbers.health);
            if scene.is_held_up {
                pair.backoff.hold_up();
                pair.punctual.excuse();
                pair.visits.end();
            }
            if unread_of[peer] > 0 {
                // It may have no credit, also once its process is gone: what is unread may be of an earlier session.
                pair.punctual.crowd(log);
            }
            let path = || Path::between(scene, self.nodes[peer]);
            pair.punctual
                .settle(log, numbers, faults_before[peer], path);
            pair.left_out.settle(log, written[peer]);
        }
    }
}

impl Watch for Audit {
    fn asked(&mut self, scene: &Scene<'_>, to: Option<NodeId>, asked: &Asked<'_>) {
        (self.log.at, self.log.node) = (scene.at, Some(scene.node));
        let to = to.and_then(|to| self.place(to));
        let (Some(from), Some(to)) = (self.place(scene.node), to) else {
            return;
        };
        let (log, process) = (&mut self.log, &mut self.processes[from]);
        let is_accepted = match asked {
            Asked::Connect(result) => result.is_ok(),
            Asked::Other(..) => return,
            Asked::Cancel(numbers, result) => {
                if let Ok(outcomes) = result {
                    self.withdraw(from, to, numbers, outcomes);
                }
                return;
            }
            // Datagrams are no use of a connection.
            Asked::SendDatagram(result) => {
                process.datagrams.ask(log, result);
                // A process without known peers was never seen before.
                if let Some(pair) = process.pairs.get_mut(to) {
                    pair.punctual.crowd(log);
                }
                return;
            }
            Asked::Send(_, result) | Asked::SendUntil(_, _, result) => {
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
        let sent = match asked {
            Asked::Send(message, _) => Some((message, None)),
            Asked::SendUntil(message, until, _) => Some((message, Some(*until))),
            Asked::Connect(_) | Asked::Other(..) | Asked::SendDatagram(_) | Asked::Cancel(..) => {
                None
            }
        };
        if let Some((message, until)) = sent {
            let status = process.lifecycle.status(self.peers[to]);
            pair.left_out.accept(status, until);
            process.tally.accept();
            process.flushes.accept(self.peers[to]);
            let number = self.records.accept(scene.at, from, to, message);
            if !scene.is_held_up && self.packets == Packets::Legible {
                pair.punctual.accept(log, &process.config, number);
            }
        }
    }

    fn arrived(&mut self, scene: &Scene<'_>, datagram: &Datagram) {
        let Some(place) = self.place(scene.node) else {
            return;
        };
        self.processes[place].company = Company::Reached;
        let from = scene.who_is_at(datagram.remote);
        if let Some(from) = from.and_then(|node| self.place(node))
            && let Some(pair) = self.processes[place].pairs.get_mut(from)
        {
            pair.health.disturb(scene.at);
        }
    }

    fn settled(&mut self, scene: &Scene<'_>, done: &Done<'_>) {
        (self.log.at, self.log.node) = (scene.at, Some(scene.node));
        let Some(place) = self.place(scene.node) else {
            return;
        };
        if scene.machine.is_none() || self.processes[place].life != scene.life {
            self.begin(scene, place);
        }
        let taken = done.taken.len() as u64;
        let tally = &mut self.processes[place].tally;
        tally.hand_out(&self.log, taken, self.taken_delay[place]);
        for (_, event) in done.news {
            self.hear(scene, place, event);
        }
        for departure in done.departures {
            self.leave(scene, place, departure);
        }
        self.settle(scene, place);
        self.compare(scene, place);
    }
}
