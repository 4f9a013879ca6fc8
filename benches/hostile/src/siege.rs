//! The attacker on memory: seats that are taken again whenever their connection has ended.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use quinn_proto::crypto;
use serde_json::{Value, json};

use crate::{
    child::{Orders, reply},
    losses::Losses,
    options::Siege,
    raw::{
        Link, LinkId, Raw, is_loopback,
        tls::{Twist, identity},
        wire,
    },
};

/// How long a seat waits after its connection was lost or refused.
const COME_AGAIN: Duration = Duration::from_millis(100);

/// How long a handshake may take before its seat tries again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(6);

/// Dials in one turn. More would be lost in the socket's buffer.
const DIALS_PER_TURN: usize = 8;

/// How long a connection of [`Siege::Drain`] stays with nothing more to write: the last packets arrive.
const LINGER: Duration = Duration::from_millis(10);

/// Bytes that are written at a time.
const CHUNK_LEN: usize = 64 << 10;

/// The close code Goodbye.
const GOODBYE: u32 = 0;

/// What an attack is made of.
struct Plan {
    identities: usize,
    connections_each: usize,
    twist: Twist,
    /// After so many connections it is done; 0 for attacks that keep theirs.
    connections_max: u64,
}

impl Siege {
    fn plan(self) -> Plan {
        let (identities, connections_each, connections_max) = match self {
            Self::Prehello => (100, 4, 0),
            Self::Partial => (400, 1, 0),
            Self::Gaps => (200, 1, 0),
            Self::Certificates => (1, 8, 4_200),
            Self::Drain => (1, 1, 220),
        };
        let twist = Twist {
            certificate_padding: if self == Self::Certificates {
                60_000
            } else {
                0
            },
            is_slow_to_acknowledge: self == Self::Drain,
            has_gap: self == Self::Gaps,
        };
        Plan {
            identities,
            connections_each,
            twist,
            connections_max,
        }
    }
}

/// What the parent asks for.
#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    /// Handshakes that were done.
    made: AtomicU64,
    bytes: AtomicU64,
    is_done: AtomicBool,
    losses: Losses,
}

impl Counts {
    fn line(&self) -> Value {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (lost, reasons) = self.losses.answer();
        json!({
            "connected": number(&self.connected),
            "made": number(&self.made),
            "lost": lost,
            "bytes": number(&self.bytes),
            "done": self.is_done.load(Ordering::Relaxed),
            "reasons": reasons,
        })
    }
}

/// Runs until the parent has gone. It answers each line with what it has done so far.
pub async fn run(case: Siege, server: SocketAddr) -> Result<()> {
    ensure!(is_loopback(server), "only loopback is attacked");
    let counts = Arc::new(Counts::default());
    let mut attacker = Attacker::new(case, server, counts.clone())?;
    reply(&json!({}));
    thread::spawn(move || {
        if let Err(error) = attacker.attack() {
            eprintln!("hostile: {case}: {error:#}");
            std::process::exit(1);
        }
    });
    let mut orders = Orders::new();
    while orders.next().await.is_some() {
        reply(&counts.line());
    }
    Ok(())
}

/// One connection, and the next one in its place.
struct Seat {
    identity: usize,
    link: Option<LinkId>,
    /// When it dials, or gives a handshake up.
    due: Instant,
    /// When the connection that was counted last was connected.
    seen: Instant,
    /// Since when there was nothing more to write.
    idle_since: Option<Instant>,
}

struct Attacker {
    case: Siege,
    plan: Plan,
    raw: Raw,
    identities: Vec<Arc<dyn crypto::ClientConfig>>,
    seats: Vec<Seat>,
    filler: Bytes,
    counts: Arc<Counts>,
}

impl Attacker {
    fn new(case: Siege, server: SocketAddr, counts: Arc<Counts>) -> Result<Self> {
        let plan = case.plan();
        let identities = (0..plan.identities).map(|_| identity(plan.twist));
        let seats = (0..plan.identities * plan.connections_each).map(|seat| Seat {
            identity: seat % plan.identities,
            link: None,
            due: Instant::now(),
            seen: Instant::now(),
            idle_since: None,
        });
        Ok(Self {
            raw: Raw::new(Ipv4Addr::LOCALHOST, server)?,
            identities: identities.collect::<Result<_>>()?,
            seats: seats.collect(),
            // No byte of it looks like the start of a frame that is taken out of packets.
            filler: Bytes::from(vec![0xaa; CHUNK_LEN]),
            case,
            plan,
            counts,
        })
    }

    /// Attacks until the process ends.
    fn attack(&mut self) -> Result<()> {
        loop {
            self.raw.turn()?;
            let (mut connected, mut dials) = (0, 0);
            for seat in 0..self.seats.len() {
                match self.seats[seat].link {
                    None if dials < DIALS_PER_TURN => dials += usize::from(self.dial(seat)?),
                    None => {}
                    Some(link) => connected += u64::from(self.act(seat, link)?),
                }
            }
            self.counts.connected.store(connected, Ordering::Relaxed);
        }
    }

