//! Messages that are taken back, and those that are worth nothing after a time.

use std::{ops::Range, time::Duration};

use quicpool_core::{Cancelled, MessageNumber, PeerId, Undeliverable, driver::OpenBatch};

use super::World;
use crate::swarm::{Property, When, Withdrawal};

/// Messages to take back once their sender has another connection.
#[derive(Debug)]
pub(super) struct Planned {
    /// Of the sender.
    life: u32,
    withdrawal: Withdrawal,
    /// Connections that it had by then.
    connections: u64,
}

impl World<'_> {
    pub(super) fn send_until(
        &mut self,
        from: usize,
        to: usize,
        lengths: &[usize],
        lifetime: Duration,
    ) -> bool {
        if !self.can_act(from) {
            return false;
        }
        let until = self.net.now() + lifetime;
        let (node, peer) = (self.nodes[from], self.nodes[to]);
        for length in lengths {
            let message = self.next_message(from, to, *length);
            let sent = self.net.stage_until(node, peer, &message, lifetime);
            if sent.is_ok() {
                let line = self.lines.entry((from, self.lives[from], to)).or_default();
                line.send_until(message.len(), until);
                self.messages += 1;
            } else {
                self.net.want_room(node, peer, message.len());
            }
        }
        self.net.act(node);
        true
    }

    /// Takes messages back, or plans it.
    pub(super) fn withdraw(&mut self, withdrawal: &Withdrawal) -> bool {
        let &Withdrawal { from, to, when, .. } = withdrawal;
        if !self.can_act(from) {
            return false;
        }
        match when {
            When::Now => self.withdraw_now(withdrawal),
            When::Reconnected => {
                self.planned.push(Planned {
                    life: self.lives[from],
                    withdrawal: withdrawal.clone(),
                    connections: self.connections(from, to),
                });
                true
            }
        }
    }

    fn withdraw_now(&mut self, withdrawal: &Withdrawal) -> bool {
        let &Withdrawal {
            from,
            to,
            ref lengths,
            behind,
            count,
            when: _,
        } = withdrawal;
        self.observe();
        let held = self.held(from, to);
        let staged: usize = lengths
            .iter()
            .map(|length| self.stage_one(from, to, *length))
            .sum();
        let line = self.lines.entry((from, self.lives[from], to)).or_default();
        let end = line.sent().saturating_sub(behind as u64);
        let numbers = end.saturating_sub(count as u64)..end;
        let numbers: Vec<MessageNumber> = numbers.rev().map(MessageNumber::from).collect();
        let (node, peer) = (self.nodes[from], self.nodes[to]);
        let Ok(outcomes) = self.net.cancel(node, peer, &numbers) else {
            return false;
        };
        let withdrawn = numbers.iter().zip(outcomes);
        let withdrawn = withdrawn.filter(|(_, outcome)| *outcome == Cancelled::Withdrawn);
        let withdrawn: Vec<u64> = withdrawn.map(|(number, _)| number.get()).collect();
        self.withdrawn(from, to, &withdrawn, held + staged);
        !numbers.is_empty()
    }

    /// Sends a message on which its sender does not act yet. Returns how many bytes it needs.
    fn stage_one(&mut self, from: usize, to: usize, length: usize) -> usize {
        let message = self.next_message(from, to, length);
        let sent = self.net.stage(self.nodes[from], self.nodes[to], &message);
        if sent.is_err() {
            return 0;
        }
        let line = self.lines.entry((from, self.lives[from], to)).or_default();
        line.send(message.len());
        self.messages += 1;
        OpenBatch::cost(message.len())
    }

    /// Messages were taken back. What they needed is free, but for a byte of each.
    fn withdrawn(&mut self, from: usize, to: usize, numbers: &[u64], held_before: usize) {
        let node = self.nodes[from];
        let key = (from, self.lives[from], to);
        let line = self.lines.entry(key).or_default();
        let freed = numbers.iter().map(|number| {
            let cost = OpenBatch::cost(line.len_of(*number));
            cost - OpenBatch::cost(0)
        });
        let freed: usize = freed.sum();
        let wrong: Vec<String> = numbers
            .iter()
            .filter_map(|number| line.withdraw(*number))
            .collect();
        for wrong in wrong {
            self.violated(Property::LeftOut, format!("{node} to n{to}: {wrong}"));
        }
        let held = self.held(from, to);
        if held + freed > held_before {
            let what = format!(
                "{node} holds {held} bytes for n{to}, and has withdrawn {freed} of {held_before}"
            );
            self.violated(Property::LeftOut, what);
        }
    }

    /// Bytes that a node holds for another.
    fn held(&self, from: usize, to: usize) -> usize {
        let metrics = self.net.peer_metrics(self.nodes[from], self.nodes[to]);
        metrics.map_or(0, |metrics| metrics.outbox_bytes)
    }

    /// A process has an event of messages that are not delivered.
    pub(super) fn undelivered(
        &mut self,
        place: usize,
        at: Duration,
        peer: PeerId,
        messages: &Range<u64>,
        why: Undeliverable,
    ) {
        let Some(to) = self.place_of(peer) else {
            return;
        };
        let accepts = self.accepts[to];
        let line = self
            .lines
            .entry((place, self.lives[place], to))
            .or_default();
        if let Some(wrong) = line.report(at, messages.clone(), why, accepts) {
            let node = self.nodes[place];
            self.violated(Property::LeftOut, format!("{node} to n{to}: {wrong}"));
        }
    }

    // Plans

    /// How many connections a process has had with another.
    fn connections(&self, from: usize, to: usize) -> u64 {
        let metrics = self.net.peer_metrics(self.nodes[from], self.nodes[to]);
        metrics.map_or(0, |metrics| metrics.connections)
    }

    /// Lets time pass until a plan can be carried out, and not beyond this time. Returns whether one can.
    pub(super) fn is_reconnected_by(&mut self, at: Duration) -> bool {
        let (lives, nodes) = (&self.lives, &self.nodes);
        self.planned
            .retain(|planned| planned.life == lives[planned.withdrawal.from]);
        let planned = &self.planned;
        if planned.is_empty() {
            return false;
        }
        let limit = at.saturating_sub(self.net.now());
        self.net.comes_to(limit, |net| {
            planned.iter().any(|planned| {
                let Withdrawal { from, to, .. } = planned.withdrawal;
                let metrics = net.peer_metrics(nodes[from], nodes[to]);
                metrics.is_some_and(|metrics| metrics.connections > planned.connections)
            })
        })
    }

    /// Carries out the plans whose time has come.
    pub(super) fn withdraw_planned(&mut self) {
        for planned in std::mem::take(&mut self.planned) {
            let Withdrawal { from, to, .. } = planned.withdrawal;
            if self.connections(from, to) <= planned.connections {
                self.planned.push(planned);
            } else if self.can_act(from) {
                self.withdraw_now(&planned.withdrawal);
            }
        }
    }
}
