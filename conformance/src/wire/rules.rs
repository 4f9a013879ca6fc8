//! The rules, and how each is asked.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use quicpool_core::{ConnectionStatus, Event, PeerAddr, PeerId, Reason};

use super::{
    Failure, Identity,
    end::{End, Reading, Seen},
    path::Faults,
    trial::{PATIENCE, Trial, arrive, messages},
};

/// Something that must hold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, for reports.
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub must: &'static str,
    ask: fn(&mut Trial<'_>) -> Result<(), Failure>,
}

impl Rule {
    pub(super) fn ask(&self, trial: &mut Trial<'_>) -> Result<(), Failure> {
        (self.ask)(trial)
    }
}

/// All rules, the simple ones first.
pub const fn rules() -> &'static [Rule] {
    RULES
}

/// An error with this text unless the condition holds.
macro_rules! require {
    ($holds:expr, $($what:tt)+) => {
        match $holds {
            true => Ok(()),
            false => Err(Failure::Wrong(format!($($what)+))),
        }
    };
}

const RULES: &[Rule] = &[
    Rule {
        name: "sizes",
        must: "A message of every size up to the limit arrives whole, in order and once, both ways.",
        ask: sizes,
    },
    Rule {
        name: "many",
        must: "Thousands of small messages arrive in order and once, both ways.",
        ask: many,
    },
    Rule {
        name: "senders",
        must: "Messages of two peers at once are not mixed up.",
        ask: senders,
    },
    Rule {
        name: "is-dialled",
        must: "A program that is dialled answers over that connection.",
        ask: is_dialled,
    },
    Rule {
        name: "dials",
        must: "A program that is asked to send dials its peer.",
        ask: dials,
    },
    Rule {
        name: "both-dial",
        must: "Two that dial each other at once end with one connection, and no message is lost.",
        ask: both_dial,
    },
    Rule {
        name: "loss",
        must: "A path that loses packets loses no message.",
        ask: loss,
    },
    Rule {
        name: "duplication",
        must: "A path that doubles packets doubles no message.",
        ask: duplication,
    },
    Rule {
        name: "reordering",
        must: "A path that reorders packets reorders no message.",
        ask: reordering,
    },
    Rule {
        name: "silence",
        must: "The session survives a silence that is longer than liveness_timeout.",
        ask: silence,
    },
    Rule {
        name: "crash",
        must: "A peer that crashes and comes back is talked to again, both ways.",
        ask: crash,
    },
    Rule {
        name: "garbage",
        must: "Garbage and damaged or truncated packets do no harm.",
        ask: garbage,
    },
    Rule {
        name: "spoofing",
        must: "Packets that strangers repeat or forge do no harm.",
        ask: spoofing,
    },
    Rule {
        name: "closed-port",
        must: "A destination where no socket is open does not keep other peers from their messages.",
        ask: closed_port,
    },
    Rule {
        name: "refused-send",
        must: "A destination that the system refuses to send to does not keep other peers from theirs.",
        ask: refused_send,
    },
    Rule {
        name: "stalled-reader",
        must: "A peer that does not read holds up only itself.",
        ask: stalled_reader,
    },
    Rule {
        name: "stop-delivers",
        must: "What was accepted before stop has arrived when stop returns.",
        ask: stop_delivers,
    },
    Rule {
        name: "goodbye",
        must: "Stop tells connected peers that the program goes, before they miss it.",
        ask: goodbye,
    },
    Rule {
        name: "start-again",
        must: "A program that starts again with its identity is the same peer, and works.",
        ask: start_again,
    },
];

/// Enough for several batches in each direction, and soon sent in a debug build.
const MANY: usize = 3_000;

/// Enough that faults of a few percent meet data and acknowledgements.
const SOME: usize = 300;

/// Longer than an acknowledgement may wait.
const ACKNOWLEDGED: Duration = Duration::from_millis(50);

/// Bytes of a message where only their number matters.
const SMALL: usize = 32;

fn sizes(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let max = trial.settings.message_bytes_max;
    // Around what one, two and four bytes of length can say, a packet, a batch, and the limit.
    let lens = [
        0,
        1,
        2,
        63,
        64,
        65,
        1_199,
        1_452,
        16_383,
        16_384,
        65_535,
        65_536,
        max - 1,
        max,
    ];
    exchange(trial, &lens)
}

