//! Two processes that run `pipe`, what goes into one and what comes out of the other.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use quicpool::{PeerAddr, PeerId};
use sha2::{Digest, Sha256};

/// Bytes that are read or written at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A listening process without a sender.
pub(crate) struct Listener {
    process: Process,
    stdout: ChildStdout,
    stderr: BufReader<ChildStderr>,
    address: PeerAddr,
}

/// Both processes, while bytes move.
pub(crate) struct Ends {
    listener: Process,
    sender: Process,
    feeder: JoinHandle<io::Result<Bytes>>,
    drainer: JoinHandle<io::Result<Bytes>>,
    bytes_out: Arc<AtomicU64>,
    /// Lines of the sender, and when they came.
    said: Receiver<Said>,
}

/// A line of the sender.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) line: String,
}

/// The bytes that went in, or came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) count: u64,
    pub(crate) sha256: String,
}

/// All of it.
pub(crate) struct Outcome {
    pub(crate) fed: Bytes,
    pub(crate) drained: Bytes,
    /// The last lines of the sender.
    pub(crate) last_words: Vec<Said>,
}

impl Ends {
    /// Starts a listening process, and waits for its address.
    pub(crate) fn listen(liveness_timeout: Duration) -> Result<Listener, Box<dyn Error>> {
        let mut process = Process::start("listening", &["listen"], liveness_timeout)?;
        let stdout = process.child.stdout.take().ok_or("stdout is piped")?;
        let stderr = process.child.stderr.take().ok_or("stderr is piped")?;
        let mut stderr = BufReader::new(stderr);
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.map_err(|_| format!("the listening end says: {}", line.trim()))?;
        Ok(Listener {
            process,
            stdout,
            stderr,
            address,
        })
    }

    /// Bytes that have come out so far.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Takes the lines of the sender since the last call.
    pub(crate) fn happened(&self) -> Vec<Said> {
        self.said.try_iter().collect()
    }

    /// Whether both have ended.
    pub(crate) fn have_ended(&mut self) -> bool {
        self.listener.has_ended() && self.sender.has_ended()
    }

    /// Fails if an end has failed: the other one would wait for it.
    pub(crate) fn check(&mut self) -> Result<(), Box<dyn Error>> {
        self.sender.check()?;
        self.listener.check()
    }

    /// Waits for both, and returns what came out.
    pub(crate) fn finish(mut self) -> Result<Outcome, Box<dyn Error>> {
        self.check()?;
        let panicked = |_| "a thread has panicked";
        let fed = self.feeder.join().map_err(panicked)??;
        let drained = self.drainer.join().map_err(panicked)??;
        Ok(Outcome {
            fed,
            drained,
            last_words: self.said.iter().collect(),
        })
    }
}

impl Listener {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address.addr
    }

    /// Starts a sending process, which takes the listener to be elsewhere.
    pub(crate) fn send(
        self,
        elsewhere: SocketAddr,
        bytes: u64,
        liveness_timeout: Duration,
    ) -> Result<Ends, Box<dyn Error>> {
        let to = PeerAddr::new(self.address.id, elsewhere).to_string();
        let mut sender = Process::start("sending", &["send", &to], liveness_timeout)?;
        let stdin = sender.child.stdin.take().ok_or("stdin is piped")?;
        let stderr = sender.child.stderr.take().ok_or("stderr is piped")?;
        // Its lines are of no use here, but its pipe must not fill up.
        let mut listener_says = self.stderr;
        thread::spawn(move || io::copy(&mut listener_says, &mut io::sink()));
        let seed = seed(self.address.id);
        let bytes_out = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes_out);
        let stdout = self.stdout;
        Ok(Ends {
            listener: self.process,
            sender,
            feeder: thread::spawn(move || feed(stdin, bytes, seed)),
            drainer: thread::spawn(move || drain(stdout, &count)),
            bytes_out,
            said: hear(stderr),
        })
    }
}

/// A process that does not outlive this one.
struct Process {
    role: &'static str,
    child: Child,
}

impl Process {
    fn start(
        role: &'static str,
        args: &[&str],
        liveness_timeout: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let program = pipe()?;
        let child = Command::new(&program)
            .args(args)
            .args([
                "--liveness-timeout",
                &liveness_timeout.as_secs_f64().to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let hint = "cargo build --release --examples builds it";
                format!("{}: {error}; {hint}", program.display())
            })?;
        Ok(Self { role, child })
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Whether it runs, or has done all that it had to.
    fn check(&mut self) -> Result<(), Box<dyn Error>> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => {
                Err(format!("the {} end has ended with {status}", self.role).into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example `pipe`, which cargo puts beside this one.
fn pipe() -> io::Result<PathBuf> {
    let name = format!("pipe{}", env::consts::EXE_SUFFIX);
    Ok(env::current_exe()?.with_file_name(name))
}

/// A seed for the bytes: another one each time.
fn seed(id: PeerId) -> u64 {
    let bytes = id.as_bytes().first_chunk();
    bytes.map_or(1, |bytes| u64::from_le_bytes(*bytes)) | 1
}

/// Writes bytes without any pattern, and closes what they were written to.
fn feed(mut to: ChildStdin, count: u64, seed: u64) -> io::Result<Bytes> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let (mut state, mut left) = (seed, count);
    while left > 0 {
        let len = left.min(PIECE_BYTES as u64) as usize;
        for word in piece[..len].chunks_mut(8) {
            // Marsaglia's xorshift: any change of a byte shows, as does a piece that moves.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        to.write_all(&piece[..len])?;
        digest.update(&piece[..len]);
        left -= len as u64;
    }
    Ok(Bytes::new(count, digest))
}

/// Reads to the end.
fn drain(mut from: ChildStdout, count: &AtomicU64) -> io::Result<Bytes> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = from.read(&mut piece)?;
        if len == 0 {
            return Ok(Bytes::new(count.load(Ordering::Relaxed), digest));
        }
        digest.update(&piece[..len]);
        count.fetch_add(len as u64, Ordering::Relaxed);
    }
}

/// Every line of a process, with the time at which it came.
fn hear(stderr: ChildStderr) -> Receiver<Said> {
    let (tell, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let at = Instant::now();
            if tell.send(Said { at, line }).is_err() {
                return;
            }
        }
    });
    said
}

impl Bytes {
    fn new(count: u64, digest: Sha256) -> Self {
        let sha256 = digest
            .finalize()
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        Self { count, sha256 }
    }
}
