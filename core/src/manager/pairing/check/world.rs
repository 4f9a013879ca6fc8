//! Two ends, what is between them, and what each has decided: one state of the model.

use std::{
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use crate::{
    Incarnation, PeerId,
    peer::{LinkId, chooser::Dialler, links::Links, processes::Processes},
    wire::{
        code::CloseCode,
        greeting::{Greeting, Half},
        hello::{Accepts, HalfId},
    },
};

/// One of the two ends: the one with the smaller peer id, or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    Small,
    Great,
}

/// Both ends, and the connections between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    parties: [Party; 2],
    pub(super) connections: Vec<Connection>,
    /// Faults so far.
    pub(super) faults: u8,
    /// Dials since the last fault.
    pub(super) dials: u8,
}

/// What an end knows and wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Party {
    /// The real thing.
    pub(super) links: Links,
    /// So is this: which process the other end is.
    pub(super) processes: Processes,
    /// Counts its processes.
    pub(super) process: u8,
    /// The incarnation that it names in its hello.
    pub(super) incarnation: Incarnation,
    /// Which line it sends on: the number of its session.
    pub(super) line: HalfId,
    /// The other end's line, by its last hello.
    pub(super) their_half: Option<HalfId>,
    pub(super) demand: Demand,
}

/// Whether an end has use for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Demand {
    /// It never dials.
    None,
    /// Something waits to be sent, for ever.
    Waiting,
    /// So it does, but trying would not help: `Redial::Barred`.
    Barred,
}

/// One connection, as both ends see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Connection {
    /// The same at both ends, for simplicity.
    pub(super) link: LinkId,
    pub(super) dialler: End,
    /// The process that has dialled.
    pub(super) process: u8,
    /// Its number for this dial.
    pub(super) dial: u64,
    sides: [Side; 2],
    underway: [Underway; 2],
    /// Nothing gets through any more, and neither end is notified.
    pub(super) cut: bool,
}

/// A connection at one end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Side {
    pub(super) stage: Stage,
    /// The hello of the other end.
    pub(super) hello: Option<Hello>,
    /// The incarnation that this end has named in its hello.
    pub(super) said: Option<Incarnation>,
}

/// How far a connection has come at one end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// It was dialled, and its first packet has not come.
    #[default]
    Unheard,
    /// TLS is not done. An end that was dialled does not know its dialler.
    Handshaking,
    /// TLS is done, the other's hello has not come.
    Greeted,
    /// The other's hello has come, and another process of it may be alive.
    Waiting,
    /// The other's hello has come, and was acted upon.
    Confirmed,
    /// Closed at this end, or found dead, or its process is.
    Gone,
}

/// What is on its way to one end of a connection. It arrives in this order, but a close may overtake
/// everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Underway {
    /// A flight of the handshake.
    pub(super) flight: bool,
    pub(super) hello: Option<Hello>,
    pub(super) close: Option<CloseCode>,
}

/// The fields of hello that matter here. The dial number is the connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hello {
    pub(super) incarnation: Incarnation,
    pub(super) line: HalfId,
}

impl HalfId {
    /// The line of the next session; all have the same first bytes.
    pub(super) const fn next(mut self) -> Self {
        self.0[15] += 1;
        self
    }

    pub(super) const fn is_after(self, other: Self) -> bool {
        self.0[15] > other.0[15]
    }
}

impl Hello {
    /// The whole greeting. What the streams hold is not in the model.
    pub(super) const fn on_the_wire(self, dial: u64) -> Greeting {
        Greeting {
            incarnation: self.incarnation,
            dial,
            session_timeout: Duration::ZERO,
            accepts: Accepts {
                message_bytes: 0,
                body_bytes: 0,
            },
            mine: Half {
                id: self.line,
                first: 0,
                held: 0,
            },
            yours: None,
            can_dial: true,
        }
    }
}

impl End {
    pub(super) const BOTH: [Self; 2] = [Self::Small, Self::Great];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Small => Self::Great,
            Self::Great => Self::Small,
        }
    }

    pub(super) const fn id(self) -> PeerId {
        match self {
            Self::Small => PeerId::from_bytes([1; 32]),
            Self::Great => PeerId::from_bytes([2; 32]),
        }
    }
}

impl World {
    /// Two ends that have never met.
    pub(super) fn new(demands: [Demand; 2]) -> Self {
        Self {
            parties: demands.map(Party::new),
            connections: Vec::new(),
            faults: 0,
            dials: 0,
        }
    }

    pub(super) fn party(&self, end: End) -> &Party {
        &self.parties[end as usize]
    }

    pub(super) fn party_mut(&mut self, end: End) -> &mut Party {
        &mut self.parties[end as usize]
    }

    pub(super) fn connection(&self, link: LinkId) -> &Connection {
        let found = self.connections.iter().find(|one| one.link == link);
        found.expect("invariant: a link that an end knows is there")
    }

    pub(super) fn connection_mut(&mut self, link: LinkId) -> &mut Connection {
        let found = self.connections.iter_mut().find(|one| one.link == link);
        found.expect("invariant: a link that an end knows is there")
    }

    /// Whether both ends have one connection, the same, and nothing else.
    pub(super) fn agreement(&self) -> Result<(), String> {
        let [small, great] = End::BOTH.map(|end| &self.party(end).links);
        for links in [small, great] {
            if !links.is_live() {
                return Err("an end is stranded without a connection".to_owned());
            }
            if links.confirmed().count() + links.unconfirmed().count() != 1 {
                return Err("an end has more than one connection".to_owned());
            }
        }
        if small.live() != great.live() {
            return Err("the ends have different connections".to_owned());
        }
        Ok(())
    }

