//! Connects the handle's side with the machine: orders in, events and messages out.

mod datagrams;
mod orders;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::{Duration, Instant},
};

use quicpool_core::{
    Action, ConnectionStatus, Datagram, Deadline, DeadlineReason, Event, Manager, Message,
    NetworkMetrics, PeerId, Reason, driver::TakenMessages,
};
use tracing::{debug, trace, warn};

use crate::{
    error::{CloseReason, ConnectError, FlushError, Rejected},
    inbox::Left,
    reply::Responder,
    shared::{Demand, End, Shared},
    staging::{PeerShared, Taken},
};

/// Messages of one peer that are handed out before it is the next one's turn.
const MESSAGES_PER_PEER: usize = 256;

/// Messages handed out in one turn.
const MESSAGES_PER_TURN: usize = 4_096;

/// How long a few taken messages may wait to be reported to the machine. Most of the time an answer is sent
/// before, and the loop has a turn anyway.
const TAKEN_DELAY_MAX: Duration = Duration::from_millis(2);

/// The machine, and what it takes to serve the handle. Knows nothing of sockets and runtimes.
pub(crate) struct Switchboard {
    core: Manager,
    shared: Arc<Shared>,
    /// What of the handle's demand has been passed on.
    obeyed: Demand,
    /// Peers that the handle has listed and whose turn has not come.
    listed: VecDeque<Arc<PeerShared>>,
    listed_spare: Vec<Arc<PeerShared>>,
    staged_spare: Taken,
    /// Peers whose room or verdict may have changed in this turn.
    touched: Vec<Arc<PeerShared>>,
    /// Peers with messages to hand out.
    readable: BTreeSet<PeerId>,
    /// The peer that was read last: the next one in order has its turn.
    read_last: PeerId,
    /// Peers with datagrams to hand out, and the one whose turn was last.
    datagrams_readable: BTreeSet<PeerId>,
    datagrams_read_last: PeerId,
    messages: Vec<Message>,
    taken: Vec<TakenMessages>,
    /// When a few taken messages must be reported.
    taken_due: Option<Instant>,
    connects: HashMap<PeerId, Vec<Responder<Result<(), ConnectError>>>>,
    flushes: HashMap<u64, Responder<Result<(), FlushError>>>,
    /// Orders that were carried out, or refused: answered after the events that they caused.
    done: Vec<Done>,
    /// Callers that wait for the numbers of the machine since before this turn.
    metrics_requests: Vec<Responder<NetworkMetrics>>,
    /// The number of shared peers at which unused ones are looked for.
    sweep_at: usize,
    /// Set by the machine's last event.
    closed: Option<End>,
}

/// An order that was carried out, or refused.
struct Done {
    responder: Responder<Result<(), Rejected>>,
    outcome: Result<(), Rejected>,
}

/// Whether a step has left work for the next turn.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// All was done.
    Nothing,
    /// The turn's budget was used up before.
    More,
}

impl Switchboard {
    pub(crate) fn new(core: Manager, shared: Arc<Shared>) -> Self {
        Self {
            core,
            obeyed: Demand::Run,
            listed: VecDeque::new(),
            listed_spare: Vec::new(),
            staged_spare: Taken::new(shared.limits.batch),
            touched: Vec::new(),
            readable: BTreeSet::new(),
            read_last: PeerId::from_bytes([0; PeerId::LEN]),
            datagrams_readable: BTreeSet::new(),
            datagrams_read_last: PeerId::from_bytes([0; PeerId::LEN]),
            messages: Vec::with_capacity(MESSAGES_PER_PEER),
            taken: Vec::new(),
            taken_due: None,
            connects: HashMap::new(),
            flushes: HashMap::new(),
            done: Vec::new(),
            metrics_requests: Vec::new(),
            sweep_at: SWEEP_PEERS_MIN,
            closed: None,
            shared,
        }
    }

    pub(crate) const fn machine(&self) -> &Manager {
        &self.core
    }

    pub(crate) fn set_segments_max(&mut self, segments: usize) {
        self.core.driver().set_segments_max(segments);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.core.handle_datagram(now, datagram);
    }

