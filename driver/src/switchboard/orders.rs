//! From the handle to the machine: what was staged and ordered.

use std::{mem, sync::Arc, time::Instant};

use quicpool_core::{
    ConnectionStatus, Losses, PeerAddr, PeerError, PeerId, Reason, driver::OpenBatch,
};
use tracing::trace;

use super::{Done, Rest, Switchboard};
use crate::{
    error::{ConnectError, FlushError, Rejected},
    order::Order,
    reply::Responder,
    staging::{Entry, PeerShared, Taken},
};

/// Peers whose staging is looked at in one turn.
const PEERS_PER_TURN: usize = 256;

impl Switchboard {
    /// Messages and orders of the peers that the handle has listed.
    pub(crate) fn take_orders(&mut self, now: Instant) -> Rest {
        self.shared.take_listed(&mut self.listed_spare);
        self.listed.extend(self.listed_spare.drain(..));
        let mut taken = mem::replace(&mut self.staged_spare, Taken::new(self.shared.limits.batch));
        for _ in 0..PEERS_PER_TURN {
            let Some(peer) = self.listed.pop_front() else {
                break;
            };
            peer.take(&mut taken);
            self.absorb(now, &peer, &mut taken);
            self.touched.push(peer);
        }
        self.staged_spare = taken;
        Rest::unless(self.listed.is_empty())
    }

    pub(super) fn absorb(&mut self, now: Instant, peer: &Arc<PeerShared>, taken: &mut Taken) {
        let mut number = taken.first;
        for entry in taken.earlier.drain(..) {
            match entry {
                Entry::Messages(mut messages) => {
                    number += self.handle_staged(now, peer, number, &mut messages);
                }
                Entry::Order(order) => self.carry_out(now, peer, number, order),
            }
        }
        self.handle_staged(now, peer, number, &mut taken.open);
        if !taken.datagrams.is_empty() {
            let datagrams = &mut taken.datagrams;
            self.core
                .driver()
                .handle_staged_datagrams(now, peer.id, datagrams);
        }
    }

    /// Passes on messages, of which the first has this number, and returns how many they are.
    fn handle_staged(
        &mut self,
        now: Instant,
        peer: &PeerShared,
        number: u64,
        messages: &mut OpenBatch,
    ) -> u64 {
        let count = messages.messages() as u64;
        if count > 0 {
            let mut driver = self.core.driver();
            driver.number_next(now, peer.id, number.into());
            driver.handle_staged(now, peer.id, messages);
        }
        count
    }

    /// Carries out an order that was given before the message with this number.
    fn carry_out(&mut self, now: Instant, peer: &Arc<PeerShared>, number: u64, order: Order) {
        let id = peer.id;
        trace!(peer = ?id, ?order, "an order");
        match order {
            Order::Add => {
                if let Err(error) = self.core.add_peer(now, id) {
                    peer.refuse(error);
                }
            }
            Order::AddAddress(addr) => {
                if let Err(error) = self.core.add_address(now, PeerAddr::new(id, addr)) {
                    peer.refuse(error);
                }
            }
            Order::RemoveAddress(addr) => {
                // A peer that the machine does not know has no address to remove.
                let _ = self.core.remove_address(now, PeerAddr::new(id, addr));
                self.fail_hopeless_connects(id);
            }
            Order::Connect(responder) => self.connect(now, id, responder),
            Order::Flush(token, responder) => self.flush(now, id, token, responder),
            Order::ConfirmNext(token, responder) => {
                self.flushes.insert(token, responder);
                let mut driver = self.core.driver();
                driver.number_next(now, id, number.into());
                driver.confirm_next(now, id, token);
            }
            Order::ExpireNext(until) => {
                let mut driver = self.core.driver();
                driver.number_next(now, id, number.into());
                driver.expire_next(now, id, until);
            }
            Order::Cancel(number, responder) => {
                let outcome = self.core.cancel(now, id, number);
                responder.answer(outcome.map_err(|error| self.shared.rejected(error)));
            }
            Order::CancelFlush(token) => {
                self.flushes.remove(&token);
                // A peer that was forgotten has no flushes.
                let _ = self.core.cancel_flush(now, id, token);
            }
            Order::ReturnLosses(losses) => {
                // No flush can follow to a peer that was forgotten.
                let _ = self.core.driver().return_losses(now, id, &losses);
            }
            Order::Disconnect(responder) => {
                self.collect_taken(now);
                let outcome = self.core.disconnect(now, id);
                self.forget_datagrams(id);
                self.session_ended(now, id);
                self.done(responder, outcome);
            }
            Order::Forget(responder) => {
                let left = self.shared.inbox.forget(id, &mut self.taken);
                self.mark_taken(now, left);
                let outcome = self.core.forget(now, id);
                self.readable.remove(&id);
                self.forget_datagrams(id);
                self.session_ended(now, id);
                self.done(responder, outcome);
            }
            Order::Block(responder) => {
                self.collect_taken(now);
                let outcome = self.core.block(now, id);
                self.forget_datagrams(id);
                self.session_ended(now, id);
                self.done(responder, outcome);
            }
            Order::Unblock(responder) => {
                let outcome = self.core.unblock(id);
                self.done(responder, outcome);
            }
            Order::Protect(responder) => {
                let outcome = self.core.protect(id);
                self.done(responder, outcome);
            }
            Order::Unprotect(responder) => {
                let outcome = self.core.unprotect(id);
                self.done(responder, outcome);
            }
            Order::Metrics(responder) => responder.answer(self.core.peer_metrics(id)),
            Order::Explain(responder) => responder.answer(self.core.explain(now, id)),
        }
    }