    /// Forgets what can make no difference any more and gives everything the name that it has in
    /// every history which leads here. Answers the new names of connections, by their old ones.
    pub(super) fn make_canonical(&mut self) -> Vec<(LinkId, LinkId)> {
        self.connections.iter_mut().for_each(Connection::tidy);
        self.connections.retain(|one| !one.is_over());
        self.connections
            .sort_by_key(|one| (one.dialler, one.process, one.dial));
        let mut names = Vec::new();
        let mut last = None;
        for (index, one) in self.connections.iter_mut().enumerate() {
            let process = (one.dialler, one.process);
            let dial = match last {
                Some((earlier, dial)) if earlier == process => dial + 1,
                Some(_) | None => 1,
            };
            last = Some((process, dial));
            let link = LinkId::new(u32::try_from(index).expect("few"), 0);
            names.push((one.link, link));
            (one.link, one.dial) = (link, dial);
        }
        let dials: Vec<u64> = self.connections.iter().map(|one| one.dial).collect();
        let rename = |link: &mut LinkId| {
            let name = names.iter().find(|(old, _)| old == link);
            *link = name.expect("invariant: an end's link is there").1;
        };
        for party in &mut self.parties {
            party.links.rename(rename, |link| dials[link.index()]);
            party.processes.rename(rename);
        }
        names
    }

    /// Encodes the state: different states differ in bytes, since the length of each field can be read from it.
    pub(super) fn to_bytes(&self) -> Box<[u8]> {
        let mut bytes = Bytes(Vec::with_capacity(128));
        self.hash(&mut bytes);
        bytes.0.into()
    }
}

impl Party {
    /// The first process of an end.
    pub(super) fn new(demand: Demand) -> Self {
        Self {
            links: Links::default(),
            processes: Processes::default(),
            process: 0,
            incarnation: Incarnation {
                started_ms: 100,
                random: 0,
            },
            line: HalfId([0; 16]),
            their_half: None,
            demand,
        }
    }
}

impl Connection {
    pub(super) fn new(link: LinkId, dialler: End, process: u8, dial: u64) -> Self {
        let mut new = Self {
            link,
            dialler,
            process,
            dial,
            sides: [Side::default(); 2],
            underway: [Underway::default(); 2],
            cut: false,
        };
        new.side_mut(dialler).stage = Stage::Handshaking;
        new.send(dialler.other(), |underway| underway.flight = true);
        new
    }

    pub(super) fn dialler_at(&self, end: End) -> Dialler {
        match self.dialler == end {
            true => Dialler::Us,
            false => Dialler::Them,
        }
    }

    pub(super) fn side(&self, end: End) -> &Side {
        &self.sides[end as usize]
    }

    pub(super) fn side_mut(&mut self, end: End) -> &mut Side {
        &mut self.sides[end as usize]
    }

    pub(super) fn stage(&self, end: End) -> Stage {
        self.side(end).stage
    }

    pub(super) fn underway(&self, to: End) -> &Underway {
        &self.underway[to as usize]
    }

    pub(super) fn underway_mut(&mut self, to: End) -> &mut Underway {
        &mut self.underway[to as usize]
    }

    /// Sends something to an end, as long as anything gets through.
    pub(super) fn send(&mut self, to: End, what: impl FnOnce(&mut Underway)) {
        if !self.cut {
            what(self.underway_mut(to));
        }
    }

    /// Whether an end counts this connection among its own.
    pub(super) fn is_held(&self, end: End) -> bool {
        match self.stage(end) {
            Stage::Unheard | Stage::Gone => false,
            Stage::Handshaking => self.dialler == end,
            Stage::Greeted | Stage::Waiting | Stage::Confirmed => true,
        }
    }

    /// Whether the end holds it, and the other end will send nothing more, with no close on its way.
    pub(super) fn is_silent(&self, end: End) -> bool {
        let told = self.underway(end).close.is_some();
        self.is_held(end) && !told && (self.cut || self.stage(end.other()) == Stage::Gone)
    }

    fn tidy(&mut self) {
        for end in End::BOTH {
            if self.cut || self.stage(end) == Stage::Gone {
                *self.underway_mut(end) = Underway::default();
            }
        }
        let nothing = [Underway::default(); 2];
        let left = End::BOTH.map(|end| self.stage(end) == Stage::Gone);
        self.cut |= left.contains(&true) && self.underway == nothing;
        for end in End::BOTH {
            if self.stage(end) == Stage::Gone {
                self.side_mut(end).hello = None;
                self.side_mut(end).said = None;
            }
        }
    }

    /// Whether it is of no concern to either end: a dialled end does not know its dialler until the dialler has
    /// had its answer.
    fn is_over(&self) -> bool {
        let dialled = self.dialler.other();
        let unknown = match self.stage(dialled) {
            Stage::Unheard => true,
            Stage::Handshaking => !self.underway(dialled).flight,
            Stage::Gone => true,
            Stage::Greeted | Stage::Waiting | Stage::Confirmed => false,
        };
        self.stage(self.dialler) == Stage::Gone && unknown
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Great => "great",
        })
    }
}

/// Writes down what is hashed instead of hashing it.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        0
    }
}
