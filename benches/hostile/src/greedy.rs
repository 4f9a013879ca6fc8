//! One authenticated peer that sends as much as it can of what costs it little.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use quinn_proto::SendDatagramError;
use serde_json::json;

use crate::{
    child::{Orders, reply},
    losses::Losses,
    options::Greed,
    raw::{
        Link, Raw, is_loopback,
        seal::{self, Sealer},
        tls::{Twist, identity},
        wire,
    },
};

/// How long it waits after it was refused, and how long a handshake may take.
const COME_AGAIN: Duration = Duration::from_millis(100);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(6);

/// Bytes that are made ahead.
const BUFFER_LEN: usize = 64 << 10;

/// Messages of a record of empty ones.
const EMPTY_MESSAGES: usize = 65_536;

/// Bytes of a long datagram.
const DATAGRAM_LEN: usize = 1_100;

/// Datagrams that quinn-proto is given ahead: empty ones have no bytes that it could count.
const DATAGRAMS_AHEAD: u64 = 20_000;

/// What the parent asks for.
#[derive(Default)]
struct Counts {
    /// Frames, records or datagrams.
    units: AtomicU64,
    made: AtomicU64,
    losses: Losses,
}

/// Runs until the parent has gone. It answers each line with what it has done so far.
pub async fn run(case: Greed, server: SocketAddr) -> Result<()> {
    ensure!(is_loopback(server), "only loopback is attacked");
    let counts = Arc::new(Counts::default());
    let counted = counts.clone();
    reply(&json!({}));
    thread::spawn(move || {
        if let Err(error) = attack(case, server, &counted) {
            eprintln!("hostile: {case}: {error:#}");
            std::process::exit(1);
        }
    });
    let mut orders = Orders::new();
    while orders.next().await.is_some() {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (lost, reasons) = counts.losses.answer();
        reply(&json!({
            "units": number(&counts.units),
            "made": number(&counts.made),
            "lost": lost,
            "reasons": reasons,
        }));
    }
    Ok(())
}

/// Connects again and again, and sends on each connection until it is lost.
fn attack(case: Greed, server: SocketAddr, counts: &Counts) -> Result<()> {
    let mut raw = Raw::new(Ipv4Addr::LOCALHOST, server)?;
    let identity = identity(Twist::default())?;
    loop {
        let id = raw.dial(&identity)?;
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let mut sender: Option<Sender> = None;
        while let Some(link) = raw.link(id) {
            let has_timed_out = sender.is_none() && Instant::now() > deadline;
            if link.lost.is_some() || has_timed_out {
                counts.losses.add(link.lost.as_ref());
                break;
            }
            if link.is_connected() && !link.is_greeted {
                counts.made.fetch_add(1, Ordering::Relaxed);
                sender = Some(Sender::new(case, link)?);
            }
            if let Some(sender) = sender.as_mut().filter(|_| link.heard.is_greeted) {
                let units = sender.send(link)?;
                counts.units.fetch_add(units, Ordering::Relaxed);
            }
            raw.turn()?;
        }
        raw.forget(id);
        if sender.is_none() {
            thread::sleep(COME_AGAIN);
        }
    }
}

/// What goes out on one connection.
enum Sender {
    /// The same control frame again and again, and where in the bytes of many of them the stream is.
    Frames {
        bytes: Bytes,
        unit_len: usize,
        offset: usize,
    },
    /// Records with these messages, and what of those that were sealed is not written.
    Records {
        sealer: Box<Sealer>,
        body: Vec<u8>,
        count: usize,
        unwritten: Bytes,
    },
    /// Datagrams, and how many were handed over.
    Datagrams { payload: Bytes, handed_over: u64 },
}

impl Sender {
    /// Greets the server, and gets ready.
    fn new(case: Greed, link: &mut Link) -> Result<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let half = link.greet(u64::try_from(since_1970.as_millis())?)?;
        let mut key = [0; seal::KEY_LEN];
        link.export(seal::LABEL, &mut key)?;
        let sealer = Sealer::new(&key, half)?;
        Ok(match case {
            Greed::Acks => Self::frames(&wire::useless_ack()),
            Greed::Reserved => Self::frames(&wire::reserved_frame()),
            // One message of one byte.
            Greed::Bytes => Self::records(sealer, &[1, 0], 1),
            Greed::Empty => Self::records(sealer, &[0; EMPTY_MESSAGES], EMPTY_MESSAGES),
            Greed::EmptyDatagrams => Self::datagrams(0),
            Greed::LongDatagrams => Self::datagrams(DATAGRAM_LEN),
        })
    }

    fn frames(frame: &[u8]) -> Self {
        Self::Frames {
            bytes: Bytes::from(frame.repeat(BUFFER_LEN / frame.len())),
            unit_len: frame.len(),
            offset: 0,
        }
    }

    fn records(sealer: Sealer, body: &[u8], count: usize) -> Self {
        Self::Records {
            sealer: Box::new(sealer),
            body: body.to_vec(),
            count,
            unwritten: Bytes::from_static(&wire::LINE),
        }
    }

    fn datagrams(length: usize) -> Self {
        Self::Datagrams {
            payload: Bytes::from(vec![0; length]),
            handed_over: 0,
        }
    }

    /// Writes until there is no room; how many frames, records or datagrams that were.
    fn send(&mut self, link: &mut Link) -> Result<u64> {
        match self {
            Self::Frames {
                bytes,
                unit_len,
                offset,
            } => Ok(send_frames(link, bytes, *unit_len, offset)),
            Self::Records {
                sealer,
                body,
                count,
                unwritten,
            } => send_records(link, sealer, (*count, body), unwritten),
            Self::Datagrams {
                payload,
                handed_over,
            } => Ok(send_datagrams(link, payload, handed_over)),
        }
    }
}

fn send_frames(link: &mut Link, bytes: &Bytes, unit_len: usize, offset: &mut usize) -> u64 {
    let mut units = 0;
    loop {
        let wanted = bytes.slice(*offset..);
        let written = link.write_control(&wanted);
        units += (*offset + written) / unit_len;
        *offset = (*offset + written) % unit_len;
        if written < wanted.len() {
            return units as u64;
        }
    }
}

/// Keeps to credit and passage, as a sender that is to be heard has to.
fn send_records(
    link: &mut Link,
    sealer: &mut Sealer,
    (count, body): (usize, &[u8]),
    unwritten: &mut Bytes,
) -> Result<u64> {
    let mut units = 0;
    loop {
        let room = link.heard.limit().saturating_sub(link.written);
        let wanted = unwritten.slice(..unwritten.len().min(room));
        let written = link.write_data(&wanted);
        *unwritten = unwritten.slice(written..);
        if !unwritten.is_empty() {
            return Ok(units);
        }
        let mut sealed = Vec::with_capacity(BUFFER_LEN);
        while sealed.len() < BUFFER_LEN {
            sealer.append(count, body, &mut sealed)?;
            units += 1;
        }
        *unwritten = Bytes::from(sealed);
    }
}

fn send_datagrams(link: &mut Link, payload: &Bytes, handed_over: &mut u64) -> u64 {
    let before = *handed_over;
    let sent = link.connection.stats().frame_tx.datagram;
    while *handed_over < sent + DATAGRAMS_AHEAD {
        match link.connection.datagrams().send(payload.clone(), false) {
            Ok(()) => *handed_over += 1,
            Err(SendDatagramError::Blocked(_)) => break,
            // The path or the server takes none so long: there is nothing to send.
            Err(
                SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled
                | SendDatagramError::TooLarge,
            ) => break,
        }
    }
    *handed_over - before
}
