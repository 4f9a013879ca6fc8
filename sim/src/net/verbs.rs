//! The verbs of the applications above the machines.

use std::time::{Duration, Instant};

use quicpool_core::{Cancelled, Manager, MessageNumber, PeerError, SendDatagramError, SendError};

use super::{Net, NodeId, machine::Verbs, watch::Asked};

/// The result of a verb of an application.
trait Answer {
    /// Returns the reason if it was refused.
    fn refusal(&self) -> Option<String>;
}

impl Answer for () {
    fn refusal(&self) -> Option<String> {
        None
    }
}

impl Answer for Result<(), PeerError> {
    fn refusal(&self) -> Option<String> {
        self.as_ref().err().map(ToString::to_string)
    }
}

impl Net {
    /// Gives each of two nodes the address of the other.
    pub fn introduce(&mut self, a: NodeId, b: NodeId) {
        self.introduce_one_way(a, b);
        self.introduce_one_way(b, a);
    }

    /// Gives one node the address of another.
    ///
    /// # Panics
    ///
    /// If it cannot know the other: see [`Manager::add_address`].
    pub fn introduce_one_way(&mut self, node: NodeId, to: NodeId) {
        let peer = self.nodes[to.index()].peer;
        let verb = "introduce";
        let result = self.ask(node, Some(to), verb, |verbs, now| {
            verbs.add_address(now, peer)
        });
        result.unwrap_or_else(|error| panic!("{node} cannot know {to}: {error}"));
    }

    /// Gives each node the addresses of all others.
    pub fn introduce_all(&mut self) {
        for a in self.ids() {
            for b in self.ids().filter(|b| *b != a) {
                self.introduce_one_way(a, b);
            }
        }
    }

    /// Asks for a connection.
    ///
    /// # Panics
    ///
    /// If the machine refuses at once. [`Manager::connect`], by [`with`](Self::with), returns the error.
    pub fn connect(&mut self, node: NodeId, to: NodeId) {
        let result = self.try_connect(node, to);
        result.unwrap_or_else(|error| panic!("{node} cannot connect to {to}: {error}"));
    }

    /// Asks for a connection.
    ///
    /// # Errors
    ///
    /// See [`Manager::connect`].
    #[doc(hidden)]
    pub fn try_connect(&mut self, node: NodeId, to: NodeId) -> Result<(), PeerError> {
        let peer = self.peer_id(to);
        let result = self.ask_quietly(node, |verbs, now| verbs.connect(now, peer));
        self.show_asked(node, Some(to), &Asked::Connect(&result));
        self.settle(node);
        result
    }

