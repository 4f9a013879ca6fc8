//! Watches of a world while it is played.

use std::time::Duration;

use quicpool_core::Event;

use super::{Step, Violation};
use crate::Net;

/// Gets what happens in a world, in the order of its time, and changes nothing.
///
/// Events come when they are looked at, at the end of the pause behind a step; those of one
/// pause come in their order.
pub trait Watch {
    /// A step is taken, and makes a difference or none.
    fn step(&mut self, at: Duration, step: &Step, effect: Effect) {
        let _ = (at, step, effect);
    }

    /// A machine has reported an event to its application.
    fn event(&mut self, at: Duration, node: usize, event: &Event) {
        let _ = (at, node, event);
    }

    /// A part of the run begins.
    fn phase(&mut self, at: Duration, phase: Phase) {
        let _ = (at, phase);
    }

    /// The core has settled, or its time is up; the nodes have not forgotten each other.
    fn settled(&mut self, net: &Net) {
        let _ = net;
    }

    /// Something does not hold.
    fn violation(&mut self, violation: &Violation) {
        let _ = violation;
    }
}

/// Ignores everything.
impl Watch for () {}

/// Whether a step makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Some,
    /// It does not: a node that is down cannot be asked to send.
    None,
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Steps are taken.
    Storm,
    /// The core is well, and has to settle everything within this time.
    Convergence {
        /// See [`Scenario::convergence_max`](super::Scenario::convergence_max).
        within: Duration,
    },
    /// All nodes forget each other, and nothing may be left.
    Farewell,
}