    /// Whether a connection has brought more than its turn had room for: the machine goes on at once.
    pub(crate) fn has_more_input(&self) -> bool {
        let due = self.core.poll_timeout();
        due.is_some_and(|deadline| deadline.reason == DeadlineReason::Input)
    }

    /// Lets the machine know if its deadline has come, or if it has input left.
    pub(crate) fn pass_deadline(&mut self, now: Instant) {
        let is_due =
            |deadline: &Deadline| deadline.at <= now || deadline.reason == DeadlineReason::Input;
        if let Some(deadline) = self.core.poll_timeout().filter(is_due) {
            trace!(reason = ?deadline.reason, "a deadline");
            self.core.handle_timeout(now);
        }
    }

    pub(crate) fn poll_action(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Option<Action> {
        self.core.poll_action(now, buffer)
    }

    /// How the machine has ended, once it has.
    pub(crate) const fn closed(&self) -> Option<&End> {
        self.closed.as_ref()
    }

    /// How the handle wants the manager to end.
    ///
    /// Looked at before what was taken: messages that were received before that order are
    /// acknowledged before it is obeyed.
    pub(crate) fn demanded(&self) -> Demand {
        self.shared.demanded()
    }

    /// Ends the machine as the handle demands.
    pub(crate) fn obey(&mut self, now: Instant, demand: Demand) {
        if demand <= self.obeyed {
            return;
        }
        self.obeyed = demand;
        debug!(?demand, "the manager ends");
        match demand {
            Demand::Run | Demand::Abandon => {}
            Demand::Close => {
                self.seal(now);
                self.core.close(now);
            }
            Demand::Abort => {
                self.seal(now);
                self.core.abort(now);
            }
        }
    }

    /// Accepts nothing from the handle any more, and passes on what was accepted before.
    pub(crate) fn seal(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        shared.seal(|peer, taken| self.absorb(now, peer, taken));
    }

    /// Ends the machine after a failure, and returns how many messages are undelivered, which events
    /// report. Calls that wait end with the failure as their reason.
    pub(crate) fn give_up(&mut self, now: Instant) -> u64 {
        self.seal(now);
        let undelivered = self.undelivered(now);
        // Dropped without an answer, a call fails with the reason why the manager ends.
        self.flushes.clear();
        self.connects.clear();
        self.done.clear();
        self.metrics_requests.clear();
        self.core.abort(now);
        self.pass_events(now);
        undelivered
    }

    /// Marks what the application has taken: in every turn, and if there is no other,
    /// in one soon after messages were handed out.
    ///
    /// While the manager ends, nothing is received for the time of the turn, and nothing at all once
    /// the goodbyes are written: they acknowledge everything that was ever received.
    pub(crate) fn take_taken(&mut self, now: Instant, demand: Demand) {
        if demand > Demand::Run {
            let left = self.shared.inbox.hold(&mut self.taken);
            self.mark_taken(now, left);
        } else if self.shared.inbox.has_taken() {
            self.collect_taken(now);
        } else if self.taken_due.is_some_and(|due| due <= now)
            && self.shared.inbox.wake_when_taken()
        {
            self.taken_due = None;
        }
    }

    /// Lets messages be received again, unless the machine has ended in this turn.
    pub(crate) fn release_inbox(&self) {
        if self.obeyed > Demand::Run && self.closed.is_none() {
            self.shared.inbox.release();
        }
    }

    /// Marks what the application has taken until this moment.
    pub(super) fn collect_taken(&mut self, now: Instant) {
        let left = self.shared.inbox.collect(&mut self.taken);
        self.mark_taken(now, left);
    }

    pub(super) fn mark_taken(&mut self, now: Instant, left: Left) {
        self.taken_due = match left {
            Left::Nothing => None,
            Left::Some => Some(now + TAKEN_DELAY_MAX),
        };
        for taken in self.taken.drain(..) {
            // Nothing is left to take of a peer that the machine has forgotten meanwhile.
            let _ = self.core.driver().mark_taken(now, &taken);
        }
    }

    /// Passes on what was caused so far, so that nothing that follows is taken for its cause.
    pub(crate) fn pass_events(&mut self, now: Instant) {
        while let Some(event) = self.core.driver().poll_event(now) {
            self.notify(now, event);
        }
    }

    /// Passes on an event of the machine.
    pub(crate) fn notify(&mut self, now: Instant, event: Event) {
        trace!(?event, "an event");
        match event {
            Event::Readable { peer } => {
                self.readable.insert(peer);
            }
            Event::DatagramsReadable { peer } => {
                self.datagrams_readable.insert(peer);
            }
            Event::DatagramLimit { peer, max } => self.shared.peer(peer).set_datagram_max(max),
            Event::Writable { peer } => self.touched.push(self.shared.peer(peer)),
            Event::Flushed {
                peer,
                token,
                result,
            } => self.flushed(now, peer, token, result),
            Event::StatusChanged {
                peer,
                to,
                ref reason,
                ..
            } => {
                let shared = self.shared.peer(peer);
                // Before it is connected: a subscriber that hears of that may send at once.
                shared.limit_messages(self.message_bytes_max(peer));
                self.shared
                    .hub
                    .publish(&event, || shared.mirror.set_status(to));
                self.answer_connects(now, peer, to, reason);
                if to != ConnectionStatus::Connected {
                    shared.rest();
                }
                self.touched.push(shared);
            }
            Event::HealthChanged { peer, to, .. } => {
                let shared = self.shared.peer(peer);
                self.shared
                    .hub
                    .publish(&event, || shared.mirror.set_health(Some(to)));
            }
            Event::Closed {
                undelivered,
                ref losses,
            } => {
                let losses = losses.clone();
                self.closed = Some(End {
                    reason: CloseReason::Closed,
                    undelivered,
                    losses,
                });
                self.shared.hub.publish(&event, || {});
            }
            other @ (Event::Undelivered { .. }
            | Event::PeerRestarted { .. }
            | Event::Stalled { .. }
            | Event::IdentityInUse { .. }
            | _) => {
                self.touched
                    .extend(other.peer().map(|peer| self.shared.peer(peer)));
                self.shared.hub.publish(&other, || {});
            }
        }
    }

    /// Answers calls of `connect`, once the status and the verdict that follow from it can be read
    /// on every thread.
    fn answer_connects(
        &mut self,
        now: Instant,
        peer: PeerId,
        to: ConnectionStatus,
        reason: &Reason,
    ) {
        let outcome = match to {
            ConnectionStatus::New | ConnectionStatus::Connecting => return,
            ConnectionStatus::Connected => Ok(()),
            ConnectionStatus::Disconnected | ConnectionStatus::Failed => {
                Err(ConnectError::Failed {
                    peer,
                    reason: reason.clone(),
                })
            }
        };
        let Some(responders) = self.connects.remove(&peer) else {
            return;
        };
        let shared = self.shared.peer(peer);
        self.lend_to(now, &shared);
        for responder in responders {
            responder.answer(outcome.clone());
        }
    }

    /// Answers orders that were carried out, once their events are passed on and what follows from
    /// them can be read on every thread.
    pub(crate) fn answer_done(&mut self, now: Instant) {
        if self.done.is_empty() {
            return;
        }
        self.lend(now);
        for Done { responder, outcome } in self.done.drain(..) {
            responder.answer(outcome);
        }
    }

    /// Hands messages to the application, some of each peer in turn.
    pub(crate) fn hand_out(&mut self, now: Instant) -> Rest {
        let mut budget = MESSAGES_PER_TURN;
        while budget > 0 {
            let Some(peer) = self.next_readable() else {
                return Rest::Nothing;
            };
            let max = MESSAGES_PER_PEER.min(budget);
            let count = self.core.receive_held(now, peer, max, &mut self.messages);
            // None of a peer that the machine has forgotten meanwhile.
            let count = count.unwrap_or(0);
            if count < max {
                self.readable.remove(&peer);
            }
            if count > 0 {
                self.shared.inbox.push(&mut self.messages);
                self.taken_due.get_or_insert(now + TAKEN_DELAY_MAX);
            }
            budget -= count;
        }
        Rest::unless(self.readable.is_empty())
    }

    fn next_readable(&mut self) -> Option<PeerId> {
        self.read_last = next_in_turn(&self.readable, self.read_last)?;
        Some(self.read_last)
    }

    /// Lends the machine's room to callers that stage, where it may have changed.
    pub(crate) fn lend(&mut self, now: Instant) {
        let mut touched = mem::take(&mut self.touched);
        for peer in touched.drain(..) {
            self.lend_to(now, &peer);
        }
        self.touched = touched;
        let bytes = self.shared.peers_memory() + self.shared.inbox.memory();
        self.core.driver().set_handle_memory(bytes);
        if self.shared.peers_count() > self.sweep_at {
            self.sweep();
        }
    }

    fn message_bytes_max(&self, peer: PeerId) -> usize {
        let max = self.core.message_bytes_max(peer);
        max.unwrap_or_else(|| self.core.config().message_bytes_max)
    }

    pub(super) fn lend_to(&mut self, now: Instant, peer: &PeerShared) {
        match self.core.status(peer.id) {
            Some(_) => peer.mirror.set_known(),
            None => peer.set_unknown(),
        }
        let room = self.core.driver().credit(peer.id);
        peer.limit_messages(self.message_bytes_max(peer.id));
        let verdict = self.core.verdict(peer.id);
        if let Some(bytes) = peer.lend(room, verdict) {
            // Only a peer that the machine knows has a verdict with which senders wait for room.
            let _ = self.core.want_room(now, peer.id, bytes);
        }
    }

    /// Strangers come, go, and are forgotten by the machine; what was shared about them goes too.
    fn sweep(&mut self) {
        self.shared
            .forget_unused(|peer| self.core.status(peer).is_some());
        // Twice as many make the next one worth its cost, which is thereby constant for each peer.
        self.sweep_at = SWEEP_PEERS_MIN.max(2 * self.shared.peers_count());
    }

    /// Notes which callers wait for the numbers of the machine: to be called before their orders are taken,
    /// so that the numbers contain what they have done before.
    pub(crate) fn take_metrics_requests(&mut self) {
        self.metrics_requests
            .append(&mut self.shared.metrics.take());
    }

    /// Answers callers that waited for the numbers of the machine as the turn began.
    pub(crate) fn answer_metrics(&mut self, now: Instant) {
        if self.metrics_requests.is_empty() {
            return;
        }
        let metrics = self.core.metrics(now);
        for responder in self.metrics_requests.drain(..) {
            responder.answer(metrics.clone());
        }
    }

    /// When the machine must be called, if nothing happens before.
    pub(crate) fn core_deadline(&self) -> Option<Instant> {
        self.core.poll_timeout().map(|deadline| deadline.at)
    }

    /// When the next turn must be for the sake of the handle's side.
    pub(crate) const fn own_deadline(&self) -> Option<Instant> {
        self.taken_due
    }

    /// Messages that were accepted, and neither delivered, reported nor withdrawn.
    pub(crate) fn undelivered(&mut self, now: Instant) -> u64 {
        let counters = self.core.metrics(now).counters;
        counters
            .messages_accepted
            .saturating_sub(counters.messages_delivered)
            .saturating_sub(counters.messages_undelivered)
            .saturating_sub(counters.messages_withdrawn)
    }

    /// Warns of what was lost by dropping the last handle.
    pub(crate) fn warn_of_unsent(&self, undelivered: u64) {
        if self.obeyed == Demand::Abort && undelivered > 0 {
            warn!(
                undelivered,
                "the last handle was dropped without close: messages are undelivered"
            );
        }
    }
}

/// The next one in order after the last, and the first after all.
fn next_in_turn(peers: &BTreeSet<PeerId>, last: PeerId) -> Option<PeerId> {
    let mut later = peers.range((Excluded(last), Unbounded));
    later.next().or_else(|| peers.first()).copied()
}

/// The number of shared peers below which unused ones are not looked for.
const SWEEP_PEERS_MIN: usize = 1_024;

impl Rest {
    fn unless(done: bool) -> Self {
        if done { Self::Nothing } else { Self::More }
    }
}