fn many(trial: &mut Trial<'_>) -> Result<(), Failure> {
    exchange(trial, &[SMALL; MANY])
}

/// Messages of these lengths pass both ways at once.
fn exchange(trial: &mut Trial<'_>, lens: &[usize]) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    exchange_with(trial, program, &end, lens)
}

fn exchange_with(
    trial: &mut Trial<'_>,
    program: PeerAddr,
    end: &End,
    lens: &[usize],
) -> Result<(), Failure> {
    let before = end.seen().of(program.id);
    let there = messages(&mut trial.dice, lens.iter().copied());
    let back = messages(&mut trial.dice, lens.iter().copied());
    end.send(program.id, &there, PATIENCE)?;
    trial.send(end.addr, &back)?;
    trial.receive(end, &there)?;
    arrive(end, program.id, &[before, back].concat())
}

/// A program that was started, and an end that knows where it is.
fn meet(trial: &mut Trial<'_>) -> Result<(PeerAddr, End), Failure> {
    let program = trial.start()?;
    let end = trial.end()?;
    end.introduce(program)?;
    Ok((program, end))
}

fn senders(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, one) = meet(trial)?;
    let two = trial.end()?;
    two.introduce(program)?;
    let ends = [&one, &two];
    let there = ends.map(|_| messages(&mut trial.dice, [SMALL; SOME]));
    let back = ends.map(|_| messages(&mut trial.dice, [SMALL; SOME]));
    for (end, there) in ends.iter().zip(&there) {
        end.send(program.id, there, PATIENCE)?;
    }
    for (to_one, to_two) in back[0].iter().zip(&back[1]) {
        trial.program.send(one.addr, to_one)?;
        trial.program.send(two.addr, to_two)?;
    }
    for ((end, there), back) in ends.iter().zip(&there).zip(&back) {
        trial.receive(end, there)?;
        arrive(end, program.id, back)?;
    }
    Ok(())
}

fn is_dialled(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    let there = messages(&mut trial.dice, [SMALL; 2]);
    end.send(program.id, &there, PATIENCE)?;
    trial.receive(&end, &there)?;
    let back = messages(&mut trial.dice, [SMALL; 2]);
    trial.send(end.addr, &back)?;
    arrive(&end, program.id, &back)?;
    let dials = end.ask(move |now, machine| machine.manager.metrics(now).counters.dials)?;
    one_connection(&end, program.id)?;
    require!(dials == 1, "the kit had to dial {dials} times")
}

fn dials(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let program = trial.start()?;
    let end = trial.end()?;
    let back = messages(&mut trial.dice, [SMALL; 2]);
    trial.send(end.addr, &back)?;
    arrive(&end, program.id, &back)?;
    // The kit knows no address: its answer takes the program's connection.
    let there = messages(&mut trial.dice, [SMALL; 2]);
    end.send(program.id, &there, PATIENCE)?;
    trial.receive(&end, &there)
}

fn both_dial(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    // Each has sent its first packet before it hears the other's.
    let faults = Faults {
        delay_max: Duration::from_millis(20),
        ..Faults::default()
    };
    end.ask(move |_, machine| machine.path.set_faults(faults))?;
    exchange_with(trial, program, &end, &[SMALL; SOME])?;
    one_connection(&end, program.id)
}

fn one_connection(end: &End, program: PeerId) -> Result<(), Failure> {
    let count = || {
        end.ask(move |_, machine| {
            let connections = machine.manager.connections(program);
            connections.map_or(0, Iterator::count)
        })
    };
    until(
        || Ok(count()? == 1),
        "there is not one connection in the end",
    )
}

