//! Honest peers: quicpools with default limits that echo, come back, connect for the first time, or
//! send in bulk.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use quicpool::{Config, ConnectionManager, Identity, Message, Peer, PeerAddr, TokioRuntime};
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    child::{Orders, reply},
    serve::ECHO,
};

/// Messages of a closed loop that are on their way, and bytes of each.
const LOOP_MESSAGES: usize = 32;
const LOOP_MESSAGE_LEN: usize = 256;

/// Bytes of a message that is not echoed.
const BULK_MESSAGE_LEN: usize = 1_024;

/// How long a peer tries to connect.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// How long it waits after a dial that has failed at once.
const DIAL_AGAIN: Duration = Duration::from_millis(10);

/// Messages taken in one call.
const RECEIVE_MAX: usize = 1_024;

/// The groups of peers, each of so many.
struct Honest {
    loops: Vec<Dialler>,
    back: Vec<Dialler>,
    added: Vec<Dialler>,
    bulk: Dialler,
    echoes: Arc<AtomicU64>,
    sending: Option<JoinHandle<()>>,
}

/// One peer, and the server as it knows it.
struct Dialler {
    manager: ConnectionManager,
    server: Peer,
}

/// Runs until the parent has gone. Its first line has the ids of all peers. It knows, each with an answer:
///
/// - `begin`: connects those that loop and those that are to come back, begins the loops, and has the others leave;
/// - `echoes`: messages that have come back, and the time;
/// - `back`, `added`: connects a group, and answers how long each has taken, in milliseconds, or null;
/// - `bulk`, `rest`: begins and ends to send in bulk.
pub async fn run(server: PeerAddr, loops: usize, dials: usize) -> Result<()> {
    let mut honest = Honest {
        loops: group(server, loops, 1).await?,
        back: group(server, dials, 51).await?,
        added: group(server, dials, 101).await?,
        bulk: Dialler::new(server, 151).await?,
        echoes: Arc::default(),
        sending: None,
    };
    reply(&json!({ "ids": honest.ids() }));
    let begun = Instant::now();
    let mut orders = Orders::new();
    while let Some(order) = orders.next().await {
        let answer = match order.as_str() {
            "begin" => honest.begin().await?,
            "echoes" => json!({
                "echoes": honest.echoes.load(Ordering::Relaxed),
                "us": u64::try_from(begun.elapsed().as_micros())?,
            }),
            "back" => connect(&honest.back).await,
            "added" => connect(&honest.added).await,
            "bulk" => honest.send_bulk(),
            "rest" => honest.rest(),
            _ => bail!("unknown order {order:?}"),
        };
        reply(&answer);
    }
    Ok(())
}

impl Dialler {
    async fn new(server: PeerAddr, place: u8) -> Result<Self> {
        let config = Config::default();
        let identity = Identity::generate();
        let addr = (Ipv4Addr::new(127, 0, 1, place), 0);
        let manager = ConnectionManager::bind(TokioRuntime, addr, identity, config).await?;
        let server = manager.peer(server)?;
        Ok(Self { manager, server })
    }
}

/// Peers with an address each, as hosts have them that do not share a NAT, from this one on.
async fn group(server: PeerAddr, count: usize, first: u8) -> Result<Vec<Dialler>> {
    let mut group = Vec::new();
    for place in (first..).take(count) {
        group.push(Dialler::new(server, place).await?);
    }
    Ok(group)
}

impl Honest {
    fn ids(&self) -> Vec<String> {
        let groups = [&self.loops, &self.back, &self.added];
        let all = groups.into_iter().flatten().chain([&self.bulk]);
        all.map(|dialler| dialler.manager.id().to_string())
            .collect()
    }

    async fn begin(&mut self) -> Result<Value> {
        for dialler in self.loops.iter().chain(&self.back) {
            let connected = timeout(CONNECT_TIME_MAX, dialler.server.connect()).await;
            connected.context("an honest peer cannot connect before the attack")??;
        }
        for dialler in &self.back {
            dialler.server.disconnect().await?;
        }
        for dialler in &self.loops {
            let (manager, server) = (dialler.manager.clone(), dialler.server.clone());
            tokio::spawn(echo(manager, server, self.echoes.clone()));
        }
        Ok(json!({}))
    }

    fn send_bulk(&mut self) -> Value {
        let server = self.bulk.server.clone();
        self.sending = Some(tokio::spawn(async move {
            while server.send([0; BULK_MESSAGE_LEN]).await.is_ok() {}
        }));
        json!({})
    }

    fn rest(&mut self) -> Value {
        if let Some(sending) = self.sending.take() {
            sending.abort();
        }
        json!({})
    }
}

/// A closed loop: for each message that comes back the next one is sent.
async fn echo(manager: ConnectionManager, server: Peer, echoes: Arc<AtomicU64>) -> Result<()> {
    let mut messages: Vec<Message> = Vec::with_capacity(RECEIVE_MAX);
    for _ in 0..LOOP_MESSAGES {
        server.send([ECHO; LOOP_MESSAGE_LEN]).await?;
    }
    loop {
        manager.recv_many(&mut messages, RECEIVE_MAX).await?;
        for message in messages.drain(..) {
            echoes.fetch_add(1, Ordering::Relaxed);
            server.send(&message.payload).await?;
        }
    }
}

/// Connects a group at one time; the milliseconds that each has taken, and null for one that did not get
/// through.
async fn connect(group: &[Dialler]) -> Value {
    let mut dials = JoinSet::new();
    for dialler in group {
        let server = dialler.server.clone();
        dials.spawn(async move {
            let begun = Instant::now();
            let connected = timeout(CONNECT_TIME_MAX, async {
                while server.connect().await.is_err() {
                    sleep(DIAL_AGAIN).await;
                }
            });
            let is_connected = connected.await.is_ok();
            is_connected.then(|| u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX))
        });
    }
    json!({ "ms": dials.join_all().await })
}