    /// Whether it has made as many connections as it wants.
    fn is_done(&self) -> bool {
        let made = self.counts.made.load(Ordering::Relaxed);
        self.plan.connections_max > 0 && made >= self.plan.connections_max
    }

    /// Dials if it is time to; whether it has.
    fn dial(&mut self, seat: usize) -> Result<bool> {
        if self.is_done() {
            self.counts.is_done.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        let now = Instant::now();
        if self.seats[seat].due > now {
            return Ok(false);
        }
        let identity = self.identities[self.seats[seat].identity].clone();
        self.seats[seat].link = Some(self.raw.dial(&identity)?);
        self.seats[seat].due = now + HANDSHAKE_TIMEOUT;
        self.seats[seat].idle_since = None;
        Ok(true)
    }

    /// Does what the case wants on a connection; whether it is connected.
    fn act(&mut self, seat: usize, id: LinkId) -> Result<bool> {
        let now = Instant::now();
        let Some(link) = self.raw.link(id) else {
            return Ok(false);
        };
        let has_timed_out = link.connected.is_none() && now > self.seats[seat].due;
        if link.lost.is_some() || has_timed_out {
            self.counts.losses.add(link.lost.as_ref());
            // One that was let in for a moment is let in again.
            let was_in = self
                .raw
                .link(id)
                .is_some_and(|link| link.connected.is_some());
            self.leave(seat, id, if was_in { Duration::ZERO } else { COME_AGAIN });
            return Ok(false);
        }
        let Some(connected) = link.connected else {
            return Ok(false);
        };
        if connected > self.seats[seat].seen {
            self.seats[seat].seen = connected;
            self.counts.made.fetch_add(1, Ordering::Relaxed);
        }
        let before = link.written;
        work(self.case, link, &self.filler)?;
        let written = link.written - before;
        let greeted = link.heard.is_greeted;
        self.counts
            .bytes
            .fetch_add(written as u64, Ordering::Relaxed);

        let seat_now = &mut self.seats[seat];
        let idle_since = match written {
            0 => *seat_now.idle_since.get_or_insert(now),
            _ => now,
        };
        seat_now.idle_since = (written == 0).then_some(idle_since);
        let is_over = match self.case {
            Siege::Prehello | Siege::Partial | Siege::Gaps => false,
            // The greeting shows that the whole certificate has arrived.
            Siege::Certificates => greeted || now > connected + HANDSHAKE_TIMEOUT,
            Siege::Drain => before > 0 && now > idle_since + LINGER,
        };
        if is_over {
            self.raw.close(id, GOODBYE);
            self.leave(seat, id, Duration::ZERO);
        }
        Ok(true)
    }

    fn leave(&mut self, seat: usize, id: LinkId, pause: Duration) {
        self.raw.forget(id);
        self.seats[seat].link = None;
        self.seats[seat].due = Instant::now() + pause;
    }
}

/// Writes what a connection of this case has to write.
fn work(case: Siege, link: &mut Link, filler: &Bytes) -> Result<()> {
    match case {
        Siege::Prehello | Siege::Drain => {
            begin_line(link);
            fill(link, filler, usize::MAX);
        }
        Siege::Partial => {
            greet(link)?;
            if link.heard.is_greeted {
                write_partial_record(link, filler);
            }
        }
        Siege::Gaps => {
            // The byte that is taken out is alone in its frame: the rest is written in later turns.
            if link.written == 0 && link.is_greeted {
                link.write_data(&Bytes::from_static(&wire::LINE[..1]));
            } else if link.is_greeted {
                fill(link, filler, usize::MAX);
            }
            greet(link)?;
        }
        Siege::Certificates => {}
    }
    Ok(())
}

fn greet(link: &mut Link) -> Result<()> {
    if !link.is_greeted {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
        link.greet(u64::try_from(since_1970.as_millis())?)?;
    }
    Ok(())
}

fn begin_line(link: &mut Link) {
    if link.written == 0 {
        link.write_data(&Bytes::from_static(&wire::LINE));
    }
}

/// Writes up to a limit for the whole stream, or until there is no room.
fn fill(link: &mut Link, filler: &Bytes, limit: usize) {
    loop {
        let chunk = filler.len().min(limit.saturating_sub(link.written));
        if chunk == 0 || link.write_data(&filler.slice(..chunk)) < chunk {
            return;
        }
    }
}

/// Writes a record with one largest message, without its last byte, as credit comes.
fn write_partial_record(link: &mut Link, filler: &Bytes) {
    let size = wire::varint(wire::MESSAGE_BYTES_MAX as u64);
    let body_len = size.len() + wire::MESSAGE_BYTES_MAX;
    if link.written == 0 {
        let header = wire::record_header(body_len, 1, 0);
        let start = [&wire::LINE[..], &header, &size].concat();
        link.write_data(&Bytes::from(start));
    }
    let whole = wire::LINE.len() + wire::RECORD_HEADER_LEN + body_len + wire::TAG_LEN;
    fill(link, filler, link.heard.limit().min(whole - 1));
}
