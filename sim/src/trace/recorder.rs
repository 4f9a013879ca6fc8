//! Who keeps the record while a network runs.

use std::{
    cell::{RefCell, RefMut},
    fmt, mem,
    rc::Rc,
    time::Duration,
};

use quicpool_core::{Event, Message};

use super::{
    DatagramRecord, End, Fate, Flags, Moment, NodeRecord, Recording, Scope, What, faults,
    packets::Legibility,
    record::Verb,
    state::{Leaving, Parcelled, Reception, State},
};
use crate::{Faults, NodeId, Path, link::Note};

/// Datagrams that a recording holds at most: with more, a browser takes its time.
const DATAGRAMS_MAX: usize = 1_000_000;

/// A handle on a recording that a [`Net`](crate::Net) writes: see [`Net::record`](crate::Net::record).
#[derive(Clone, Default)]
pub struct Recorder(Rc<RefCell<State>>);

impl Recorder {
    /// A recorder with an empty recording.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same recorder, which leaves out what happens after this time.
    #[must_use]
    pub fn until(self, until: Duration) -> Self {
        self.0.borrow_mut().until = Some(until);
        self
    }

    /// The recording so far. It ends: what comes after is not recorded, until a network is told to
    /// record again.
    #[must_use]
    pub fn take(&self) -> Recording {
        let mut state = self.0.borrow_mut();
        let faults = state.faults.take();
        let until = state.until;
        let recording = Recording {
            faults,
            ..mem::take(&mut state.recording)
        };
        *state = State {
            until,
            ..State::default()
        };
        recording
    }

