//! One peer of the mesh, in one of its lives.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use hdrhistogram::Histogram;
use quicpool::{
    Config, ConnectionManager, ConnectionStatus, Event, Events, EventsError, FlushError, Identity,
    NetworkMetrics, Peer, PeerAddr, PeerError, PeerId, Rejected, SendError,
};
use tokio::task::JoinHandle;

use crate::{
    ledger::{Arrived, Header, Sent},
    runtime::Runtime,
};

/// Bytes that wait in all outboxes together. Little, so that latency is that of the network and not
/// of the queues.
const QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that may wait in an outbox at least: a few batches.
const OUTBOX_BYTES_MIN: usize = 128 * 1024;

/// The data that all peers share.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the peers run on.
    pub(crate) runtime: Runtime,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Pairs of a sender and a receiver.
    pub(crate) pairs: usize,
    pub(crate) connections_max: Option<usize>,
    /// The zero of time stamps.
    pub(crate) began: Instant,
    /// All peers, in order, once all are bound.
    pub(crate) everyone: Vec<PeerAddr>,
    /// Messages received so far.
    pub(crate) received: AtomicU64,
    /// Senders that are not done.
    pub(crate) sending: AtomicUsize,
}

impl Plan {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The limits of a peer.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        let least = OUTBOX_BYTES_MIN.max(2 * self.size + 1_024);
        config.batch_bytes_max = OUTBOX_BYTES_MIN / 4;
        config.message_bytes_max = self.size.max(1_024);
        config.outbox_bytes_max = (QUEUED_BYTES / self.pairs).max(least);
        config.connections_max = self.connections_max.unwrap_or(config.connections_max);
        config
    }
}

/// A running peer.
pub(crate) struct Node {
    pub(crate) manager: ConnectionManager,
    senders: Vec<JoinHandle<Result<Sent, SendError>>>,
    receiver: JoinHandle<Received>,
    watcher: JoinHandle<Happened>,
}

/// All that is known of one life of a peer.
pub(crate) struct Life {
    pub(crate) sent: BTreeMap<usize, Sent>,
    pub(crate) received: Received,
    pub(crate) happened: Happened,
    pub(crate) metrics: NetworkMetrics,
}

/// What a peer has received.
pub(crate) struct Received {
    /// By sender and the sender's life.
    pub(crate) arrived: BTreeMap<(usize, u32), Arrived>,
    /// From accepted to received, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Messages without a valid header or from an unknown sender.
    pub(crate) corrupt: u64,
}

/// The events of a peer.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    /// How often a connection became `Connecting`, `Connected`, `Disconnected`, `Failed`.
    pub(crate) moves: BTreeMap<ConnectionStatus, u64>,
    undelivered: BTreeMap<PeerId, Vec<Range<u64>>>,
    /// Events that came too fast to be seen.
    pub(crate) missed: u64,
}

impl Node {
    /// Binds a peer that does nothing yet.
    pub(crate) async fn bind(
        plan: &Plan,
        seed: &[u8; 32],
        addr: SocketAddr,
    ) -> Result<ConnectionManager, quicpool::BindError> {
        let identity = Identity::from_seed(seed);
        plan.runtime.bind(addr, identity, plan.config()).await
    }

    /// Begins to receive, and to send to each receiver its quota of messages.
    pub(crate) fn start(
        plan: &Arc<Plan>,
        manager: ConnectionManager,
        life: u32,
        quotas: &BTreeMap<usize, u64>,
    ) -> Result<Self, Rejected> {
        let watcher = tokio::spawn(watch(manager.subscribe().1));
        let receiver = tokio::spawn(receive(Arc::clone(plan), manager.clone()));
        let mut senders = Vec::new();
        for (&to, &quota) in quotas {
            let peer = manager.peer(plan.everyone[to])?;
            plan.sending.fetch_add(1, Ordering::Relaxed);
            senders.push(tokio::spawn(send(Arc::clone(plan), peer, life, quota)));
        }
        Ok(Self {
            manager,
            senders,
            receiver,
            watcher,
        })
    }

    /// Dies as a crash of its process would have it.
    pub(crate) async fn crash(self, plan: &Plan) -> Result<Life, quicpool::Error> {
        let metrics = self.manager.metrics().await?;
        self.manager.abandon().await;
        let mut life = self.gather(plan, metrics).await?;
        for sent in life.sent.values_mut() {
            sent.crashed = true;
        }
        Ok(life)
    }

    /// Ends, once all senders of all peers are done.
    pub(crate) async fn finish(self, plan: &Plan) -> Result<Life, quicpool::Error> {
        let metrics = self.manager.metrics().await?;
        self.manager.close().await?;
        Ok(self.gather(plan, metrics).await?)
    }

