//! Datagrams: what is sent once, and may be taken once.

use quicpool_core::Message;

use super::{HEADER_LEN, World};
use crate::swarm::{Property, audit::FILLING};

/// One that was accepted.
#[derive(Debug)]
pub(super) struct Sent {
    bytes: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be taken.
    Open,
    Taken,
    /// The connection that it was sent on has ended at the receiver's end by its own doing.
    Void,
}

impl World<'_> {
    pub(super) fn send_datagrams(&mut self, from: usize, to: usize, lengths: &[usize]) -> bool {
        if !self.can_act(from) {
            return false;
        }
        let life = self.lives[from];
        let mut any = false;
        for length in lengths {
            let row = self.datagrams.entry((from, life, to)).or_default();
            let mut payload = life.to_be_bytes().to_vec();
            payload.extend_from_slice(&(row.len() as u64).to_be_bytes());
            payload.resize(HEADER_LEN.max(*length), FILLING);
            // Noted before: it may be taken at once.
            row.push(Sent {
                bytes: payload.len(),
                state: State::Open,
            });
            let (from, to) = (self.nodes[from], self.nodes[to]);
            match self.net.try_send_datagram(from, to, &payload) {
                Ok(()) => any = true,
                Err(_) => {
                    row.pop();
                }
            }
        }
        any
    }

    /// A node has taken datagrams.
    pub(super) fn take_datagrams(&mut self, place: usize, datagrams: &[Message]) {
        let count = datagrams.len() as u64;
        self.audit
            .borrow_mut()
            .take_datagrams(self.nodes[place], count);
        for datagram in datagrams {
            if let Some(wrong) = self.take_datagram(place, datagram) {
                let payload = datagram.payload.len();
                let what = format!("{} took {payload} bytes: {wrong}", self.nodes[place]);
                self.violated(Property::DatagramsOnce, what);
            }
        }
    }

    /// Takes a datagram, and returns what is wrong with it.
    fn take_datagram(&mut self, place: usize, datagram: &Message) -> Option<String> {
        if self.strangers.include(datagram.from) {
            return None;
        }
        let Some((from, life, number)) = self.read(datagram) else {
            return Some("nobody sends such a thing".to_owned());
        };
        let row = self.datagrams.get_mut(&(from, life, place));
        let Some(sent) = row.and_then(|row| row.get_mut(number as usize)) else {
            return Some(format!("n{from} has sent no datagram {number}"));
        };
        let filling = &datagram.payload[HEADER_LEN..];
        if datagram.payload.len() != sent.bytes || filling.iter().any(|byte| *byte != FILLING) {
            return Some(format!("datagram {number} of n{from} is not as it was"));
        }
        match std::mem::replace(&mut sent.state, State::Taken) {
            State::Open => None,
            state @ (State::Taken | State::Void) => {
                Some(format!("datagram {number} of n{from} is {state:?}"))
            }
        }
    }

    /// What was sent to a node by these others cannot be taken any more: it has ended its
    /// connections with them.
    pub(super) fn void_datagrams(&mut self, to: usize, of: impl Fn(usize) -> bool) {
        for ((from, _, receiver), row) in &mut self.datagrams {
            if *receiver == to && of(*from) {
                let open = row.iter_mut().filter(|sent| sent.state == State::Open);
                open.for_each(|sent| sent.state = State::Void);
            }
        }
    }
}
