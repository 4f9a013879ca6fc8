//! After the storm: the core is made well, has time to settle everything, and all say goodbye.

use std::time::Duration;

use quicpool_core::Occupancy;

use super::World;
use crate::{
    secs,
    swarm::{Condition, Outsider, Property, limits::SESSION_TIMEOUT},
};

/// Time between checks whether everything is settled.
const LOOK: Duration = secs(1);

/// Time for the last acknowledgements to reach their senders.
const LAST_WORD: Duration = secs(5);

impl World<'_> {
    /// Makes the core well. Outsiders keep what the storm has left them, and get what they are to
    /// have for ever.
    pub(super) fn heal(&mut self, outsiders: &[Outsider]) {
        // Clogs and standstills end by themselves, and may as well do so now.
        self.net.unclog_all();
        for place in 0..self.nodes.len() {
            self.thaw(place);
        }
        for (a, b) in self.core_pairs().collect::<Vec<_>>() {
            let profile = self.profile(a, b).clone();
            let (from, to) = (self.nodes[a], self.nodes[b]);
            self.net.heal(from, to);
            self.net.faults_between(from, to, |faults| {
                *faults = profile;
                faults.calm();
            });
        }
        for place in self.core.clone() {
            self.restart(place);
            self.resume(place);
        }
        // Nodes that have moved are found again.
        for (a, b) in self.core_pairs().collect::<Vec<_>>() {
            if !self.hidden.contains(&b) {
                self.net.introduce_one_way(self.nodes[a], self.nodes[b]);
            }
        }
        // A hidden node may have ended a session, and the others wait for it.
        for place in self.core.clone() {
            self.show_up(place);
        }
        for (a, b) in self.core_pairs().collect::<Vec<_>>() {
            self.flush(a, b);
        }
        for outsider in outsiders {
            self.leave_ill(outsider.node, outsider.condition);
        }
    }

    fn leave_ill(&mut self, place: usize, condition: Condition) {
        let node = self.nodes[place];
        let others: Vec<usize> = (0..self.nodes.len()).filter(|o| *o != place).collect();
        match condition {
            Condition::Unhealed => {}
            Condition::Crashed => {
                self.crash(place);
            }
            Condition::Frozen => {
                self.freeze(place, Duration::MAX);
            }
            Condition::CutOff => self.net.isolate(node),
            Condition::Deaf => {
                for other in others {
                    self.net.cut_one_way(self.nodes[other], node);
                }
            }
            Condition::Mute => {
                for other in others {
                    self.net.cut_one_way(node, self.nodes[other]);
                }
            }
            Condition::Lossy(loss) => {
                for other in others {
                    let other = self.nodes[other];
                    self.net.faults_between(node, other, |f| f.loss = loss);
                    self.net.faults_between(other, node, |f| f.loss = loss);
                }
            }
        }
    }

    pub(super) fn converge(&mut self, within: Duration) {
        let began = self.net.now();
        let end = began + within;
        self.observe();
        while self.net.now() < end && !self.is_settled() && !self.is_over() {
            self.pass(LOOK);
            self.observe();
        }
        if self.is_settled() {
            self.converged_in = Some(self.net.now() - began);
        }
        // A plan may send messages, which nothing waits for any more.
        self.planned.clear();
        self.pass(LAST_WORD);
        self.observe();
    }

    /// Whether everything that living processes of the core have sent each other is taken or
    /// reported, their senders know it, and each two of them share one connection or none.
    fn is_settled(&self) -> bool {
        let is_taken = self.lines.iter().all(|((from, life, to), line)| {
            let is_past = *life < self.lives[*from];
            is_past || !self.is_of_core(*from, *to) || line.missing().is_empty()
        });
        is_taken && self.is_acknowledged() && self.pairs_apart().next().is_none()
    }

    /// What senders still wait for in the end, and pairs without agreement, where it should all be settled.
    pub(super) fn unsettled(&self) -> Vec<(Property, String)> {
        let unknown = self.unacknowledged();
        let mut found: Vec<_> = unknown.map(|what| (Property::Acknowledged, what)).collect();
        // Pairs that have agreed once may dial or expire at this very moment.
        if self.converged_in.is_none() {
            found.extend(self.pairs_apart().map(|(a, b)| {
                let (a, b) = (self.nodes[a], self.nodes[b]);
                let what = format!("{a} and {b} do not share one connection");
                (Property::OneConnection, what)
            }));
        }
        found
    }

    pub(super) fn is_of_core(&self, a: usize, b: usize) -> bool {
        self.core.contains(&a) && self.core.contains(&b)
    }

    /// Each node that can act forgets all others.
    pub(super) fn leave(&mut self) {
        for (a, b) in self.pairs() {
            if self.can_act(a) {
                self.net.forget(self.nodes[a], self.nodes[b]);
            }
        }
        if self.strangers.acts > 0 {
            // No node forgets strangers: what they have sent is kept until it is read.
            for place in 0..self.nodes.len() {
                self.resume(place);
            }
        }
        // A node that dialled before it forgot the other is a stranger there until its session ends.
        self.pass(SESSION_TIMEOUT + secs(60));
        for place in 0..self.nodes.len() {
            let node = self.nodes[place];
            let occupancy = self.net.occupancy(node);
            if self.can_act(place) && occupancy.as_ref() != Some(&Occupancy::default()) {
                let what = format!("{node} holds {occupancy:?}");
                self.violated(Property::NothingLeftBehind, what);
            }
        }
    }
}
