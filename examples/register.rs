//! An application that is not quicpool's own, on simulated nodes in every kind of trouble, as
//! `docs/simulation.md` shows it. `cargo test --example register` runs its test, and `cargo run --example register`
//! does the same.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an application passes over what it has no use for"
)]

use quicpool::Message;
use quicpool_sim::app::{App, Context, Host, Input, Options, check};
use quicpool_sim::{ms, secs};

/// A register that every node may write. Of two writes the one with the greater stamp wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Register {
    stamp: u64,
    value: u64,
}

impl App for Register {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        match input {
            Input::Message(Message { payload, .. }) => self.merge(Self::read(payload), cx),
            Input::Started | Input::Timer("gossip") => {
                for peer in &cx.host.peers {
                    cx.send(*peer, self.bytes());
                }
                cx.set_timer("gossip", ms(500));
            }
            _ => {}
        }
    }
}

impl Register {
    fn restore(host: &Host) -> Self {
        host.saved.as_deref().map(Self::read).unwrap_or_default()
    }

    fn write(&mut self, value: u64, cx: &mut Context<'_>) -> Self {
        let stamp = self.stamp + 1;
        self.merge(Self { stamp, value }, cx);
        *self
    }

    fn merge(&mut self, other: Self, cx: &mut Context<'_>) {
        if other > *self {
            *self = other;
            cx.save(self.bytes()); // survives a crash
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [self.stamp.to_be_bytes(), self.value.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (stamp, value) = bytes.split_at(8);
        let (stamp, value) = (number(stamp), number(value));
        Self { stamp, value }
    }
}

#[cfg_attr(test, test)]
fn registers_agree() {
    let options = Options::nodes(3);
    check("registers_agree", options, Register::restore, |sim| {
        let mut last = Register::default();
        for value in 0..30 {
            let place = sim.random() as usize % 3;
            let written = sim.call(place, |register, cx| register.write(value, cx));
            last = last.max(written.unwrap_or_default()); // none if it was down
            sim.advance(secs(1));
        }
        sim.eventually("all agree on the last write", secs(60), |sim| {
            sim.apps().all(|register| *register == last)
        });
    });
}

fn main() {
    registers_agree();
}