/// Waits until something is as wanted: an error with this text if it never is.
fn until(wanted: impl Fn() -> Result<bool, Failure>, otherwise: &str) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while !wanted()? {
        require!(Instant::now() < until, "{otherwise}")?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn loss(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let faults = Faults {
        loss: 8,
        ..Faults::default()
    };
    exchange_over(trial, faults)
}

fn duplication(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let faults = Faults {
        duplication: 50,
        ..Faults::default()
    };
    exchange_over(trial, faults)
}

fn reordering(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let faults = Faults {
        delay_max: Duration::from_millis(5),
        ..Faults::default()
    };
    exchange_over(trial, faults)
}

fn exchange_over(trial: &mut Trial<'_>, faults: Faults) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    end.ask(move |_, machine| machine.path.set_faults(faults))?;
    exchange_with(trial, program, &end, &[1_000; SOME])
}

fn silence(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    let there = messages(&mut trial.dice, [SMALL; 3]);
    let back = messages(&mut trial.dice, [SMALL; 3]);
    // One before the silence, one in it, one after it.
    end.send(program.id, &there[..1], PATIENCE)?;
    trial.send(end.addr, &back[..1])?;
    arrive(&end, program.id, &back[..1])?;
    let silence = trial.settings.liveness_timeout * 2;
    end.ask(move |now, machine| machine.path.silence(now + silence))?;
    end.send(program.id, &there[1..2], PATIENCE)?;
    trial.send(end.addr, &back[1..2])?;
    thread::sleep(silence);
    end.send(program.id, &there[2..], PATIENCE)?;
    trial.send(end.addr, &back[2..])?;
    trial.receive(&end, &there)?;
    arrive(&end, program.id, &back)
}

fn crash(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, mut end) = meet(trial)?;
    exchange_with(trial, program, &end, &[SMALL])?;
    // What was taken has been acknowledged by then.
    thread::sleep(ACKNOWLEDGED);
    end.crash();
    let again = end.again(trial.dice.next())?;
    again.introduce(program)?;
    // What the program accepts before it hears the new process may be lost with the old one.
    let there = messages(&mut trial.dice, [SMALL]);
    again.send(program.id, &there, PATIENCE)?;
    trial.receive(&again, &there)?;
    exchange_with(trial, program, &again, &[SMALL; 3])
}

/// Datagrams of each kind that are no packets of the connection.
const FORGED: usize = 50;

fn garbage(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    exchange_with(trial, program, &end, &[SMALL; 3])?;
    let mut forged = Vec::new();
    for packet in end.ask(|_, machine| machine.path.remembered())? {
        let cut = trial.dice.below(packet.len() as u64) as usize;
        forged.push(packet[..cut].to_vec());
        forged.push(damaged(trial, packet));
    }
    for len in [0, 1, 20, 21, 1_200] {
        forged.extend((0..FORGED / 5).map(|_| trial.dice.bytes(len)));
    }
    let to = program.addr;
    end.ask(move |_, machine| {
        let thrown = |bytes: &Vec<u8>| machine.path.throw(to, bytes).is_ok();
        forged.iter().filter(|bytes| thrown(bytes)).count()
    })?;
    still_talks(trial, program, &end)
}

/// A packet with one bit turned.
fn damaged(trial: &mut Trial<'_>, mut packet: Vec<u8>) -> Vec<u8> {
    let at = trial.dice.below(packet.len() as u64) as usize;
    packet[at] ^= 1 << trial.dice.below(8);
    packet
}

fn spoofing(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    exchange_with(trial, program, &end, &[SMALL; 3])?;
    let stranger = UdpSocket::bind("127.0.0.1:0").map_err(Failure::wrong)?;
    for packet in end.ask(|_, machine| machine.path.remembered())? {
        let mut reset = packet.clone();
        // As long as a stateless reset (RFC 9000 section 10.3), with a token that is none.
        reset.truncate(43);
        let random = trial.dice.bytes(reset.len().saturating_sub(1));
        reset[1..].copy_from_slice(&random);
        // A Version Negotiation packet (RFC 9000 section 17.2.1) that offers nothing.
        let mut versions = packet.clone();
        versions[0] |= 0x80;
        versions.truncate(30);
        versions
            .iter_mut()
            .skip(1)
            .take(4)
            .for_each(|byte| *byte = 0);
        for forged in [packet, reset, versions] {
            stranger
                .send_to(&forged, program.addr)
                .map_err(Failure::wrong)?;
        }
    }
    still_talks(trial, program, &end)
}

/// The connection is the same as before, and messages pass.
fn still_talks(trial: &mut Trial<'_>, program: PeerAddr, end: &End) -> Result<(), Failure> {
    exchange_with(trial, program, end, &[SMALL; 3])?;
    let lost = end.seen().events.iter().find_map(ended);
    require!(lost.is_none(), "the connection ended: {lost:?}")
}

fn closed_port(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(Failure::wrong)?;
    let closed = socket.local_addr().map_err(Failure::wrong)?;
    drop(socket);
    beside_absent(trial, closed)
}

fn refused_send(trial: &mut Trial<'_>) -> Result<(), Failure> {
    // Sockets may not broadcast unless they ask for it.
    beside_absent(trial, SocketAddr::from(([255, 255, 255, 255], 4_433)))
}

