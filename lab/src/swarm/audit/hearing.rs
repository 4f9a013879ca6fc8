//! Passes events to auditors, and messages that are taken back.

use std::time::Duration;

use quicpool_core::{Cancelled, Event, MessageNumber, Reason, Undeliverable};

use super::{Audit, bounds, pairs::between};
use crate::{swarm::marks::sometimes, watch::Scene};

impl Audit {
    pub(super) fn hear(&mut self, scene: &Scene<'_>, place: usize, event: &Event) {
        let (log, process) = (&mut self.log, &mut self.processes[place]);
        process.lifecycle.hear(log, event);
        bounds::hear(log, &process.config, &process.lifecycle);
        process.tally.hear(log, event);
        process.flushes.hear(log, event);
        sometimes!(
            log,
            matches!(event, Event::Writable { .. }),
            "an outbox had room again"
        );
        let peer = event.peer();
        let Some(peer) = self.peers.iter().position(|other| Some(*other) == peer) else {
            return;
        };
        self.hear_of_health(place, peer, event);
        self.hear_of_loss(place, peer, event);
        let Event::StatusChanged { reason, .. } = event else {
            return;
        };
        self.hear_of_connection(scene, place, peer, event);
        let (log, process) = (&mut self.log, &mut self.processes[place]);
        let is_busy = process.sample.peers.get(peer).copied().unwrap_or_default();
        sometimes!(
            log,
            *reason == Reason::Evicted && is_busy.outbox_bytes > 0,
            "a busy peer gave up its slot for another"
        );
        let pair = &mut process.pairs[peer];
        // A manager that ends schedules no reconnect.
        if self.hidden.contains(&place) && !process.flushes.is_ending() {
            pair.visits.hear(log, event);
        }
        pair.backoff.hear(log, &process.config, event);
        pair.expiry.hear(log, event);
    }

    fn hear_of_loss(&mut self, place: usize, peer: usize, event: &Event) {
        let (log, pair) = (&mut self.log, &mut self.processes[place].pairs[peer]);
        pair.left_out.hear(log, event);
        let Event::Undelivered {
            messages,
            reason: Undeliverable::Expired | Undeliverable::TooLarge { .. },
            ..
        } = event
        else {
            return;
        };
        let is_too_long =
            matches!(event, Event::Undelivered { reason, .. } if *reason != Undeliverable::Expired);
        let is_alone = is_too_long && self.records.is_amid_others(place, peer, messages);
        sometimes!(
            log,
            is_alone,
            "a message was too long for its receiver alone"
        );
        // What was owed has become a void.
        pair.punctual.excuse();
        for number in messages.clone() {
            self.records.leave_out(log, place, peer, number);
        }
    }

    /// The application of a node has taken messages back.
    pub(super) fn withdraw(
        &mut self,
        from: usize,
        to: usize,
        numbers: &[MessageNumber],
        outcomes: &[Cancelled],
    ) {
        let (log, process) = (&mut self.log, &mut self.processes[from]);
        let Some(pair) = process.pairs.get_mut(to) else {
            return;
        };
        for (number, outcome) in numbers.iter().zip(outcomes) {
            let number = number.get();
            if *outcome == Cancelled::TooLate {
                pair.left_out.refuse(log, number);
                continue;
            }
            pair.left_out.withdraw(log, number);
            pair.punctual.excuse();
            process.tally.withdraw();
            self.records.leave_out(log, from, to, number);
        }
    }

    fn hear_of_health(&mut self, place: usize, peer: usize, event: &Event) {
        let theirs = Some(&self.processes[peer]).filter(|process| process.is_up());
        let theirs = theirs.map_or(Duration::ZERO, |process| process.config.liveness_timeout);
        let process = &mut self.processes[place];
        let health = &mut process.pairs[peer].health;
        health.hear(&mut self.log, &process.config, theirs, event);
    }

    fn hear_of_connection(&mut self, scene: &Scene<'_>, place: usize, peer: usize, event: &Event) {
        let (at, end) = between(place, peer);
        let between = &mut self.between[at];
        let log = &mut self.log;
        if [place, peer]
            .iter()
            .any(|at| self.processes[*at].is_held_up)
        {
            between.calm.disturb(log);
        }
        let faults = scene.faults_between(scene.node, self.nodes[peer]);
        let calm_since = between.calm.look(log.at, faults);
        between.agreement.hear(log, end, self.peers[place], event);
        let process = &mut self.processes[place];
        let kept_alive = &mut process.pairs[peer].kept_alive;
        kept_alive.hear(log, &process.config, event, calm_since);
    }
}
