//! Like netcat between two machines: bytes in at one end, the same bytes out at the other.
//!
//! ```text
//! there$ pipe listen --bind 192.0.2.1:4433 > copy
//! qp1...@192.0.2.1:4433
//! here$  pipe send qp1...@192.0.2.1:4433 < file
//! ```
//!
//! Both ends exit with 0 only if the other end has all of it.

mod watch;

use std::{
    cell::Cell,
    error::Error,
    net::SocketAddr,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use quicpool::{
    Config, ConnectionManager, Identity, IdentityFile, Peer, PeerAddr, PeerError, PeerId,
    SendError, TokioRuntime,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep_until,
};
use watch::watch;

/// Bytes of a message, such that a few fill a batch.
const CHUNK_BYTES: usize = 16 * 1024;

/// Messages written together.
const MESSAGES_PER_WRITE: usize = 64;

/// First byte of a message: bytes of the stream follow.
const DATA: u8 = 0;
/// First byte: all bytes were sent, and their number follows.
const END: u8 = 1;
/// First byte: all bytes were written, and their number follows.
const COMPLETE: u8 = 2;

#[derive(Parser)]
#[command(about = "Bytes in at one end, the same bytes out at the other")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print ID@ADDR on stderr, and write what one peer sends to stdout
    Listen {
        /// Address to listen on: one of this machine that the sender can reach
        #[arg(long, default_value = "127.0.0.1:0")]
        bind: SocketAddr,
        #[command(flatten)]
        own: Own,
    },
    /// Send stdin to a listening peer
    Send {
        /// ID@ADDR as the listener prints it
        peer: PeerAddr,
        /// Address to send from; any by default
        #[arg(long)]
        bind: Option<SocketAddr>,
        #[command(flatten)]
        own: Own,
    },
}

#[derive(Args)]
struct Own {
    /// File that keeps this end's identity; a new identity each time by default
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Seconds of silence after which a connection counts as dead, 1 to 600; 15 by default
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    liveness_timeout: Option<Duration>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// What has been copied.
struct Copied {
    bytes: u64,
    connections: u64,
}

#[tokio::main]
async fn main() {
    let code = match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pipe: {}", chain(&*error));
            1
        }
    };
    // Not by returning: a read of stdin cannot be called off, and the runtime would wait for it.
    process::exit(code);
}

async fn run(command: Command) -> Result<i32, Box<dyn Error>> {
    let manager = match &command {
        Command::Listen { bind, own } => bind_to(*bind, own).await?,
        Command::Send { peer, bind, own } => bind_to(bind.unwrap_or(any(peer)), own).await?,
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template(
        "{bytes} {binary_bytes_per_sec}",
    )?);
    let started = Instant::now();
    let copied = tokio::select! {
        // First, so that an interruption is noticed before it can be known that we run.
        biased;
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            close(&manager).await?;
            return Ok(130);
        }
        copied = copy(&command, &manager, &progress) => copied,
    };
    close(&manager).await?;
    progress.finish_and_clear();
    let elapsed = started.elapsed().as_secs_f64();
    let Copied { bytes, connections } = copied?;
    let plural = if connections == 1 { "" } else { "s" };
    eprintln!("{bytes} bytes in {elapsed:.3} s, over {connections} connection{plural}");
    Ok(0)
}