/// Messages pass while another peer is sent to that is not there.
fn beside_absent(trial: &mut Trial<'_>, at: SocketAddr) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    let absent = PeerAddr::new(trial.end()?.addr.id, at);
    let start = Instant::now();
    trial.program.send(absent, b"to none")?;
    exchange_with(trial, program, &end, &[SMALL; 3])?;
    // A second round, after the system's errors of the first have come.
    thread::sleep(Duration::from_millis(50));
    still_talks(trial, program, &end)?;
    let took = start.elapsed();
    let most = Duration::from_secs(2);
    require!(
        took < most,
        "it took {took:?} while another peer was dialled"
    )
}

/// More than the kit's inbox and the credit of its connection hold together, and less than the room
/// that a program must have.
const STALLED: [usize; 30] = [32 * 1_024; 30];

fn stalled_reader(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, stalled) = meet(trial)?;
    let other = trial.end()?;
    stalled.ask(|_, machine| machine.reading = Reading::Stalls)?;
    let held = messages(&mut trial.dice, STALLED);
    trial.send(stalled.addr, &held)?;
    until(|| Ok(inbox(&stalled)? > 0), "nothing arrived")?;
    let passing = messages(&mut trial.dice, [SMALL; SOME]);
    trial.send(other.addr, &passing)?;
    arrive(&other, program.id, &passing)?;
    let stuck = inbox(&stalled)?;
    debug_assert!(stuck < held.len() as u64, "the kit's inbox is too large");
    stalled.ask(|_, machine| machine.reading = Reading::Goes)?;
    arrive(&stalled, program.id, &held)
}

/// Messages that a machine holds, read or not.
fn inbox(end: &End) -> Result<u64, Failure> {
    end.ask(|now, machine| machine.manager.metrics(now).counters.messages_received)
}

fn stop_delivers(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    // Several round trips' worth, so that most of it is on its way when the program is stopped.
    let faults = Faults {
        delay_max: Duration::from_millis(5),
        ..Faults::default()
    };
    end.ask(move |_, machine| machine.path.set_faults(faults))?;
    let lens = [1_000; 100]
        .into_iter()
        .chain([trial.settings.message_bytes_max; 2]);
    let back = messages(&mut trial.dice, lens);
    trial.send(end.addr, &back)?;
    trial.program.stop()?;
    // The kit's own application is no slower than this.
    end.wait(ACKNOWLEDGED, |seen| seen.messages.len() >= back.len());
    let (got, of) = (end.seen().of(program.id).len(), back.len());
    require!(got == of, "only {got} of {of} messages arrived")?;
    arrive(&end, program.id, &back)
}

fn goodbye(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (program, end) = meet(trial)?;
    exchange_with(trial, program, &end, &[SMALL])?;
    trial.program.stop()?;
    let ended = |seen: &Seen| seen.events.iter().find_map(ended);
    // Half of the silence after which the kit would notice by itself.
    end.wait(trial.settings.liveness_timeout / 2, |seen| {
        ended(seen).is_some()
    });
    let reason = ended(&end.seen());
    match reason {
        Some(Reason::Goodbye) => Ok(()),
        Some(other) => Err(Failure::Wrong(format!(
            "the kit's connection ended: {other}"
        ))),
        None => Err(Failure::Wrong("the kit heard nothing".to_owned())),
    }
}

/// Why a connection ended, if the event is the end of one.
fn ended(event: &Event) -> Option<Reason> {
    if let Event::StatusChanged {
        from: ConnectionStatus::Connected,
        reason,
        ..
    } = event
    {
        Some(reason.clone())
    } else {
        None
    }
}

fn start_again(trial: &mut Trial<'_>) -> Result<(), Failure> {
    let (before, end) = meet(trial)?;
    exchange_with(trial, before, &end, &[SMALL])?;
    trial.program.stop()?;
    trial.settings.identity = Identity::Same;
    let after = trial.program.start(&trial.settings)?;
    require!(after.id == before.id, "{} is {} now", before.id, after.id)?;
    // The address may be another one, which the kit learns from the program's dial.
    let back = messages(&mut trial.dice, [SMALL]);
    let heard = end.seen().of(after.id);
    trial.send(end.addr, &back)?;
    arrive(&end, after.id, &[heard, back].concat())?;
    exchange_with(trial, after, &end, &[SMALL; 3])
}
