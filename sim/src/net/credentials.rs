//! The credentials with which a process proves its identity.

use std::{rc::Rc, sync::Arc};

use quicpool_core::{Credentials, PeerId};

use crate::{Checksum, clock::WallClock};

/// The parts from which the credentials of a new process are made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewProcess {
    /// Different for each process of each node: no two may send the same randoms.
    pub seed: u64,
    /// The wall clock of the process.
    pub wall_clock: WallClock,
}

/// How the credentials of a node's processes are made.
pub(super) type Making = Rc<dyn Fn(&NewProcess) -> Arc<dyn Credentials>>;

/// A node's identity, and how its processes prove it.
pub(super) struct Proof {
    pub(super) id: PeerId,
    pub(super) making: Making,
}

impl Proof {
    pub(super) fn checksum(
        identity: [u8; 32],
        dress: impl Fn(Checksum) -> Checksum + 'static,
    ) -> Self {
        let id = PeerId::from_bytes(identity);
        let making = move |process: &NewProcess| -> Arc<dyn Credentials> {
            Arc::new(dress(Checksum::new(id, process.seed)))
        };
        let making = Rc::new(making);
        Self { id, making }
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(identity: [u8; 32]) -> Self {
        let identity = quicpool_core::Identity::from_seed(&identity);
        let id = identity.peer_id();
        let making = move |process: &NewProcess| -> Arc<dyn Credentials> {
            let clock = Arc::new(process.wall_clock.clone());
            Arc::new(crate::SeededTls::new(&identity, process.seed, clock))
        };
        let making = Rc::new(making);
        Self { id, making }
    }
}
