//! A `ConnectionManager` on any runtime, as a program that the conformance kit can check.

use std::{future::Future, future::poll_fn, pin::pin, task::Poll, time::Duration, time::Instant};

use quicpool::{
    Config, ConnectionManager, Identity, Message, PeerAddr, PeerId,
    runtime::{Runtime, Timer},
};
use quicpool_conformance::wire::{self, Failure, Program, Settings};

/// An async runtime that a thread outside of it can wait in. It runs its tasks meanwhile, too.
pub(crate) trait Blocking {
    type Runtime: Runtime;

    fn runtime(&self) -> Self::Runtime;
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// A manager on a runtime.
pub(crate) struct Managed<B> {
    blocking: B,
    seed: Option<[u8; Identity::SEED_LEN]>,
    manager: Option<ConnectionManager>,
}

impl<B: Blocking> Managed<B> {
    pub(crate) const fn new(blocking: B) -> Self {
        Self {
            blocking,
            seed: None,
            manager: None,
        }
    }

    fn manager(&self) -> Result<&ConnectionManager, Failure> {
        let stopped = || Failure::Wrong("it does not run".to_owned());
        self.manager.as_ref().ok_or_else(stopped)
    }

    /// The next message, unless there is none until `patience` ends.
    async fn next(&self, patience: Duration) -> Result<Option<Message>, Failure> {
        let mut received = pin!(self.manager()?.recv());
        let mut timer = pin!(self.blocking.runtime().timer());
        timer.as_mut().set(Instant::now() + patience);
        poll_fn(|cx| match received.as_mut().poll(cx) {
            Poll::Ready(message) => Poll::Ready(message.map(Some).map_err(Failure::wrong)),
            Poll::Pending => timer.as_mut().poll_elapsed(cx).map(|()| Ok(None)),
        })
        .await
    }
}

impl<B: Blocking> Program for Managed<B> {
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> {
        if settings.identity == wire::Identity::Fresh {
            self.seed = None;
        }
        let seed = self
            .seed
            .get_or_insert_with(|| *Identity::generate().seed());
        let identity = Identity::from_seed(seed);
        let mut config = Config::default();
        config.liveness_timeout = settings.liveness_timeout;
        config.message_bytes_max = settings.message_bytes_max;
        let runtime = self.blocking.runtime();
        let bound = ConnectionManager::bind(runtime, "127.0.0.1:0", identity, config);
        let manager = self.blocking.block_on(bound).map_err(Failure::wrong)?;
        Ok(self.manager.insert(manager).peer_addr())
    }

    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        let peer = self.manager()?.peer(to).map_err(Failure::wrong)?;
        self.blocking
            .block_on(peer.send(message))
            .map_err(Failure::wrong)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> {
        let message = self.blocking.block_on(self.next(patience))?;
        Ok(message.map(|message| (message.from, message.payload.to_vec())))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let closed = self.blocking.block_on(self.manager()?.close());
        self.manager = None;
        match closed.map_err(Failure::wrong)?.undelivered {
            0 => Ok(()),
            count => Err(Failure::Wrong(format!("{count} messages are undelivered"))),
        }
    }
}