    /// Sends a message.
    ///
    /// # Panics
    ///
    /// If the machine refuses it. [`Manager::send`], by [`with`](Self::with), returns the error.
    pub fn send(&mut self, node: NodeId, to: NodeId, message: &[u8]) {
        let result = self.try_send(node, to, message);
        result.unwrap_or_else(|error| panic!("{node} cannot send to {to}: {error}"));
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// See [`Manager::send`].
    #[doc(hidden)]
    pub fn try_send(&mut self, node: NodeId, to: NodeId, message: &[u8]) -> Result<(), SendError> {
        let result = self.stage(node, to, message);
        self.settle(node);
        result
    }

    /// Sends a message, on which the node does not act before [`act`](Self::act) or another verb.
    ///
    /// # Errors
    ///
    /// See [`Manager::send`].
    #[doc(hidden)]
    pub fn stage(&mut self, node: NodeId, to: NodeId, message: &[u8]) -> Result<(), SendError> {
        let peer = self.peer_id(to);
        let result = self.ask_quietly(node, |verbs, now| verbs.send(now, peer, message));
        self.show_asked(node, Some(to), &Asked::Send(message, &result));
        result
    }

    /// As [`stage`](Self::stage), for a message to be confirmed by [`Event::Flushed`](quicpool_core::Event::Flushed).
    ///
    /// # Errors
    ///
    /// See [`Manager::send_confirmed`].
    #[doc(hidden)]
    pub fn stage_confirmed(
        &mut self,
        node: NodeId,
        to: NodeId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError> {
        let peer = self.peer_id(to);
        let result = self.ask_quietly(node, |verbs, now| {
            verbs.send_confirmed(now, peer, message, token)
        });
        self.show_asked(node, Some(to), &Asked::Send(message, &result));
        result
    }

    /// As [`stage`](Self::stage), for a message that is worth nothing once this time has passed.
    ///
    /// # Errors
    ///
    /// See [`Manager::send_until`].
    #[doc(hidden)]
    pub fn stage_until(
        &mut self,
        node: NodeId,
        to: NodeId,
        message: &[u8],
        lifetime: Duration,
    ) -> Result<(), SendError> {
        let peer = self.peer_id(to);
        let until = self.clock.now() + lifetime;
        let result = self.ask_quietly(node, |verbs, now| {
            verbs.send_until(now, peer, message, now + lifetime)
        });
        self.show_asked(node, Some(to), &Asked::SendUntil(message, until, &result));
        result
    }

    /// Takes messages back, and returns what has become of each.
    ///
    /// # Errors
    ///
    /// See [`Manager::cancel`].
    #[doc(hidden)]
    pub fn cancel(
        &mut self,
        node: NodeId,
        to: NodeId,
        numbers: &[MessageNumber],
    ) -> Result<Vec<Cancelled>, PeerError> {
        let peer = self.peer_id(to);
        let result = self.ask_quietly(node, |verbs, now| verbs.cancel(now, peer, numbers));
        self.show_asked(node, Some(to), &Asked::Cancel(numbers, &result));
        self.settle(node);
        result
    }

    /// Lets a node act on what was asked of it.
    #[doc(hidden)]
    pub fn act(&mut self, node: NodeId) {
        self.settle(node);
    }

    /// Asks for an event once there is room for a message of this length.
    #[doc(hidden)]
    pub fn want_room(&mut self, node: NodeId, to: NodeId, len: usize) {
        let peer = self.peer_id(to);
        self.ask_quietly(node, |verbs, now| verbs.want_room(now, peer, len));
        self.settle(node);
    }

    /// Sends a datagram.
    ///
    /// # Panics
    ///
    /// If the machine refuses it. [`Manager::send_datagram`], by [`with`](Self::with), returns the
    /// error.
    pub fn send_datagram(&mut self, node: NodeId, to: NodeId, payload: &[u8]) {
        let result = self.try_send_datagram(node, to, payload);
        result.unwrap_or_else(|error| panic!("{node} cannot send to {to}: {error}"));
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// See [`Manager::send_datagram`].
    #[doc(hidden)]
    pub fn try_send_datagram(
        &mut self,
        node: NodeId,
        to: NodeId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        let peer = self.peer_id(to);
        let result = self.ask_quietly(node, |verbs, now| verbs.send_datagram(now, peer, payload));
        self.show_asked(node, Some(to), &Asked::SendDatagram(&result));
        self.settle(node);
        result
    }

    /// Asks for an event once all that was sent is taken.
    ///
    /// # Panics
    ///
    /// If the machine refuses.
    #[doc(hidden)]
    pub fn flush(&mut self, node: NodeId, to: NodeId, token: u64) {
        let peer = self.peer_id(to);
        let verb = "flush";
        let result = self.ask(node, Some(to), verb, |verbs, now| {
            verbs.flush(now, peer, token)
        });
        result.unwrap_or_else(|error| panic!("{node} cannot flush to {to}: {error}"));
    }

    /// Stops waiting for a flush.
    #[doc(hidden)]
    pub fn cancel_flush(&mut self, node: NodeId, to: NodeId, token: u64) {
        let peer = self.peer_id(to);
        self.ask(node, Some(to), "cancel_flush", |verbs, now| {
            verbs.cancel_flush(now, peer, token);
        });
    }

    /// Ends a session.
    pub fn disconnect(&mut self, node: NodeId, from: NodeId) {
        let peer = self.peer_id(from);
        let verb = "disconnect";
        // The record has the refusal of a peer that is not known.
        let _ = self.ask(node, Some(from), verb, |verbs, now| {
            verbs.disconnect(now, peer)
        });
    }

    /// Ends a session and forgets the peer.
    #[doc(hidden)]
    pub fn forget(&mut self, node: NodeId, whom: NodeId) {
        let peer = self.peer_id(whom);
        let verb = "forget";
        // The record has the refusal of a peer that is not known.
        let _ = self.ask(node, Some(whom), verb, |verbs, now| verbs.forget(now, peer));
    }

    /// Ends a session and refuses the peer from this moment on.
    #[doc(hidden)]
    pub fn block(&mut self, node: NodeId, whom: NodeId) {
        let peer = self.peer_id(whom);
        let verb = "block";
        // The record has the refusal of a peer that is not known.
        let _ = self.ask(node, Some(whom), verb, |verbs, now| verbs.block(now, peer));
    }

    /// Accepts a blocked peer again.
    #[doc(hidden)]
    pub fn unblock(&mut self, node: NodeId, whom: NodeId) {
        let peer = self.peer_id(whom);
        let verb = "unblock";
        // The record has the refusal of a peer that is not known.
        let _ = self.ask(node, Some(whom), verb, |verbs, now| {
            verbs.unblock(now, peer)
        });
    }

    /// Flushes, closes all connections and ends. The process stays up and does no more.
    #[doc(hidden)]
    pub fn close(&mut self, node: NodeId) {
        self.ask(node, None, "close", |verbs, now| verbs.close(now));
    }

    /// Closes all connections and ends, without flushing.
    #[doc(hidden)]
    pub fn abort(&mut self, node: NodeId) {
        self.ask(node, None, "abort", |verbs, now| verbs.abort(now));
    }

    /// Calls a machine at this instant, and then does what it orders: the way to all verbs that
    /// have no shorthand here.
    ///
    /// # Panics
    ///
    /// If the node is down or paused.
    pub fn with<R>(&mut self, node: NodeId, act: impl FnOnce(&mut Manager, Instant) -> R) -> R {
        let result = self.call(node, act);
        self.settle(node);
        result
    }

    /// A verb that the record knows by name: it comes before what follows from it.
    fn ask<R: Answer>(
        &mut self,
        node: NodeId,
        about: Option<NodeId>,
        verb: &'static str,
        act: impl FnOnce(&mut dyn Verbs, Instant) -> R,
    ) -> R {
        let result = self.ask_quietly(node, act);
        self.show_asked(node, about, &Asked::Other(verb, result.refusal()));
        self.settle(node);
        result
    }

    /// Asks for something, and neither shows it nor lets the node act.
    fn ask_quietly<R>(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut dyn Verbs, Instant) -> R,
    ) -> R {
        assert!(!self.is_paused(node), "{node} is paused");
        let now = self.clock.instant();
        let verbs = self.nodes[node.index()].verbs();
        act(verbs.unwrap_or_else(|| panic!("{node} is down")), now)
    }

    fn call<R>(&mut self, node: NodeId, act: impl FnOnce(&mut Manager, Instant) -> R) -> R {
        assert!(!self.is_paused(node), "{node} is paused");
        let now = self.clock.instant();
        let machine = self.nodes[node.index()].machine_mut();
        let machine = machine.unwrap_or_else(|| panic!("{node} is down, or its machine in a loop"));
        act(machine, now)
    }
}
