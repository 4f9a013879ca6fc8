//! Answers to senders: that their messages are taken, and the results of their flushes.

use std::{collections::BTreeMap, ops::Range};

use quicpool_core::Losses;

use super::World;
use crate::{
    Driven,
    swarm::{Property, ledger::Line},
};

/// A flush that is not answered.
#[derive(Debug, Clone)]
pub(super) struct Flush {
    from: usize,
    /// Of the sender.
    life: u32,
    to: usize,
    /// The messages that it waits for.
    covers: Range<u64>,
}

impl World<'_> {
    pub(super) fn flush(&mut self, from: usize, to: usize) -> bool {
        let knows = |world: &Self| {
            let (from, to) = (world.nodes[from], world.nodes[to]);
            world.net.peer_metrics(from, to).is_some()
        };
        if !self.can_act(from) || !knows(self) {
            return false;
        }
        let life = self.lives[from];
        let line = self.lines.get(&(from, life, to));
        let covers = 0..line.map_or(0, Line::sent);
        let flush = Flush {
            from,
            life,
            to,
            covers,
        };
        let token = self.flushes_begun;
        self.flushes_begun += 1;
        self.flushes.insert(token, flush);
        self.audit.borrow_mut().flush(from, to, token);
        self.net.flush(self.nodes[from], self.nodes[to], token);
        true
    }

    pub(super) fn send_confirmed(&mut self, from: usize, to: usize, lengths: &[usize]) -> bool {
        if !self.can_act(from) {
            return false;
        }
        let mut any = false;
        for length in lengths {
            let message = self.next_message(from, to, *length);
            let life = self.lives[from];
            let token = self.flushes_begun;
            let (node, peer) = (self.nodes[from], self.nodes[to]);
            if self
                .net
                .stage_confirmed(node, peer, &message, token)
                .is_err()
            {
                continue;
            }
            any = true;
            self.messages += 1;
            self.flushes_begun += 1;
            let line = self.lines.entry((from, life, to)).or_default();
            let covers = line.sent()..line.sent() + 1;
            line.send(message.len());
            let flush = Flush {
                from,
                life,
                to,
                covers,
            };
            self.flushes.insert(token, flush);
            self.audit.borrow_mut().confirm(from, to, token);
        }
        self.net.act(self.nodes[from]);
        any
    }

    /// The callers of flushes wait no longer.
    pub(super) fn cancel_flushes(&mut self, from: usize) -> bool {
        if !self.can_act(from) {
            return false;
        }
        self.observe();
        let life = self.lives[from];
        let is_of_it = |flush: &Flush| (flush.from, flush.life) == (from, life);
        let flushes = std::mem::take(&mut self.flushes).into_iter();
        let (open, others): (BTreeMap<_, _>, _) = flushes.partition(|(_, flush)| is_of_it(flush));
        self.flushes = others;
        for (token, flush) in &open {
            self.audit.borrow_mut().cancel_flush(from, flush.to, *token);
            let (from, to) = (self.nodes[from], self.nodes[flush.to]);
            self.net.cancel_flush(from, to, *token);
        }
        !open.is_empty()
    }

    /// A flush has ended.
    pub(super) fn flushed(&mut self, place: usize, token: u64, result: &Result<(), Losses>) {
        let node = self.nodes[place];
        let Some(flush) = self.flushes.remove(&token) else {
            let what = format!("{node} is told {result:?} of flush {token}, which has ended");
            return self.violated(Property::Acknowledged, what);
        };
        let line = self.lines.get(&(flush.from, flush.life, flush.to));
        let mut missing = line.map_or_else(Vec::new, |line| line.missing());
        missing.retain(|number| flush.covers.contains(number));
        if result.is_ok() && !missing.is_empty() {
            let what =
                format!("{node} is told that {flush:?} is done, and {missing:?} are missing");
            self.violated(Property::Acknowledged, what);
        }
    }

    /// Whether living processes of the core know what has become of all that they have sent each
    /// other.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.unacknowledged().next().is_none()
    }

    /// Lists what senders wait for.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = String> {
        let held = self.core_pairs().filter_map(|(from, to)| {
            let (from, to) = (self.nodes[from], self.nodes[to]);
            let messages = self.net.peer_metrics(from, to)?.outbox_messages;
            (messages > 0).then(|| format!("{from} holds {messages} messages for {to}"))
        });
        let is_open = |flush: &&Flush| {
            flush.life == self.lives[flush.from] && self.is_of_core(flush.from, flush.to)
        };
        let open = self.flushes.values().filter(is_open);
        let open = open.map(|flush| format!("{flush:?} is not answered"));
        held.chain(open).chain(self.unanswered())
    }

    /// Calls of applications that wait for the driver, about peers of the core.
    fn unanswered(&self) -> impl Iterator<Item = String> {
        let is_up = |place: &&usize| self.can_act(**place) || self.ended.contains(place);
        let driven = self.driven.iter().filter(is_up);
        let calls = driven.flat_map(|place| {
            let node = self.nodes[*place];
            let calls = self.net.machine_as::<Driven>(node).unanswered();
            calls.map(move |call| (*place, call))
        });
        let of_core = calls.filter(|(place, call)| {
            let peer = call.peer.and_then(|peer| self.place_of(peer));
            peer.is_none_or(|peer| self.is_of_core(*place, peer))
        });
        of_core.map(|(place, call)| format!("n{place}: {call:?} is not answered"))
    }

    /// Pairs of the core whose ends do not share one connection, or none.
    pub(super) fn pairs_apart(&self) -> impl Iterator<Item = (usize, usize)> {
        let audit = self.audit.borrow();
        let once = self.core_pairs().filter(|(a, b)| a < b);
        once.filter(move |(a, b)| audit.are_apart(*a, *b))
    }

    pub(super) fn core_pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pairs().filter(|(a, b)| self.is_of_core(*a, *b))
    }
}
