//! The main job: N peers in one process, every one sending to every other, over real sockets.
//!
//! With `--chaos` one of them crashes when a third of the messages are through, and is back two
//! seconds later. Exits with 0 only if every message is accounted for.

mod ledger;
mod node;
mod report;
mod runtime;

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::Header;
use node::{Life, Node, Plan};
use quicpool::{ConnectionManager, Identity};
use report::Report;
use runtime::Runtime;

/// How long the crashed peer stays away.
const ABSENCE: Duration = Duration::from_secs(2);

/// Without a single message for so long, the mesh has failed.
const STALL: Duration = Duration::from_secs(45);

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(20);

#[derive(Parser)]
#[command(about = "N peers in one process, every one sending to every other")]
struct Args {
    /// Peers, each with its own socket
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=256))]
    peers: u64,
    /// Messages in all
    #[arg(long, default_value_t = 1_000_000)]
    messages: u64,
    /// Bytes of a message
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(Header::LEN as u64..=65_536))]
    size: u64,
    /// Connections that each peer may have at one time
    #[arg(long)]
    connections_max: Option<usize>,
    /// Crash one peer when a third of the messages are through, and start it again after 2 s
    #[arg(long)]
    chaos: bool,
    /// What the peers run on: tokio, async-std, smol, as far as they are compiled in; of several,
    /// separated by commas, one after the other
    #[arg(long, default_value = "tokio", value_delimiter = ',')]
    runtime: Vec<Runtime>,
    /// Print one JSON object for each runtime instead of a table
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run_all(&Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs on one runtime after the other, as long as every message is accounted for.
async fn run_all(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let mut rates = Vec::new();
    for &runtime in &args.runtime {
        let Outcome::Done(report) = run(args, runtime).await? else {
            return Ok(ExitCode::from(INTERRUPTED));
        };
        print(args, &report)?;
        if !report.is_clean() {
            return Ok(ExitCode::FAILURE);
        }
        rates.push((runtime, report.messages_per_second()));
    }
    if let [(first, rate), others @ ..] = &rates[..]
        && !args.json
    {
        for (other, other_rate) in others {
            println!("{other} at {:.2} of {first}", other_rate / rate);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Not by `println!`: a full disk or a reader that has left is no reason to panic.
fn print(args: &Args, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        writeln!(out, "{report}")?;
    }
    out.flush()
}

/// How a run ended.
enum Outcome {
    Done(Box<Report>),
    /// By Ctrl-C: every manager was closed, and nothing is reported.
    Interrupted,
}

async fn run(args: &Args, runtime: Runtime) -> Result<Outcome, Box<dyn Error>> {
    let mut mesh = Mesh::bind(args, runtime).await?;
    let bar = progress_bar(args.messages);
    let interrupted = tokio::select! {
        ended = mesh.run(&bar) => ended.map(|()| false)?,
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| true)?,
    };
    bar.finish_and_clear();
    if interrupted {
        mesh.close().await;
        return Ok(Outcome::Interrupted);
    }
    Ok(Outcome::Done(Box::new(mesh.report(args).await?)))
}

/// Everything that runs, and what is left of what does not.
struct Mesh {
    plan: Arc<Plan>,
    seeds: Vec<[u8; 32]>,
    nodes: Vec<Node>,
    /// Earlier lives of the peer that crashed, by its place.
    past: Vec<(usize, Life)>,
    chaos: Chaos,
    messages: u64,
    memory_peak: usize,
}

/// How far the planned accident has got.
enum Chaos {
    None,
    Planned,
    Absent { until: Instant },
    Over,
}

impl Mesh {
    /// Binds every peer, and lets them all begin.
    async fn bind(args: &Args, runtime: Runtime) -> Result<Self, Box<dyn Error>> {
        let mut plan = Plan {
            runtime,
            size: usize::try_from(args.size)?,
            pairs: usize::try_from(args.peers * (args.peers - 1))?,
            connections_max: args.connections_max,
            began: Instant::now(),
            everyone: Vec::new(),
            received: AtomicU64::new(0),
            sending: AtomicUsize::new(0),
        };
        let seeds: Vec<_> = (0..args.peers)
            .map(|_| *Identity::generate().seed())
            .collect();
        let mut managers = Vec::new();
        for seed in &seeds {
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            let manager = Node::bind(&plan, seed, any_port).await?;
            plan.everyone.push(manager.peer_addr());
            managers.push(manager);
        }
        let mut mesh = Self {
            plan: Arc::new(plan),
            seeds,
            nodes: Vec::new(),
            past: Vec::new(),
            chaos: if args.chaos {
                Chaos::Planned
            } else {
                Chaos::None
            },
            messages: args.messages,
            memory_peak: 0,
        };
        for (place, manager) in managers.into_iter().enumerate() {
            let quotas = mesh.quotas(place);
            let node = Node::start(&mesh.plan, manager, 0, &quotas)?;
            mesh.nodes.push(node);
        }
        Ok(mesh)
    }

    /// How many messages a peer sends to each other one, in all its lives.
    fn quotas(&self, from: usize) -> BTreeMap<usize, u64> {
        let peers = self.plan.everyone.len();
        let pairs = self.plan.pairs as u64;
        let others = (0..peers).filter(|to| *to != from).enumerate();
        others
            .map(|(nth, to)| {
                let pair = (from * (peers - 1) + nth) as u64;
                let extra = u64::from(pair < self.messages % pairs);
                (to, self.messages / pairs + extra)
            })
            .collect()
    }

    /// Runs until every sender is done.
    async fn run(&mut self, bar: &ProgressBar) -> Result<(), Box<dyn Error>> {
        let mut ticks = tokio::time::interval(TICK);
        let mut last = (0, Instant::now());
        loop {
            ticks.tick().await;
            let received = self.plan.received.load(Ordering::Relaxed);
            bar.set_position(received);
            let mut memory = 0;
            for node in &self.nodes {
                memory += node.manager.metrics().await?.memory_usage;
            }
            self.memory_peak = self.memory_peak.max(memory);
            if self.step_chaos(received).await? && self.plan.sending.load(Ordering::Relaxed) == 0 {
                return Ok(());
            }
            if received != last.0 {
                last = (received, Instant::now());
            } else if last.1.elapsed() > STALL {
                return Err(format!("no message for {STALL:?}, {received} received").into());
            }
        }
    }

    /// Moves the accident on. True if there is none to come.
    async fn step_chaos(&mut self, received: u64) -> Result<bool, Box<dyn Error>> {
        match self.chaos {
            Chaos::None | Chaos::Over => return Ok(true),
            Chaos::Planned if received >= self.messages / 3 => {
                let node = self.nodes.pop().expect("there are at least two peers");
                let place = self.nodes.len();
                self.past.push((place, node.crash(&self.plan).await?));
                self.chaos = Chaos::Absent {
                    until: Instant::now() + ABSENCE,
                };
            }
            Chaos::Absent { until } if Instant::now() >= until => {
                self.restart().await?;
                self.chaos = Chaos::Over;
            }
            Chaos::Planned | Chaos::Absent { .. } => {}
        }
        Ok(false)
    }

    /// Starts the last peer again, with the same identity on the same port, to send the rest.
    async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        let place = self.nodes.len();
        let mut quotas = self.quotas(place);
        for (_, life) in &self.past {
            for (to, quota) in &mut quotas {
                *quota -= life.sent.get(to).map_or(0, |sent| sent.accepted);
            }
        }
        let addr = self.plan.everyone[place].addr;
        let manager: ConnectionManager = Node::bind(&self.plan, &self.seeds[place], addr).await?;
        self.nodes
            .push(Node::start(&self.plan, manager, 1, &quotas)?);
        Ok(())
    }

    /// Closes all managers at once, as far as a second Ctrl-C lets it.
    async fn close(self) {
        let closing: Vec<_> = self
            .nodes
            .into_iter()
            .map(|node| tokio::spawn(async move { node.manager.close().await }))
            .collect();
        let all = async {
            for closed in closing {
                // It makes no difference whether it had ended before.
                let _ = closed.await;
            }
        };
        tokio::select! {
            () = all => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    }

    /// Closes all managers, and settles the accounts.
    async fn report(self, args: &Args) -> Result<Report, Box<dyn Error>> {
        let elapsed = self.plan.began.elapsed();
        let mut lives = self.past;
        for (place, node) in self.nodes.into_iter().enumerate() {
            lives.push((place, node.finish(&self.plan).await?));
        }
        lives.sort_by_key(|(place, _)| *place);
        Ok(Report::new(
            args,
            self.plan.runtime,
            elapsed,
            self.memory_peak,
            &lives,
        ))
    }
}

fn progress_bar(messages: u64) -> ProgressBar {
    let bar = ProgressBar::new(messages);
    let style = "{bar:40} {human_pos} of {human_len} messages, {per_sec}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
