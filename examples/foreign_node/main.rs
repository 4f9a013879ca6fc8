//! A node for the trials of `tests/foreign`: takes commands on stdin, a line each, and prints what happens as
//! JSON on stdout, a line each.
//!
//! ```text
//! send PEER COUNT SIZE   send COUNT messages of SIZE bytes, numbered in their first 8 bytes
//! flush PEER             wait until PEER has taken everything
//! datagram PEER TEXT     send a datagram
//! take COUNT             take messages, with --mode hold
//! disconnect PEER        end the session
//! counts                 print how much was received
//! metrics PEER           print the numbers of a peer
//! close                  end; so do the end of stdin and SIGTERM
//! ```
//!
//! PEER is a PeerId, or PEERID@ADDRESS to dial.

mod report;

use std::{io, net::SocketAddr, process, sync::Arc, time::Duration};

use clap::{Parser, ValueEnum};
use quicpool::{
    Accept, Config, ConnectionManager, Identity, MeshKey, OnPeerRestart, Peer, PeerAddr, PeerId,
    Rejected, Sealing, SendError, TokioRuntime,
};
use report::{Received, print, print_events};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

/// How long `flush` waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(about = "A node that other implementations of the wire are tried against")]
struct Cli {
    #[arg(long, value_enum, default_value = "echo")]
    mode: Mode,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// Secret key of the identity, 64 hexadecimal digits; random by default
    #[arg(long, value_parser = key)]
    seed: Option<[u8; 32]>,
    /// Mesh key, 64 hexadecimal digits
    #[arg(long, value_parser = key)]
    mesh_key: Option<[u8; 32]>,
    /// Do not seal messages
    #[arg(long)]
    unsealed: bool,
    /// Take and send no datagrams
    #[arg(long)]
    no_datagrams: bool,
    /// Send again what a peer may have taken before it lost its state
    #[arg(long)]
    resend: bool,
    /// Accept no peers that were not named by a command
    #[arg(long)]
    known: bool,
    #[arg(long, value_name = "BYTES")]
    message_max: Option<usize>,
    #[arg(long, value_name = "BYTES")]
    inbox_max: Option<usize>,
    #[arg(long, value_name = "COUNT")]
    connections_max: Option<usize>,
    #[arg(long, value_name = "MS", value_parser = millis)]
    liveness_timeout: Option<Duration>,
    #[arg(long, value_name = "MS", value_parser = millis)]
    handshake_timeout: Option<Duration>,
    #[arg(long, value_name = "MS", value_parser = millis)]
    pool_ttl: Option<Duration>,
}

/// How messages are received.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Send each message and each datagram back.
    Echo,
    /// Count messages, and check their numbers.
    Sink,
    /// Take messages at the command `take` alone.
    Hold,
}

fn key(text: &str) -> Result<[u8; 32], String> {
    let digits = text.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16));
    let bytes: Result<Vec<u8>, _> = bytes.collect();
    let bytes = bytes.map_err(|error| error.to_string())?;
    bytes
        .try_into()
        .map_err(|_| "not 64 hexadecimal digits".to_owned())
}

fn millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().map_err(|_| "not a whole number".to_owned())?;
    Ok(Duration::from_millis(millis))
}

impl Cli {
    fn config(&self) -> Config {
        let mut config = Config::default();
        config.mesh_key = self.mesh_key.as_ref().map(MeshKey::new);
        if self.unsealed {
            config.sealing = Sealing::Off;
        }
        if self.no_datagrams {
            config.datagram_queue_bytes_max = 0;
        }
        if self.resend {
            config.on_peer_restart = OnPeerRestart::Resend;
        }
        if self.known {
            config.accept = Accept::Known;
        }
        set(&mut config.message_bytes_max, self.message_max);
        set(&mut config.inbox_bytes_max, self.inbox_max);
        set(&mut config.connections_max, self.connections_max);
        set(&mut config.liveness_timeout, self.liveness_timeout);
        set(&mut config.handshake_timeout, self.handshake_timeout);
        set(&mut config.pool_ttl, self.pool_ttl);
        config
    }
}

fn set<T>(value: &mut T, wanted: Option<T>) {
    if let Some(wanted) = wanted {
        *value = wanted;
    }
}

#[tokio::main]
async fn main() {
    let code = match run(&Cli::parse()).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("foreign_node: {error}");
            1
        }
    };
    // A read of stdin cannot be called off, and the runtime would wait for it.
    process::exit(code);
}

