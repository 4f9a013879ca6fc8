//! Steps in words.

use std::fmt;

use super::{
    fault::Fault,
    step::{Packet, Step},
};
use crate::peer::LinkId;

impl Step {
    /// In words; `name` is what to call a connection.
    pub(super) fn tell(&self, name: impl Fn(LinkId) -> String) -> String {
        match *self {
            Self::Dial(end) => format!("{end} dials"),
            Self::Arrives(link, end, packet) => {
                format!("{packet} of {} arrives at {end}", name(link))
            }
            Self::Answers(link, end) => format!("{} answers a ping of {end}", name(link)),
            Self::Prefers(link, end) => format!("{end} sends on {} instead", name(link)),
            Self::Notices(link, end) => format!("{end} finds that {} is dead", name(link)),
            Self::Fault(fault) => match fault {
                Fault::Drop(link) => format!("FAULT: {} is dead, and nobody is told", name(link)),
                Fault::Late(link, end) => {
                    format!("FAULT: hello of {} arrives late at {end}", name(link))
                }
                Fault::LoseClose(link, end) => {
                    format!("FAULT: the close of {} to {end} is lost", name(link))
                }
                Fault::Break(link, end) => format!("FAULT: {end} closes {}", name(link)),
                Fault::Evict(end) => format!("FAULT: {end} evicts the other"),
                Fault::Disconnect(end) => format!("FAULT: {end} ends the session"),
                Fault::Full(link, end) => format!("FAULT: {end} has no slot for {}", name(link)),
                Fault::Restart(end, clock) => {
                    format!("FAULT: {end} starts again, its clock {clock:?}")
                }
            },
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flight => "a flight",
            Self::Hello => "hello",
            Self::Close => "the close",
        })
    }
}