    /// The record, if it goes on at this time.
    fn at(&self, now: Duration) -> Option<RefMut<'_, State>> {
        let mut state = self.0.borrow_mut();
        if !state.is_on || state.until.is_some_and(|until| now > until) {
            return None;
        }
        state.recording.ended = state.recording.ended.max(now);
        Some(state)
    }

    /// A network begins to write.
    pub(crate) fn begin(&self, legibility: Legibility) {
        let mut state = self.0.borrow_mut();
        state.is_on = true;
        state.reader.legibility = legibility;
    }

    pub(crate) fn add_node(&self, node: NodeRecord) {
        let mut state = self.0.borrow_mut();
        if state.is_on {
            state.recording.nodes.push(node);
        }
    }

    pub(crate) fn passes(&self, now: Duration) {
        self.at(now);
    }

    // Datagrams

    /// A datagram leaves; says under which number it is recorded, if it is.
    pub(crate) fn leaves(&self, now: Duration, leaving: &Leaving<'_>) -> Option<usize> {
        let mut state = self.at(now)?;
        if state.recording.datagrams.len() >= DATAGRAMS_MAX {
            state.recording.unrecorded += 1;
            return None;
        }
        let packets = state.reader.read(leaving.payload);
        let datagrams = &mut state.recording.datagrams;
        datagrams.push(DatagramRecord {
            at: now,
            from: leaving.from,
            to: leaving.to,
            source: leaving.source,
            destination: leaving.destination,
            length: leaving.payload.len(),
            ecn: leaving.ecn,
            packets,
            copy_of: None,
            flags: Flags::default(),
            end: None,
        });
        Some(datagrams.len() - 1)
    }

    /// A recorded datagram comes to a link, which calls it by another number.
    pub(crate) fn enters(&self, datagram: usize, parcel: &Parcelled) {
        let mut state = self.0.borrow_mut();
        state.under_way.insert(parcel.key(), datagram);
    }

    /// The stages of a link have done something.
    pub(crate) fn noted(&self, now: Duration, from: NodeId, to: NodeId, notes: Vec<Note>) {
        let Some(mut state) = self.at(now) else {
            return;
        };
        for note in notes {
            let number = note.number;
            let parcel = Parcelled { from, to, number };
            state.note(now, &parcel, &note);
        }
    }

    /// A datagram has come to an address where its receiver is not any more.
    pub(crate) fn is_outdated(&self, now: Duration, parcel: &Parcelled) {
        if let Some(mut state) = self.at(now) {
            state.end(now, parcel, Fate::Outdated);
        }
    }

    /// A datagram has come to a node.
    pub(crate) fn arrives(&self, now: Duration, parcel: &Parcelled, reception: Reception) {
        let Some(mut state) = self.at(now) else {
            return;
        };
        let datagram = state.under_way.remove(&parcel.key());
        state.receive(now, parcel.to, datagram, reception);
    }

    /// A datagram that no link has carried has come to a node.
    pub(crate) fn is_received(
        &self,
        now: Duration,
        node: NodeId,
        datagram: Option<usize>,
        reception: Reception,
    ) {
        if let Some(mut state) = self.at(now) {
            state.receive(now, node, datagram, reception);
        }
    }

    /// The datagrams that wait for a process have met their fate.
    pub(crate) fn waited(&self, now: Duration, node: NodeId, fate: Fate) {
        if let Some(mut state) = self.at(now) {
            let end = Some(End { at: now, fate });
            for datagram in state.waiting.remove(&node).unwrap_or_default() {
                state.recording.datagrams[datagram].end = end;
            }
        }
    }

    /// A datagram that no link carries has met its fate: it came from outside, or went there.
    pub(crate) fn ends(&self, now: Duration, datagram: Option<usize>, fate: Fate) {
        if let (Some(mut state), Some(datagram)) = (self.at(now), datagram) {
            state.recording.datagrams[datagram].end = Some(End { at: now, fate });
        }
    }

    // Moments

    pub(crate) fn event(&self, now: Duration, node: NodeId, event: &Event) {
        self.moment(now, node, |recording| {
            let about = event.peer().and_then(|peer| recording.who(peer));
            (about, What::Event(event.clone()))
        });
    }

    /// An application has taken messages.
    pub(crate) fn took(&self, now: Duration, node: NodeId, messages: &[Message]) {
        for row in messages.chunk_by(|a, b| a.from == b.from) {
            let bytes = row.iter().map(|message| message.payload.len() as u64);
            let (messages, bytes) = (row.len() as u64, bytes.sum());
            self.moment(now, node, |recording| {
                let about = recording.who(row[0].from);
                (about, What::Took { messages, bytes })
            });
        }
    }

    /// An application has asked for something, and why it was refused, if it was.
    pub(crate) fn asked(
        &self,
        now: Duration,
        node: NodeId,
        about: Option<NodeId>,
        verb: Verb,
        refusal: Option<String>,
    ) {
        let what = match (verb, refusal) {
            (Verb::Send { .. }, Some(why)) => What::Refused { verb: "send", why },
            (Verb::Other(verb), Some(why)) => What::Refused { verb, why },
            (Verb::Other(verb), None) => What::Asked(verb),
            (Verb::Send { bytes }, None) => {
                self.sent(now, node, about, bytes as u64);
                return;
            }
        };
        self.moment(now, node, |_| (about, what));
    }

    /// Messages of one instant are put together.
    fn sent(&self, now: Duration, node: NodeId, about: Option<NodeId>, more: u64) {
        if let Some(mut state) = self.at(now)
            && let Some(last) = state.recording.moments.last_mut()
            && (last.at, last.node, last.about) == (now, node, about)
            && let What::Sent { messages, bytes } = &mut last.what
        {
            *messages += 1;
            *bytes += more;
            return;
        }
        let what = What::Sent {
            messages: 1,
            bytes: more,
        };
        self.moment(now, node, |_| (about, what));
    }

    /// A process has started, and whatever was wrong with its predecessor is over.
    pub(crate) fn started(&self, now: Duration, node: NodeId) {
        self.moment(now, node, |_| (None, What::Started));
        self.process_ends(now, node);
        if let Some(mut state) = self.at(now) {
            state.faults.end(now, "down", Scope::Node(node));
        }
    }

    pub(crate) fn crashed(&self, now: Duration, node: NodeId) {
        self.moment(now, node, |_| (None, What::Crashed));
        self.process_ends(now, node);
        self.begins(now, "down", Scope::Node(node), None);
    }

    fn process_ends(&self, now: Duration, node: NodeId) {
        self.waited(now, node, Fate::NobodyHome);
        for family in ["paused", "blocked socket"] {
            self.is_over(now, family, Scope::Node(node));
        }
    }

    fn moment(
        &self,
        now: Duration,
        node: NodeId,
        make: impl FnOnce(&Recording) -> (Option<NodeId>, What),
    ) {
        if let Some(mut state) = self.at(now) {
            let (about, what) = make(&state.recording);
            state.recording.moments.push(Moment {
                at: now,
                node,
                about,
                what,
            });
        }
    }

    // Faults

    pub(crate) fn strikes(
        &self,
        now: Duration,
        family: &'static str,
        node: NodeId,
        detail: String,
    ) {
        if let Some(mut state) = self.at(now) {
            state.faults.strike(now, family, Scope::Node(node), detail);
        }
    }

    pub(crate) fn begins(
        &self,
        now: Duration,
        family: &'static str,
        scope: Scope,
        until: Option<Duration>,
    ) {
        if let Some(mut state) = self.at(now) {
            state.faults.begin(now, family, scope, until);
        }
    }

    pub(crate) fn is_over(&self, now: Duration, family: &'static str, scope: Scope) {
        if let Some(mut state) = self.at(now) {
            state.faults.end(now, family, scope);
        }
    }

    pub(crate) fn all_are_over(&self, now: Duration, family: &'static str) {
        if let Some(mut state) = self.at(now) {
            state.faults.end_all(now, family);
        }
    }

    /// The settings of all links.
    pub(crate) fn set_path(&self, now: Duration, path: &Path) {
        if let Some(mut state) = self.at(now) {
            let settings = faults::of_path(path);
            state.faults.set(now, Scope::Everywhere, &settings);
        }
    }

    /// The settings of one link, and those that it would have by the path.
    pub(crate) fn set_link(
        &self,
        now: Duration,
        from: NodeId,
        to: NodeId,
        link: &Faults,
        path: &Faults,
    ) {
        if let (Some(mut state), Some(scope)) = (self.at(now), faults::way(from, to)) {
            let settings = faults::of_link_beside(link, path);
            state.faults.set(now, scope, &settings);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.borrow();
        let datagrams = state.recording.datagrams.len();
        f.debug_struct("Recorder")
            .field("datagrams", &datagrams)
            .finish_non_exhaustive()
    }
}