async fn run(cli: &Cli) -> Result<(), Box<dyn std::error::Error>> {
    let identity = match &cli.seed {
        Some(seed) => Identity::from_seed(seed),
        None => Identity::generate(),
    };
    let bound = ConnectionManager::bind(TokioRuntime, cli.bind, identity, cli.config());
    let manager = Arc::new(bound.await?);
    print(&json!({ "event": "listening", "peer": manager.peer_addr().to_string() }));
    let (_, events) = manager.subscribe();
    tokio::spawn(print_events(events));
    let received = Arc::new(Received::default());
    if cli.mode != Mode::Hold {
        tokio::spawn(receive(manager.clone(), received.clone(), cli.mode));
    }
    tokio::spawn(receive_datagrams(manager.clone(), cli.mode));

    tokio::select! {
        ended = terminated() => ended?,
        ended = obey(&manager, &received) => ended?,
    }
    let closed = manager.close().await.map_err(|error| error.to_string());
    print(&json!({ "event": "closed", "error": closed.err() }));
    Ok(())
}

/// Waits for SIGTERM, where there is such a signal.
async fn terminated() -> io::Result<()> {
    #[cfg(unix)]
    signal(SignalKind::terminate())?.recv().await;
    #[cfg(not(unix))]
    std::future::pending::<()>().await;
    Ok(())
}

async fn receive(manager: Arc<ConnectionManager>, received: Arc<Received>, mode: Mode) {
    while let Ok(message) = manager.recv().await {
        received.count(&message);
        if mode == Mode::Echo
            && let Err(error) = manager.send(message.from, &message.payload).await
        {
            print(&json!({ "event": "send_error", "error": error.to_string() }));
        }
    }
}

async fn receive_datagrams(manager: Arc<ConnectionManager>, mode: Mode) {
    while let Ok(datagram) = manager.recv_datagram().await {
        let text = String::from_utf8_lossy(&datagram.payload).into_owned();
        print(&json!({ "event": "datagram", "peer": datagram.from.to_string(), "text": text }));
        if mode == Mode::Echo
            && let Ok(peer) = manager.peer(datagram.from)
        {
            // A datagram that cannot be sent at this moment is lost, as any may be.
            let _ = peer.send_datagram(&datagram.payload);
        }
    }
}

/// Carries out commands until the last one.
async fn obey(
    manager: &Arc<ConnectionManager>,
    received: &Received,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["send", to, count, size] => {
                let peer = peer(manager, to)?;
                tokio::spawn(send(peer, count.parse()?, size.parse()?));
            }
            ["flush", to] => {
                tokio::spawn(flush(peer(manager, to)?));
            }
            ["datagram", to, text] => {
                let sent = peer(manager, to)?.send_datagram(text);
                let error = sent.err().map(|error| error.to_string());
                print(&json!({ "event": "datagram_sent", "error": error }));
            }
            ["take", count] => take(manager, received, count.parse()?).await?,
            ["disconnect", to] => manager.disconnect(to.parse()?).await?,
            ["counts"] => received.print(),
            ["metrics", of] => print_metrics(manager, of.parse()?).await?,
            ["close"] => break,
            _ => return Err(format!("unknown command: {line}").into()),
        }
    }
    Ok(())
}

fn peer(manager: &ConnectionManager, text: &str) -> Result<Peer, Box<dyn std::error::Error>> {
    let peer: Result<Peer, Rejected> = if text.contains('@') {
        manager.peer(text.parse::<PeerAddr>()?)
    } else {
        manager.peer(text.parse::<PeerId>()?)
    };
    Ok(peer?)
}

async fn send(peer: Peer, count: u64, size: usize) {
    let mut sent = 0;
    let error = loop {
        if sent == count {
            break None;
        }
        let mut message = sent.to_be_bytes().to_vec();
        message.resize(size, b'.');
        match peer.send(&message).await {
            Ok(_) => sent += 1,
            Err(SendError::Full) => tokio::task::yield_now().await,
            Err(error) => break Some(error.to_string()),
        }
    };
    print(
        &json!({ "event": "sent", "peer": peer.id().to_string(), "count": sent, "error": error }),
    );
}

async fn flush(peer: Peer) {
    let error = match tokio::time::timeout(FLUSH_TIMEOUT, peer.flush()).await {
        Ok(flushed) => flushed.err().map(|error| error.to_string()),
        Err(_) => Some("it takes too long".to_owned()),
    };
    print(&json!({ "event": "flushed", "peer": peer.id().to_string(), "error": error }));
}

async fn take(
    manager: &ConnectionManager,
    received: &Received,
    count: u64,
) -> Result<(), quicpool::Closed> {
    for _ in 0..count {
        received.count(&manager.recv().await?);
    }
    received.print();
    Ok(())
}

async fn print_metrics(manager: &ConnectionManager, id: PeerId) -> Result<(), quicpool::Closed> {
    let metrics = manager.peer_metrics(id).await?;
    print(&json!({
        "event": "metrics",
        "peer": id.to_string(),
        "is_known": metrics.is_some(),
        "connections": metrics.as_ref().map(|metrics| metrics.connections),
        "delivered": metrics.as_ref().map(|metrics| metrics.messages_delivered),
        "outbox_bytes": metrics.as_ref().map(|metrics| metrics.outbox_bytes),
    }));
    Ok(())
}
