//! A program that keeps every rule, and for each rule one that is broken on purpose and found out.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "one fault or event of many matters in each place"
)]

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use quicpool_core::{ConnectionStatus, Event, Manager, PeerAddr, PeerId, Reason};

use crate::Table;

use super::{
    Failure, Identity, Outcome, Program, Settings, check, check_rules,
    end::{Calm, End, Habit, Life},
    rules,
    trial::PATIENCE,
};

/// How long a program that waits for each message waits.
const IMPATIENCE: Duration = Duration::from_secs(3);

/// The fault of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Cuts messages that are longer than 65,535 bytes.
    Truncates,
    /// Loses every thousandth message.
    Drops,
    /// Names the first sender as that of every message.
    MixesUp,
    /// Refuses peers that dial it.
    TurnsAway,
    /// Sends only to peers that it has heard.
    DialsNone,
    /// Begins anew when a connection is there.
    BeginsAnew,
    /// Sends by datagrams once there is a connection.
    SendsOnce,
    /// Sends every fiftieth message twice.
    Doubles,
    /// Sends every fiftieth message after the next.
    Swaps,
    /// Ends the session with its connection.
    GivesUp,
    /// Refuses peers that have restarted.
    Resents,
    /// Ends when it receives what is no packet.
    DiesOfGarbage,
    /// Ends when it hears a second address.
    DiesOfStrangers,
    /// Ends when the system refuses to send.
    DiesOfRefusal,
    /// Waits until each message has arrived.
    WaitsForEach,
    /// Delivers nothing when it stops.
    Aborts,
    /// Delivers everything when it stops, and goes without a word.
    Vanishes,
    /// Has a fresh identity at each start.
    Forgets,
    /// Has no such settings.
    Cannot,
}

impl Habit for Fault {
    fn received(&mut self, _from: SocketAddr, bytes: &[u8]) -> Life {
        // Every QUIC packet has this bit but Version Negotiation (RFC 9000 section 17.2).
        let is_garbage = bytes.first().is_some_and(|first| first & 0x40 == 0);
        match self {
            Self::DiesOfGarbage if is_garbage => Life::Ends,
            _ => Life::GoesOn,
        }
    }

    fn notified(&mut self, now: Instant, manager: &mut Manager, event: &Event) {
        match (self, event) {
            (
                Self::TurnsAway,
                Event::StatusChanged {
                    peer,
                    reason: Reason::Arriving,
                    ..
                },
            )
            | (Self::Resents, Event::PeerRestarted { peer, .. }) => {
                manager.block(now, *peer).expect("another peer");
            }
            (
                Self::GivesUp,
                Event::StatusChanged {
                    peer,
                    from: ConnectionStatus::Connected,
                    ..
                },
            ) => manager.disconnect(now, *peer).expect("a known peer"),
            (
                fault @ Self::BeginsAnew,
                Event::StatusChanged {
                    peer,
                    to: ConnectionStatus::Connected,
                    ..
                },
            ) => {
                *fault = Self::Nothing;
                manager.disconnect(now, *peer).expect("a known peer");
            }
            _ => {}
        }
    }

    fn refused(&mut self, _error: &io::Error) -> Life {
        match self {
            Self::DiesOfRefusal => Life::Ends,
            _ => Life::GoesOn,
        }
    }
}

/// Ends when it hears a second address.
#[derive(Debug, Default)]
struct OneAddress(Option<SocketAddr>);

impl Habit for OneAddress {
    fn received(&mut self, from: SocketAddr, _bytes: &[u8]) -> Life {
        match *self.0.get_or_insert(from) == from {
            true => Life::GoesOn,
            false => Life::Ends,
        }
    }
}

/// A program that is made of an end of the kit, with a fault.
struct Faulty {
    fault: Fault,
    end: Option<End>,
    identity: Option<Arc<quicpool_core::Identity>>,
    introduced: BTreeSet<PeerId>,
    sent: usize,
    received: usize,
    /// A message that waits for the next one.
    held: Option<(PeerAddr, Vec<u8>)>,
}

impl Faulty {
    const fn new(fault: Fault) -> Self {
        Self {
            fault,
            end: None,
            identity: None,
            introduced: BTreeSet::new(),
            sent: 0,
            received: 0,
            held: None,
        }
    }

    fn end(&self) -> Result<&End, Failure> {
        self.end
            .as_ref()
            .ok_or_else(|| Failure::Wrong("it does not run".to_owned()))
    }

    fn habit(&self) -> Box<dyn Habit> {
        match self.fault {
            Fault::Nothing => Box::new(Calm),
            Fault::DiesOfStrangers => Box::new(OneAddress::default()),
            fault => Box::new(fault),
        }
    }

    fn pass_on(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        if self.introduced.insert(to.id) {
            self.end()?.introduce(to)?;
        }
        self.end()?.send(to.id, &[message.to_vec()], PATIENCE)
    }

    fn send_once(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        let bytes = message.to_vec();
        let datagram = move |now, machine: &mut super::end::Machine| {
            machine.manager.send_datagram(now, to.id, &bytes).is_ok()
        };
        match self.end()?.ask(datagram)? {
            true => Ok(()),
            false => self.pass_on(to, message),
        }
    }

    fn flush(&self, peer: PeerId, patience: Duration) -> Result<(), Failure> {
        let end = self.end()?;
        let token = self.sent as u64;
        let flush = end.ask(move |now, machine| machine.manager.flush(now, peer, token))?;
        flush.map_err(Failure::wrong)?;
        let is_flushed =
            |event: &Event| matches!(event, Event::Flushed { token: it, .. } if *it == token);
        match end.wait(patience, |seen| seen.events.iter().any(is_flushed)) {
            true => Ok(()),
            false => Err(Failure::Wrong("the message has not arrived".to_owned())),
        }
    }
}

