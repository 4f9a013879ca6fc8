//! Two managers in one process: one sends hello to the other.

use quicpool::{Config, ConnectionManager, Identity, TokioRuntime};

#[tokio::main]
async fn main() -> Result<(), quicpool::Error> {
    let [alice, bob] = [Identity::generate(), Identity::generate()];
    let alice =
        ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", alice, Config::default()).await?;
    let bob = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", bob, Config::default()).await?;
    alice.peer(bob.peer_addr())?.send(b"hello").await?; // dials, pools, batches, encrypts
    let message = bob.recv().await?;
    println!("{} says {:?}", message.from, message.payload);
    alice.close().await?; // nothing accepted is lost
    bob.close().await?;
    Ok(())
}
