//! Work to be timed: the machine beside QUIC alone, in the same network.
//!
//! A network of two nodes or of two hundred, and the same links, clock, agenda and hash whatever runs
//! in the nodes. [`Stack::Bare`] is quinn-proto with the least that an application needs: it
//! accepts, dials, reads, writes one stream and closes. It has the machine's settings, transport
//! parameters and credentials, and an index of deadlines like the machine's. It has no peers, no
//! second stream, no acknowledgements of its own, and no bounds.
//!
//! | | bare | the machine |
//! |---|---|---|
//! | a handshake | dial, HANDSHAKE_DONE, close, drain | `connect`, a hello each way, `disconnect`, drain |
//! | messages | chunks of 64 KiB that are not copied, and bytes that are counted | `send` of each, batches, `receive` of each, taken and acknowledged |
//! | idle | keep-alives | the same |
//!
//! Nothing here looks at a clock: `qsim bench` does.

mod bare;
mod load;
mod settings;

pub use load::{Idle, Weather, handshakes, messages};
use quicpool_core::{Config, Sealing};

use crate::Crypto;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// With this cryptography.
    pub crypto: Crypto,
    /// What runs in the nodes.
    pub stack: Stack,
}

/// What runs in the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// quinn-proto alone.
    Bare,
    /// The machine without seals: QUIC protects messages, and nothing else does.
    Plain,
    /// The machine as it comes.
    Sealed,
}

impl Stack {
    /// All of them, the measure for the others first.
    pub const ALL: [Self; 3] = [Self::Bare, Self::Plain, Self::Sealed];

    /// A word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Plain => "plain",
            Self::Sealed => "sealed",
        }
    }

    fn config(self) -> Config {
        let mut config = Config::default();
        config.sealing = match self {
            Self::Bare | Self::Plain => Sealing::Off,
            Self::Sealed => Sealing::On,
        };
        config
    }
}
