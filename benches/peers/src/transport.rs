//! What each contender can do, in one vocabulary.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;

use crate::options::{self, Workload};

/// Who is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Contender {
    /// quicpool as it comes, one `send` per message
    Sealed,
    /// quicpool without the second layer of encryption
    Unsealed,
    /// quinn, one stream, a length and a message per write: what a user would write first
    Framed,
    /// quinn, one stream, 128 messages per write: what a user could write, for reference
    Batched,
}

impl Contender {
    pub const fn takes_part(self, workload: Workload) -> bool {
        match (self, workload) {
            // At a fixed rate there is nothing to batch.
            (Self::Batched, Workload::Echo) => false,
            (
                Self::Sealed | Self::Unsealed | Self::Framed | Self::Batched,
                Workload::Small | Workload::Large | Workload::Huge | Workload::Echo,
            ) => true,
        }
    }

    /// Its name on the command line of the child.
    pub fn argument(self) -> String {
        options::argument(&self)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sealed => "quicpool sealed",
            Self::Unsealed => "quicpool unsealed",
            Self::Framed => "quinn framed",
            Self::Batched => "quinn batched",
        })
    }
}

/// A socket that waits for its one peer.
pub trait Listener: Sized + Send + 'static {
    type Tx: Tx;
    type Rx: Rx;

    /// Where it can be dialled.
    fn address(&self) -> String;

    /// Waits for the peer's first message and answers it.
    fn accept(self) -> impl Future<Output = Result<(Self::Tx, Self::Rx)>> + Send;
}

/// The sending half of a connection.
pub trait Tx: Send + 'static {
    /// Sends a message, once there is room for it.
    fn send(&mut self, message: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// Sends what it has kept back to send it together.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// The receiving half of a connection.
pub trait Rx: Send + 'static {
    /// Waits until there are messages, and passes on those that are there.
    fn receive(
        &mut self,
        each: impl FnMut(&[u8]) + Send,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The first message in both directions.
pub const HELLO: &[u8] = b"hello";
