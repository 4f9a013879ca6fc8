//! quicpool, as its README shows it: one `send` per message, `recv_many` at the other end.

use anyhow::{Context, Result, ensure};
use quicpool::{
    Config, ConnectionManager, Identity, Message, Peer, PeerAddr, Sealing, TokioRuntime,
};

use crate::transport::{self, HELLO};

/// Messages taken in one call.
const RECEIVE_MAX: usize = 1_024;

/// A manager that waits for its peer.
pub struct Listener(ConnectionManager);

/// The peer. It does not keep the manager running: [`Rx`] does.
pub struct Tx(Peer);

/// The manager.
pub struct Rx {
    manager: ConnectionManager,
    messages: Vec<Message>,
}

/// Connects to a listener.
pub async fn dial(address: &str, sealing: Sealing) -> Result<(Tx, Rx)> {
    let address: PeerAddr = address.parse().context("the child's address")?;
    let manager = bind(sealing).await?;
    let peer = manager.peer(address)?;
    peer.send(HELLO).await?;
    let answer = manager.recv().await?;
    ensure!(answer.payload == HELLO, "the answer is not hello");
    Ok((Tx(peer), Rx::new(manager)))
}

/// Binds a manager to any free port.
pub async fn listen(sealing: Sealing) -> Result<Listener> {
    bind(sealing).await.map(Listener)
}

async fn bind(sealing: Sealing) -> Result<ConnectionManager> {
    let mut config = Config::default();
    config.sealing = sealing;
    let identity = Identity::generate();
    Ok(ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", identity, config).await?)
}

impl transport::Listener for Listener {
    type Tx = Tx;
    type Rx = Rx;

    fn address(&self) -> String {
        self.0.peer_addr().to_string()
    }

    async fn accept(self) -> Result<(Tx, Rx)> {
        let hello = self.0.recv().await?;
        ensure!(hello.payload == HELLO, "the first message is not hello");
        let peer = self.0.peer(hello.from)?;
        peer.send(HELLO).await?;
        Ok((Tx(peer), Rx::new(self.0)))
    }
}

impl transport::Tx for Tx {
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.send(message).await?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Rx {
    fn new(manager: ConnectionManager) -> Self {
        Self {
            manager,
            messages: Vec::with_capacity(RECEIVE_MAX),
        }
    }
}

impl transport::Rx for Rx {
    async fn receive(&mut self, mut each: impl FnMut(&[u8]) + Send) -> Result<()> {
        self.manager
            .recv_many(&mut self.messages, RECEIVE_MAX)
            .await?;
        for message in self.messages.drain(..) {
            each(&message.payload);
        }
        Ok(())
    }
}
