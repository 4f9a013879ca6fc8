//! The runtimes that the peers may run on.

use std::{fmt, net::SocketAddr, str::FromStr};

use quicpool::{BindError, Config, ConnectionManager, Identity};

/// All that there are, by their names and by those of their features.
const KNOWN: [&str; 3] = ["tokio", "async-std", "smol"];

/// A runtime that is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "async-std")]
    AsyncStd,
    #[cfg(feature = "smol")]
    Smol,
}

impl Runtime {
    pub(crate) async fn bind(
        self,
        addr: SocketAddr,
        identity: Identity,
        config: Config,
    ) -> Result<ConnectionManager, BindError> {
        match self {
            #[cfg(feature = "tokio")]
            Self::Tokio => {
                ConnectionManager::bind(quicpool::TokioRuntime, addr, identity, config).await
            }
            #[cfg(feature = "async-std")]
            Self::AsyncStd => {
                ConnectionManager::bind(quicpool::AsyncStdRuntime, addr, identity, config).await
            }
            #[cfg(feature = "smol")]
            Self::Smol => {
                ConnectionManager::bind(quicpool::SmolRuntime, addr, identity, config).await
            }
        }
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            #[cfg(feature = "tokio")]
            "tokio" => Ok(Self::Tokio),
            #[cfg(feature = "async-std")]
            "async-std" => Ok(Self::AsyncStd),
            #[cfg(feature = "smol")]
            "smol" => Ok(Self::Smol),
            known if KNOWN.contains(&known) => Err(format!(
                "{known} is not compiled in; add `--features {known}` to the build"
            )),
            _ => Err(format!("the runtimes are {}", KNOWN.join(", "))),
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "tokio")]
            Self::Tokio => "tokio",
            #[cfg(feature = "async-std")]
            Self::AsyncStd => "async-std",
            #[cfg(feature = "smol")]
            Self::Smol => "smol",
        })
    }
}