    /// Answers calls of `connect` that wait for the session's next dial: no event answers them if no dial was
    /// under way.
    fn session_ended(&mut self, now: Instant, peer: PeerId) {
        self.pass_events(now);
        self.answer_connects(
            now,
            peer,
            ConnectionStatus::Disconnected,
            &Reason::CalledOff,
        );
    }

    /// Has an order answered at the end of the turn.
    fn done(&mut self, responder: Responder<Result<(), Rejected>>, outcome: Result<(), PeerError>) {
        let outcome = outcome.map_err(|error| self.shared.rejected(error));
        self.done.push(Done { responder, outcome });
    }

    /// Answers calls of `connect` that wait for a dial, once there is nowhere to dial.
    fn fail_hopeless_connects(&mut self, peer: PeerId) {
        let dialling = self.core.status(peer) == Some(ConnectionStatus::Connecting);
        let Err(error @ (PeerError::NoAddress(_) | PeerError::UnknownPeer(_))) =
            self.core.verdict(peer)
        else {
            return;
        };
        if dialling {
            return;
        }
        for responder in self.connects.remove(&peer).unwrap_or_default() {
            responder.answer(Err(self.shared.rejected(error.clone()).into()));
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        peer: PeerId,
        responder: Responder<Result<(), ConnectError>>,
    ) {
        self.pass_events(now);
        let known = self.core.connect(now, peer);
        if let Err(error) = known {
            responder.answer(Err(self.shared.rejected(error).into()));
        } else if self.core.status(peer) == Some(ConnectionStatus::Connected) {
            let shared = self.shared.peer(peer);
            self.lend_to(now, &shared);
            responder.answer(Ok(()));
        } else {
            self.connects.entry(peer).or_default().push(responder);
        }
    }

    fn flush(
        &mut self,
        now: Instant,
        peer: PeerId,
        token: u64,
        responder: Responder<Result<(), FlushError>>,
    ) {
        self.flushes.insert(token, responder);
        if let Err(error) = self.core.flush(now, peer, token)
            && let Some(responder) = self.flushes.remove(&token)
        {
            responder.answer(Err(self.shared.rejected(error).into()));
        }
    }

    /// Answers a flush, or has its losses reported by the next one if its caller has stopped waiting.
    pub(super) fn flushed(
        &mut self,
        now: Instant,
        peer: PeerId,
        token: u64,
        result: Result<(), Losses>,
    ) {
        let Some(responder) = self.flushes.remove(&token) else {
            return;
        };
        let unread = responder.try_answer(result.map_err(FlushError::Undelivered));
        if let Err(Err(FlushError::Undelivered(losses))) = unread {
            // No flush can follow to a peer that was forgotten.
            let _ = self.core.driver().return_losses(now, peer, &losses);
        }
    }
}