impl Program for Faulty {
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> {
        if self.fault == Fault::Cannot {
            return Err(Failure::Unable("it has no settings".to_owned()));
        }
        let identity = match (settings.identity, self.identity.take()) {
            (Identity::Same, Some(same)) if self.fault != Fault::Forgets => same,
            _ => Arc::new(quicpool_core::Identity::generate()),
        };
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let end = End::bind(at, identity, settings, 7, self.habit())?;
        let addr = end.addr;
        let fault = self.fault;
        *self = Self::new(fault);
        self.identity = Some(end.identity());
        self.end = Some(end);
        Ok(addr)
    }

    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        self.sent += 1;
        let fiftieth = self.sent.is_multiple_of(50);
        match self.fault {
            Fault::Truncates => self.pass_on(to, &message[..message.len().min(65_535)]),
            Fault::Drops if self.sent.is_multiple_of(1_000) => Ok(()),
            Fault::DialsNone if self.end()?.seen().of(to.id).is_empty() => Ok(()),
            Fault::SendsOnce => self.send_once(to, message),
            Fault::Doubles if fiftieth => {
                self.pass_on(to, message)?;
                self.pass_on(to, message)
            }
            Fault::Swaps if fiftieth => {
                self.held = Some((to, message.to_vec()));
                Ok(())
            }
            Fault::WaitsForEach => {
                self.pass_on(to, message)?;
                self.flush(to.id, IMPATIENCE)
            }
            _ => {
                self.pass_on(to, message)?;
                match self.held.take() {
                    Some((to, message)) => self.pass_on(to, &message),
                    None => Ok(()),
                }
            }
        }
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> {
        let end = self.end()?;
        let number = self.received;
        if !end.wait(patience, |seen| seen.messages.len() > number) {
            return Ok(None);
        }
        let seen = end.seen();
        let message = &seen.messages[number];
        let first = seen.messages[0].from;
        let from = if self.fault == Fault::MixesUp {
            first
        } else {
            message.from
        };
        let received = (from, message.payload.to_vec());
        drop(seen);
        self.received += 1;
        Ok(Some(received))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut end) = self.end.take() else {
            return Ok(());
        };
        if self.fault == Fault::Vanishes {
            let peers: Vec<_> = self.introduced.iter().copied().collect();
            self.end = Some(end);
            peers
                .into_iter()
                .try_for_each(|peer| self.flush(peer, PATIENCE))?;
            self.end = None;
            return Ok(());
        }
        let aborts = self.fault == Fault::Aborts;
        end.ask(move |now, machine| match aborts {
            true => machine.manager.abort(now),
            false => machine.manager.close(now),
        })?;
        end.wait(PATIENCE, |seen| seen.closed.is_some());
        let closed = end.seen().closed;
        end.crash();
        match closed {
            Some(0) => Ok(()),
            Some(_) if aborts => Ok(()),
            Some(count) => Err(Failure::Wrong(format!("{count} messages are undelivered"))),
            None => Err(Failure::Wrong("it does not end".to_owned())),
        }
    }
}

/// For each rule a program that breaks it, and maybe others.
const BROKEN: [(&str, Fault); 19] = [
    ("sizes", Fault::Truncates),
    ("many", Fault::Drops),
    ("senders", Fault::MixesUp),
    ("is-dialled", Fault::TurnsAway),
    ("dials", Fault::DialsNone),
    ("both-dial", Fault::BeginsAnew),
    ("loss", Fault::SendsOnce),
    ("duplication", Fault::Doubles),
    ("reordering", Fault::Swaps),
    ("silence", Fault::GivesUp),
    ("crash", Fault::Resents),
    ("garbage", Fault::DiesOfGarbage),
    ("spoofing", Fault::DiesOfStrangers),
    ("closed-port", Fault::WaitsForEach),
    ("refused-send", Fault::DiesOfRefusal),
    ("stalled-reader", Fault::WaitsForEach),
    ("stop-delivers", Fault::Aborts),
    ("goodbye", Fault::Vanishes),
    ("start-again", Fault::Forgets),
];

#[test]
fn a_program_without_fault_keeps_every_rule() {
    let report = check("faultless", || Faulty::new(Fault::Nothing));
    println!("{report}");
    assert!(report.is_kept(), "{report}");
    assert_eq!(report.lines.len(), rules().len());
}

#[test]
fn every_rule_finds_a_program_that_breaks_it() {
    let broken: Vec<_> = BROKEN.iter().map(|(name, _)| *name).collect();
    let all: Vec<_> = rules().iter().map(|rule| rule.name).collect();
    assert_eq!(broken, all, "each rule has a broken program");
    let find = |(rule, fault): (usize, &(&str, Fault))| {
        let name = format!("{:?}", fault.1);
        check_rules(&name, &rules()[rule..=rule], || Faulty::new(fault.1))
    };
    let reports: Vec<_> = thread::scope(|scope| {
        let run = |it| scope.spawn(move || find(it));
        let threads: Vec<_> = BROKEN.iter().enumerate().map(run).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a check does not panic"))
            .collect()
    });
    println!("{}", Table::new(reports.clone()));
    for ((rule, fault), report) in BROKEN.iter().zip(&reports) {
        assert_eq!(report.broken(), [*rule], "{fault:?}\n{report}");
    }
}

#[test]
fn a_program_that_cannot_be_asked_is_not_broken() {
    let report = check_rules("cannot", &rules()[..1], || Faulty::new(Fault::Cannot));
    let reason = Outcome::NotApplicable("it has no settings".to_owned());
    assert_eq!(report.lines[0].outcome, reason);
    assert!(report.is_kept());
}