    async fn gather(self, plan: &Plan, metrics: NetworkMetrics) -> Result<Life, SendError> {
        let id = self.manager.id();
        let others = (0..).zip(&plan.everyone).filter(|(_, peer)| peer.id != id);
        let mut happened = self.watcher.await.expect("the watcher does not panic");
        let mut sent = BTreeMap::new();
        for (sender, (to, peer)) in self.senders.into_iter().zip(others) {
            let mut one = sender.await.expect("a sender does not panic")?;
            one.reported = happened.undelivered.remove(&peer.id).unwrap_or_default();
            sent.insert(to, one);
        }
        Ok(Life {
            sent,
            received: self.receiver.await.expect("the receiver does not panic"),
            happened,
            metrics,
        })
    }
}

/// Sends a quota to one peer, whatever happens to it meanwhile, and waits until it is settled.
async fn send(plan: Arc<Plan>, peer: Peer, life: u32, quota: u64) -> Result<Sent, SendError> {
    let mut sent = Sent::default();
    let mut message = vec![0; plan.size];
    let mut outcome = Ok(());
    while sent.accepted < quota && outcome.is_ok() {
        let header = Header {
            life,
            number: sent.accepted,
            sent_ns: plan.now_ns(),
        };
        header.write(&mut message);
        match peer.try_send(&message) {
            Ok(_) => sent.accepted += 1,
            // Also for the other errors: the wait fails with them, and waits for the breaker.
            Err(_) => outcome = wait_for_room(&peer, plan.size).await,
        }
    }
    if outcome.is_ok() {
        outcome = settle(&peer).await;
    }
    plan.sending.fetch_sub(1, Ordering::Relaxed);
    match outcome {
        // A crash ends its senders.
        Ok(()) | Err(SendError::Closed(_)) => Ok(sent),
        Err(error) => Err(error),
    }
}

async fn wait_for_room(peer: &Peer, len: usize) -> Result<(), SendError> {
    match peer.writable(len).await {
        Err(SendError::Peer(error)) => wait_for_breaker(error).await,
        other => other,
    }
}

/// Waits until every message is taken or reported.
async fn settle(peer: &Peer) -> Result<(), SendError> {
    loop {
        match peer.flush().await {
            Ok(()) | Err(FlushError::Undelivered(_)) => return Ok(()),
            Err(FlushError::Closed(closed)) => return Err(closed.into()),
            Err(FlushError::Peer(error)) => wait_for_breaker(error).await?,
            Err(other) => panic!("unknown error of flush: {other}"),
        }
    }
}

/// A peer that fails all the time is tried again at a known time; any other error stays one.
async fn wait_for_breaker(error: PeerError) -> Result<(), SendError> {
    let PeerError::CircuitOpen { retry_at, .. } = error else {
        return Err(SendError::Peer(error));
    };
    tokio::time::sleep_until(retry_at.into()).await;
    Ok(())
}

async fn receive(plan: Arc<Plan>, manager: ConnectionManager) -> Received {
    let everyone: BTreeMap<_, _> = plan.everyone.iter().map(|peer| peer.id).zip(0..).collect();
    let mut received = Received {
        arrived: BTreeMap::new(),
        latency: histogram(),
        corrupt: 0,
    };
    let mut messages = Vec::new();
    while manager.recv_many(&mut messages, 256).await.is_ok() {
        let now_ns = plan.now_ns();
        plan.received
            .fetch_add(messages.len() as u64, Ordering::Relaxed);
        for message in messages.drain(..) {
            let header = Header::read(&message.payload);
            let from = everyone.get(&message.from);
            let (Some(header), Some(&from)) = (header, from) else {
                received.corrupt += 1;
                continue;
            };
            let arrived = received.arrived.entry((from, header.life)).or_default();
            arrived.note(header.number);
            let latency_us = now_ns.saturating_sub(header.sent_ns) / 1_000;
            received.latency.saturating_record(latency_us);
        }
    }
    received
}

/// Microseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

async fn watch(mut events: Events) -> Happened {
    let mut happened = Happened::default();
    loop {
        match events.next().await {
            Ok(Event::StatusChanged { to, .. }) => *happened.moves.entry(to).or_default() += 1,
            Ok(Event::Undelivered { peer, messages, .. }) => {
                happened.undelivered.entry(peer).or_default().push(messages);
            }
            Ok(_) => {}
            Err(EventsError::Missed(count)) => happened.missed += count,
            Err(_) => return happened,
        }
    }
}
