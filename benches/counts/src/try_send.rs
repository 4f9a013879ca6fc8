//! `Peer::try_send` on its own: the handle's side, while the event loop gets no turn.

use std::net::Ipv4Addr;

use quicpool::{Config, ConnectionManager, Identity, PeerAddr, PeerId, TokioRuntime};

use crate::counted::counted;

/// Messages.
pub(crate) const TIMES: u64 = 10_000;

/// Bytes of a message.
const LEN: usize = 64;

/// A port at which the peer might be: nothing is sent there.
const DISCARD: u16 = 9;

/// The event loop is a task of this thread's runtime, and runs only while this function waits; it does
/// not between the first message and the last.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let identity = Identity::from_seed(&[1; 32]);
        let loopback = (Ipv4Addr::LOCALHOST, 0);
        let manager =
            ConnectionManager::bind(TokioRuntime, loopback, identity, Config::default()).await;
        let manager = manager.expect("a port of loopback is free");
        let nowhere = (Ipv4Addr::LOCALHOST, DISCARD).into();
        let peer = manager.peer(PeerAddr::new(PeerId::from_bytes([2; 32]), nowhere));
        let peer = peer.expect("the manager runs");
        let mut accepted = 0;
        counted(&mut || {
            for _ in 0..TIMES {
                accepted += u64::from(peer.try_send([7; LEN]).is_ok());
            }
        });
        assert_eq!(accepted, TIMES, "a message was refused");
    });
}
