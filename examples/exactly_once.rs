//! A receiver that crashes again and again, and acts on each message exactly once.
//!
//! Starts itself as a second process that writes each message into a journal, and kills that process while it
//! sends. The receiver stores the key of a message together with what the message has caused, before it is done with
//! the message; the sender sends again what the process before had not taken. Exits with 0 only if the journal has
//! every message once, and in order.

use std::{
    collections::HashSet,
    error::Error,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::{Parser, Subcommand, value_parser};
use quicpool::{
    Config, ConnectionManager, Identity, IdentityFile, MessageKey, OnPeerRestart, PeerAddr,
    TokioRuntime,
};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep},
};

/// What the journal has of a message: its key, and its effect, which is its number here.
const ENTRY: usize = MessageKey::LEN + 8;

/// How often we look how long the journal is.
const TICK: Duration = Duration::from_millis(5);

/// Without a message for so long, something is wrong.
const STALL: Duration = Duration::from_secs(60);

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(
    about = "Sends to a process that crashes, and counts what it has done",
    after_help = "Exits with 0 if each message was acted on once and in order, and with 1 if not."
)]
struct Args {
    /// Messages to send, from 1 to 100,000,000
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    messages: u64,
    /// How often the receiver is killed meanwhile, at most once for each message
    #[arg(long, default_value_t = 5)]
    crashes: u64,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// What this program starts as its other process
    #[command(hide = true)]
    Receive {
        directory: PathBuf,
        bind: SocketAddr,
        sender: PeerAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.role {
        Some(Role::Receive {
            directory,
            bind,
            sender,
        }) => receive(directory, *bind, *sender).await,
        None => tokio::select! {
            outcome = send(&args) => outcome,
            _ = tokio::signal::ctrl_c() => return ExitCode::from(INTERRUPTED),
        },
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("exactly_once: {error}");
            ExitCode::FAILURE
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.on_peer_restart = OnPeerRestart::Resend;
    config
}

// The receiver

/// What was done, and the keys of the messages that have caused it.
struct Journal {
    file: File,
    keys: HashSet<MessageKey>,
}

impl Journal {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let entries = bytes.chunks_exact(ENTRY);
        // The process before may have died amid its last entry, with which it was not done.
        file.set_len((bytes.len() - entries.remainder().len()) as u64)?;
        let keys = entries.map(|entry| MessageKey::from_bytes(first(entry)));
        Ok(Self {
            file,
            keys: keys.collect(),
        })
    }

    /// Writes the key and the effect at once: there is neither without the other. A database would have a
    /// transaction here.
    fn apply(&mut self, key: MessageKey, effect: &[u8]) -> Result<(), Box<dyn Error>> {
        self.file.write_all(&[&key.to_bytes(), effect].concat())?;
        self.keys.insert(key);
        Ok(())
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("an entry is longer")
}

async fn receive(
    directory: &Path,
    bind: SocketAddr,
    sender: PeerAddr,
) -> Result<ExitCode, Box<dyn Error>> {
    let identity = IdentityFile::load(directory.join("identity"))?;
    let mut journal = Journal::open(&directory.join("journal"))?;
    let mut again = OpenOptions::new()
        .append(true)
        .create(true)
        .open(directory.join("again"))?;
    let manager = ConnectionManager::bind(TokioRuntime, bind, identity, config()).await?;
    // The sender learns at once that there is another process.
    manager.peer(sender)?.connect().await?;
    // Nothing is written there: it ends with the process that has started this one.
    let mut parent = tokio::io::stdin();
    tokio::spawn(async move {
        let _ = parent.read_u8().await;
        std::process::exit(0);
    });
    loop {
        let held = manager.recv_held().await?;
        if journal.keys.contains(&held.key()) {
            again.write_all(b".")?;
        } else {
            journal.apply(held.key(), &held.payload)?;
        }
        held.done();
    }
}

// The sender

async fn send(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let crashes = args.crashes.min(args.messages);
    let directory = tempfile::tempdir()?;
    let directory = directory.path();
    let receiver = IdentityFile::load_or_create(directory.join("identity"))?.peer_id();
    let addr = free_addr()?;
    let manager =
        ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", Identity::generate(), config())
            .await?;
    let to_receiver = manager.peer(PeerAddr::new(receiver, addr))?;
    let start = || start(directory, addr, manager.peer_addr());
    let journal = directory.join("journal");
    // Each process of the receiver has its part of the messages, and dies amid it.
    let end_of = |part: u64| args.messages * (part + 1) / (crashes + 1);
    let (allow, mut allowed) = watch::channel(end_of(0));

    let sending = async {
        for number in 0..args.messages {
            allowed.wait_for(|end| number < *end).await?;
            to_receiver.send(number.to_be_bytes()).await?;
        }
        to_receiver.flush().await?; // all were done
        Ok::<_, Box<dyn Error>>(())
    };
    let crashing = async {
        let mut process = start()?;
        for crash in 0..crashes {
            let begin = crash.checked_sub(1).map_or(0, end_of);
            let middle = begin + (end_of(crash) - begin) / 2;
            reached(&journal, middle, &mut process).await?;
            process.kill().await?; // it learns nothing of it
            let done = done(&journal).len();
            writeln!(
                io::stdout(),
                "the receiver was killed after {done} messages"
            )?;
            process = start()?;
            allow.send_replace(end_of(crash + 1));
        }
        reached(&journal, args.messages, &mut process).await?;
        Ok::<_, Box<dyn Error>>(process)
    };
    let ((), mut process) = tokio::try_join!(sending, crashing)?;
    manager.close().await?;
    process.kill().await?;

    let done = done(&journal);
    let again = std::fs::metadata(directory.join("again"))?.len();
    let is_once = done.iter().copied().eq(0..args.messages);
    let (verdict, code) = match is_once {
        true => ("each once and in order", ExitCode::SUCCESS),
        false => ("NOT each once and in order", ExitCode::FAILURE),
    };
    writeln!(
        io::stdout(),
        "{} sent, {crashes} crashes of the receiver: {} done, {again} came again; {verdict}",
        args.messages,
        done.len(),
    )?;
    Ok(code)
}

/// An address at which each receiver is.
fn free_addr() -> io::Result<SocketAddr> {
    std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

fn start(directory: &Path, bind: SocketAddr, sender: PeerAddr) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("receive")
        .arg(directory)
        .arg(bind.to_string())
        .arg(sender.to_string())
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits until so many messages are done.
async fn reached(
    journal: &Path,
    messages: u64,
    receiver: &mut Child,
) -> Result<(), Box<dyn Error>> {
    let done = || std::fs::metadata(journal).map_or(0, |data| data.len() / ENTRY as u64);
    let mut last = (done(), Instant::now());
    while done() < messages {
        if let Some(status) = receiver.try_wait()? {
            let text = format!("the receiver failed after {} messages: {status}", done());
            return Err(text.into());
        }
        if done() != last.0 {
            last = (done(), Instant::now());
        } else if last.1.elapsed() > STALL {
            return Err(format!("no message for {STALL:?}, {} are done", done()).into());
        }
        sleep(TICK).await;
    }
    Ok(())
}

/// The effects in the journal.
fn done(journal: &Path) -> Vec<u64> {
    let bytes = std::fs::read(journal).unwrap_or_default();
    let entries = bytes.chunks_exact(ENTRY);
    entries
        .map(|entry| u64::from_be_bytes(first(&entry[MessageKey::LEN..])))
        .collect()
}
