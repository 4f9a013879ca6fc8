//! The operations of a storm.

use std::time::Duration;

use super::{Effect, HEADER_LEN, World};
use crate::{
    Faults, Net, NodeId,
    swarm::{LinkFault, Operation, Property, Step, Where, audit::FILLING},
};

impl World<'_> {
    pub(super) fn storm(&mut self, steps: &[Step]) {
        for step in steps {
            if self.is_over() {
                return;
            }
            self.carry_out(step);
            self.pass(step.pause);
            self.observe();
        }
    }

    fn carry_out(&mut self, step: &Step) {
        let effect = match self.apply(&step.operation) {
            true => Effect::Some,
            false => Effect::None,
        };
        if effect == Effect::Some {
            *self.injected.entry(step.operation.name()).or_default() += 1;
        }
        self.watch.step(self.net.now(), step, effect);
    }

    /// Whether the operation made any difference.
    fn apply(&mut self, operation: &Operation) -> bool {
        let nodes = &self.nodes;
        match *operation {
            Operation::Send {
                from,
                to,
                ref lengths,
            } => return self.send(from, to, lengths),
            Operation::SendConfirmed {
                from,
                to,
                ref lengths,
            } => return self.send_confirmed(from, to, lengths),
            Operation::SendUntil {
                from,
                to,
                ref lengths,
                lifetime,
            } => return self.send_until(from, to, lengths, lifetime),
            Operation::Withdraw(ref withdrawal) => return self.withdraw(withdrawal),
            Operation::SendDatagrams {
                from,
                to,
                ref lengths,
            } => return self.send_datagrams(from, to, lengths),
            Operation::Connect(a, b) => return self.connect(a, b),
            Operation::ConnectBoth(a, b) => {
                let both = [self.connect(a, b), self.connect(b, a)];
                return both == [true, true];
            }
            Operation::Flush(a, b) => return self.flush(a, b),
            Operation::LeaveFlush(a, b) => return self.flush(a, b) && self.cancel_flushes(a),
            Operation::Disconnect(a, b) => return self.disconnect(a, b),
            Operation::Close { node, last_words } => return self.close(node, last_words),
            Operation::Abort(a) => return self.abort(a),
            Operation::Cut(a, b) => self.net.cut(nodes[a], nodes[b]),
            Operation::CutOneWay(a, b) => self.net.cut_one_way(nodes[a], nodes[b]),
            Operation::Heal => self.net.heal_all(),
            Operation::Link { on, fault } => self.change_links(on, fault),
            Operation::Clog { from, to, time } => self.net.clog(nodes[from], nodes[to], time),
            Operation::Rebind(a) => self.net.rebind(nodes[a]),
            Operation::Move(a) => self.roam(a),
            Operation::Freeze { node, time } => return self.freeze(node, time),
            Operation::BlockSocket { node, time } => {
                self.net.block_socket(nodes[node], time);
                self.audit.borrow_mut().hold_up(nodes[node]);
            }
            Operation::Crash(a) => return self.crash(a),
            Operation::Restart(a) => return self.restart(a),
            Operation::StepClock { node, ahead } => self.step_clock(node, ahead),
            Operation::PauseReader(a) => {
                self.net.pause_reader(nodes[a]);
                return self.paused.insert(a);
            }
            Operation::ReadUpTo { node, messages } => {
                self.net.read_up_to(nodes[node], messages);
                self.paused.insert(node);
            }
            Operation::ResumeReader(a) => return self.resume(a),
        }
        true
    }

    // Applications

    fn send(&mut self, from: usize, to: usize, lengths: &[usize]) -> bool {
        if !self.can_act(from) {
            return false;
        }
        for length in lengths {
            self.send_one(from, to, *length);
        }
        if self.driven.contains(&from) {
            self.net.act(self.nodes[from]);
        }
        true
    }

    fn send_one(&mut self, from: usize, to: usize, length: usize) {
        let message = self.next_message(from, to, length);
        let line = (from, self.lives[from], to);
        let line = self.lines.entry(line).or_default();
        let (node, peer) = (self.nodes[from], self.nodes[to]);
        // Threads that call the handle are faster than the event loop, which finds all of it staged.
        let sent = match self.driven.contains(&from) {
            true => self.net.stage(node, peer, &message),
            false => self.net.try_send(node, peer, &message),
        };
        if sent.is_ok() {
            line.send(message.len());
            self.messages += 1;
        } else {
            self.net.want_room(node, peer, message.len());
        }
    }

    /// The next message of a line: it begins with the sender's life and its number.
    pub(super) fn next_message(&mut self, from: usize, to: usize, length: usize) -> Vec<u8> {
        let life = self.lives[from];
        let line = self.lines.entry((from, life, to)).or_default();
        let mut message = life.to_be_bytes().to_vec();
        message.extend_from_slice(&line.sent().to_be_bytes());
        message.resize(HEADER_LEN.max(length), FILLING);
        message
    }

    fn connect(&mut self, a: usize, b: usize) -> bool {
        self.can_act(a) && self.net.try_connect(self.nodes[a], self.nodes[b]).is_ok()
    }

    fn disconnect(&mut self, a: usize, b: usize) -> bool {
        if !self.can_act(a) {
            return false;
        }
        self.observe();
        self.disturb(|from, to| (from, to) == (a, b) || (from, to) == (b, a));
        self.audit.borrow_mut().end_session(a, b);
        self.void_datagrams(a, |from| from == b);
        self.net.disconnect(self.nodes[a], self.nodes[b]);
        true
    }

    pub(super) fn resume(&mut self, a: usize) -> bool {
        if !self.paused.remove(&a) {
            return false;
        }
        self.net.resume_reader(self.nodes[a]);
        true
    }

    // Ends

    /// Closes a manager. What was sent last may be staged still.
    fn close(&mut self, a: usize, last_words: usize) -> bool {
        if !self.can_act(a) {
            return false;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != a) {
            for _ in 0..last_words {
                self.send_one(a, to, HEADER_LEN);
            }
        }
        self.end(a, Net::close)
    }

    /// Ends the manager of a node, whose process stays. It is down for all that is done from here on.
    fn end(&mut self, a: usize, end: impl FnOnce(&mut Net, NodeId)) -> bool {
        if !self.can_act(a) {
            return false;
        }
        self.observe();
        self.disturb(|from, to| from == a || to == a);
        self.audit.borrow_mut().end(a);
        end(&mut self.net, self.nodes[a]);
        // Refused, or accounted for as all others.
        for to in (0..self.nodes.len()).filter(|to| *to != a) {
            self.send_one(a, to, HEADER_LEN);
        }
        self.down.insert(a)
    }

    fn abort(&mut self, a: usize) -> bool {
        if !self.can_act(a) {
            return false;
        }
        // The callers of a handle end with it.
        if self.driven.contains(&a) {
            self.cancel_flushes(a);
        }
        self.end(a, Net::abort)
    }

    /// A manager has ended: whatever it has accepted was taken or is reported.
    pub(super) fn closed(&mut self, a: usize) {
        self.ended.insert(a);
        let life = self.lives[a];
        let of_it = self
            .lines
            .iter()
            .filter(|((from, of, _), _)| (*from, *of) == (a, life));
        let missing = of_it.map(|((_, _, to), line)| (*to, line.missing()));
        let missing: Vec<_> = missing.filter(|(_, missing)| !missing.is_empty()).collect();
        if !missing.is_empty() {
            let what = format!(
                "{} has ended, and says nothing of {missing:?}",
                self.nodes[a]
            );
            self.violated(Property::LossesReported, what);
        }
    }

    // Processes

    pub(super) fn crash(&mut self, a: usize) -> bool {
        if self.down.contains(&a) {
            return false;
        }
        self.observe();
        self.disturb(|from, to| from == a || to == a);
        self.void_datagrams(a, |_| true);
        self.frozen.remove(&a);
        self.net.crash(self.nodes[a]);
        self.down.insert(a)
    }

    pub(super) fn restart(&mut self, a: usize) -> bool {
        if !self.down.remove(&a) {
            return false;
        }
        // What was sent to the dead one meanwhile has an unknown fate, too.
        self.disturb(|from, to| from == a || to == a);
        self.ended.remove(&a);
        self.void_datagrams(a, |_| true);
        self.lives[a] += 1;
        // A node that is ending may end a session that begins meanwhile.
        let ending = self.down.clone();
        self.disturb(|from, to| from == a && ending.contains(&to));
        self.net.restart(self.nodes[a]);
        self.introduce(a);
        true
    }

    /// Gives a process the addresses of the others. A hidden node dials the others.
    pub(super) fn introduce(&mut self, a: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != a) {
            if !self.hidden.contains(&other) {
                self.net.introduce_one_way(self.nodes[a], self.nodes[other]);
            }
        }
        self.show_up(a);
    }

    /// A hidden node asks for connections to all others.
    pub(super) fn show_up(&mut self, a: usize) {
        if !self.hidden.contains(&a) {
            return;
        }
        for other in (0..self.nodes.len()).filter(|other| *other != a) {
            if !self.hidden.contains(&other) {
                self.connect(a, other);
            }
        }
    }

    fn step_clock(&mut self, a: usize, ahead: Duration) {
        self.crash(a);
        self.net.set_wall_clock(self.nodes[a], ahead);
        self.restart(a);
    }

    pub(super) fn freeze(&mut self, a: usize, time: Duration) -> bool {
        if !self.can_act(a) {
            return false;
        }
        self.net.pause(self.nodes[a]);
        self.audit.borrow_mut().hold_up(self.nodes[a]);
        self.frozen
            .insert(a, self.net.now().saturating_add(time))
            .is_none()
    }

    fn roam(&mut self, a: usize) {
        self.net.rebind(self.nodes[a]);
        for other in (0..self.nodes.len()).filter(|other| *other != a) {
            if self.can_act(other) && !self.hidden.contains(&a) {
                self.net.introduce_one_way(self.nodes[other], self.nodes[a]);
            }
        }
    }

    /// Also for what is sent before the other end hears of it.
    fn disturb(&mut self, concerns: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| concerns(from, *to)) {
                self.disturbed.insert((from, self.lives[from], to));
            }
        }
    }

    // Links

    fn change_links(&mut self, on: Where, fault: LinkFault) {
        let now = self.net.now();
        let pairs: Vec<(usize, usize)> = match on {
            Where::Link(from, to) => vec![(from, to)],
            // What a link was in the beginning is not the same for all.
            Where::Everywhere if fault == LinkFault::None => self.pairs().collect(),
            Where::Everywhere => {
                let any = Faults::default();
                return self
                    .net
                    .faults(|faults| change(faults, now, fault, any.clone()));
            }
        };
        for (from, to) in pairs {
            let profile = self.profile(from, to).clone();
            let ends = (self.nodes[from], self.nodes[to]);
            self.net.faults_between(ends.0, ends.1, |faults| {
                change(faults, now, fault, profile);
            });
        }
    }
}

/// Lets a link do one thing more, or makes it again what it was in the beginning.
fn change(faults: &mut Faults, now: Duration, fault: LinkFault, profile: Faults) {
    match fault == LinkFault::None {
        true => *faults = profile,
        false => fault.impose(now, faults),
    }
}