/// Closes the manager, or returns at once on Ctrl-C.
async fn close(manager: &ConnectionManager) -> Result<(), Box<dyn Error>> {
    tokio::select! {
        closed = manager.close() => closed.map(drop)?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

async fn bind_to(addr: SocketAddr, own: &Own) -> Result<ConnectionManager, quicpool::Error> {
    let identity = match &own.identity {
        Some(path) => IdentityFile::load_or_create(path)?,
        None => Identity::generate(),
    };
    let mut config = Config::default();
    config.liveness_timeout = own.liveness_timeout.unwrap_or(config.liveness_timeout);
    Ok(ConnectionManager::bind(TokioRuntime, addr, identity, config).await?)
}

/// Any address that can reach the peer.
fn any(peer: &PeerAddr) -> SocketAddr {
    match peer.addr {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    }
}

/// Copies to the end, unless the other end leaves before.
async fn copy(
    command: &Command,
    manager: &ConnectionManager,
    progress: &ProgressBar,
) -> Result<Copied, Box<dyn Error>> {
    let (_, events) = manager.subscribe();
    let other = Cell::new(None);
    let copy = async {
        match command {
            Command::Listen { .. } => listen(manager, &other, progress).await,
            Command::Send { peer, .. } => send(manager, *peer, &other, progress).await,
        }
    };
    tokio::select! {
        biased;
        copied = copy => copied,
        why = watch(events, &other, progress) => Err(why),
    }
}

async fn listen(
    manager: &ConnectionManager,
    sender: &Cell<Option<PeerId>>,
    progress: &ProgressBar,
) -> Result<Copied, Box<dyn Error>> {
    eprintln!("{}", manager.peer_addr());
    let mut out = tokio::io::stdout();
    let mut messages = Vec::new();
    let mut written = 0;
    loop {
        manager.recv_many(&mut messages, MESSAGES_PER_WRITE).await?;
        for message in messages.drain(..) {
            // The first to send is the one to listen to.
            if sender.get().is_none() {
                sender.set(Some(message.from));
            } else if sender.get() != Some(message.from) {
                manager.disconnect(message.from).await?;
                continue;
            }
            match message.payload.split_first() {
                Some((&DATA, data)) => {
                    out.write_all(data).await?;
                    written += data.len() as u64;
                }
                Some((&END, total)) if total == written.to_be_bytes() => {
                    out.flush().await?;
                    let complete = tagged(COMPLETE, written);
                    manager.send(message.from, complete).await?;
                    return copied(&manager.peer(message.from)?, written).await;
                }
                _ => return Err("the sender has another idea of how this goes".into()),
            }
        }
        out.flush().await?;
        progress.set_position(written);
    }
}

async fn send(
    manager: &ConnectionManager,
    to: PeerAddr,
    listener: &Cell<Option<PeerId>>,
    progress: &ProgressBar,
) -> Result<Copied, Box<dyn Error>> {
    let peer = manager.peer(to)?;
    peer.connect().await?;
    listener.set(Some(to.id));
    let mut input = tokio::io::stdin();
    let mut chunk = [DATA; 1 + CHUNK_BYTES];
    let mut sent = 0;
    loop {
        let len = input.read(&mut chunk[1..]).await?;
        if len == 0 {
            break;
        }
        insist(&peer, &chunk[..=len]).await?;
        sent += len as u64;
        progress.set_position(sent);
    }
    insist(&peer, &tagged(END, sent)).await?;
    let answer = manager.recv().await?;
    if answer.from == to.id && *answer.payload == tagged(COMPLETE, sent) {
        listener.set(None); // It has all, and may leave.
        return copied(&peer, sent).await;
    }
    Err("the listener has another idea of how this goes".into())
}

/// All of it, and how many connections it took.
async fn copied(peer: &Peer, bytes: u64) -> Result<Copied, Box<dyn Error>> {
    let metrics = peer.metrics().await?;
    let connections = metrics.map_or(0, |metrics| metrics.connections);
    Ok(Copied { bytes, connections })
}

/// Sends, also to a peer that has failed so often that it is left alone for a while.
async fn insist(peer: &Peer, message: &[u8]) -> Result<(), SendError> {
    loop {
        match peer.send(message).await {
            Err(SendError::Peer(PeerError::CircuitOpen { retry_at, .. })) => {
                sleep_until(retry_at.into()).await;
            }
            outcome => return outcome.map(drop),
        }
    }
}

fn tagged(tag: u8, bytes: u64) -> [u8; 9] {
    let mut message = [tag; 9];
    message[1..].copy_from_slice(&bytes.to_be_bytes());
    message
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
