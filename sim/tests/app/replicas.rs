//! A replicated register that can be written wrong in three ways, as people do write it wrong.

use quicpool_core::Message;
use quicpool_sim::{
    app::{App, Context, Host, Input, Options, Sim},
    ms, secs,
};

/// The fault of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// A write is acknowledged before it is durable.
    ForgetsToSave,
    /// A write is sent once, as if a node that is down would get it later.
    SendsOnce,
    /// Of two writes with one stamp the first to arrive wins.
    IgnoresTies,
}

#[derive(Debug, Clone)]
pub(crate) struct Replica {
    flaw: Flaw,
    pub(crate) stamp: u64,
    pub(crate) value: u64,
}

impl App for Replica {
    fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
        match input {
            Input::Message(Message { payload, .. }) => {
                let (stamp, value) = read(payload);
                self.merge(stamp, value, cx);
            }
            Input::Started if self.flaw == Flaw::SendsOnce => {}
            Input::Started | Input::Timer("gossip") => {
                self.tell_all(cx);
                cx.set_timer("gossip", ms(500));
            }
            _ => {}
        }
    }
}

impl Replica {
    pub(crate) fn maker(flaw: Flaw) -> impl Fn(&Host) -> Self + 'static {
        move |host| {
            let (stamp, value) = host.saved.as_deref().map(read).unwrap_or_default();
            Self { flaw, stamp, value }
        }
    }

    fn write(&mut self, value: u64, cx: &mut Context<'_>) -> (u64, u64) {
        self.merge(self.stamp + 1, value, cx);
        if self.flaw == Flaw::SendsOnce {
            self.tell_all(cx);
        }
        (self.stamp, self.value)
    }

    fn merge(&mut self, stamp: u64, value: u64, cx: &mut Context<'_>) {
        let wins = match self.flaw {
            Flaw::IgnoresTies => stamp > self.stamp,
            Flaw::None | Flaw::ForgetsToSave | Flaw::SendsOnce => {
                (stamp, value) > (self.stamp, self.value)
            }
        };
        if wins {
            (self.stamp, self.value) = (stamp, value);
            if self.flaw != Flaw::ForgetsToSave {
                cx.save(self.bytes());
            }
        }
    }

    fn tell_all(&self, cx: &mut Context<'_>) {
        for peer in &cx.host.peers {
            cx.send(*peer, self.bytes());
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [self.stamp.to_be_bytes(), self.value.to_be_bytes()].concat()
    }
}

fn read(bytes: &[u8]) -> (u64, u64) {
    let number = |part: &[u8]| u64::from_be_bytes(part.try_into().expect("eight bytes"));
    (number(&bytes[..8]), number(&bytes[8..]))
}

pub(crate) fn options() -> Options {
    Options::nodes(3)
}

pub(crate) const AGREE: &str = "all agree on the last write";

/// Writes come from everywhere, and in the end all nodes have the last.
pub(crate) fn body(sim: &mut Sim<Replica>) {
    let mut last = (0, 0);
    for value in 1..30 {
        let place = sim.random() as usize % sim.len();
        let written = sim.call(place, |replica, cx| replica.write(value, cx));
        last = last.max(written.unwrap_or_default());
        sim.advance(secs(1));
    }
    sim.eventually(AGREE, secs(60), |sim| {
        sim.apps()
            .all(|replica| (replica.stamp, replica.value) == last)
    });
}
