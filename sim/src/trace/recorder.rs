//! Keeps the record while a network runs.

use std::{
    cell::{RefCell, RefMut},
    fmt, mem,
    rc::Rc,
    time::Duration,
};

use quicpool_core::{Event, Message};

use super::{
    DatagramRecord, End, Fate, Flags, Moment, NodeRecord, Place, Recording, Scope, What,
    packets::Legibility,
    state::{Parcelled, Reception, State},
};
use crate::{
    NodeId,
    link::Parcel,
    net::watch::{Asked, Done, Scene, Sight, Watch},
};

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

    /// Returns the recording so far, and ends it: nothing more is recorded until
    /// [`Net::record`](crate::Net::record) is called again.
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

    fn add_node(&self, node: &NodeRecord) {
        let mut state = self.0.borrow_mut();
        if state.is_on {
            state.recording.nodes.push(node.clone());
        }
    }

    // Datagrams

    /// A datagram leaves.
    fn leaves(&self, now: Duration, from: Place, to: Place, parcel: &Parcel) {
        let Some(mut state) = self.at(now) else {
            self.0.borrow_mut().leaving = None;
            return;
        };
        if state.recording.datagrams.len() >= DATAGRAMS_MAX {
            state.recording.unrecorded += 1;
            state.leaving = None;
            return;
        }
        let packets = state.reader.read(&parcel.payload);
        let datagrams = &mut state.recording.datagrams;
        datagrams.push(DatagramRecord {
            at: now,
            from,
            to,
            source: parcel.source,
            destination: parcel.destination,
            length: parcel.payload.len(),
            ecn: parcel.ecn,
            packets,
            copy_of: None,
            flags: Flags::default(),
            end: None,
        });
        state.leaving = Some(state.recording.datagrams.len() - 1);
    }

    /// The datagram that leaves comes to a link, which calls it by another number.
    fn enters(&self, parcel: &Parcelled) {
        let mut state = self.0.borrow_mut();
        if let Some(datagram) = state.leaving {
            state.under_way.insert(parcel.key(), datagram);
        }
    }

    /// A datagram has come to a node.
    fn arrives(&self, now: Duration, parcel: &Parcelled, reception: Reception) {
        let Some(mut state) = self.at(now) else {
            return;
        };
        let datagram = state.under_way.remove(&parcel.key());
        state.receive(now, parcel.to, datagram, reception);
    }

    /// The datagrams that wait for a process have met their fate.
    fn waited(&self, now: Duration, node: NodeId, fate: Fate) {
        if let Some(mut state) = self.at(now) {
            let end = Some(End { at: now, fate });
            for datagram in state.waiting.remove(&node).unwrap_or_default() {
                state.recording.datagrams[datagram].end = end;
            }
        }
    }

    // Moments

    fn event(&self, now: Duration, node: NodeId, event: &Event) {
        self.moment(now, node, |recording| {
            let about = event.peer().and_then(|peer| recording.who(peer));
            (about, What::Event(event.clone()))
        });
    }

    /// An application has taken messages.
    fn took(&self, now: Duration, node: NodeId, messages: &[Message]) {
        for row in messages.chunk_by(|a, b| a.from == b.from) {
            let bytes = row.iter().map(|message| message.payload.len() as u64);
            let (messages, bytes) = (row.len() as u64, bytes.sum());
            self.moment(now, node, |recording| {
                let about = recording.who(row[0].from);
                (about, What::Took { messages, bytes })
            });
        }
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
    fn started(&self, now: Duration, node: NodeId) {
        self.moment(now, node, |_| (None, What::Started));
        self.process_ends(now, node);
        if let Some(mut state) = self.at(now) {
            state.faults.end(now, "down", Scope::Node(node));
        }
    }

    fn crashed(&self, now: Duration, node: NodeId) {
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

    fn begins(&self, now: Duration, family: &'static str, scope: Scope, until: Option<Duration>) {
        if let Some(mut state) = self.at(now) {
            state.faults.begin(now, family, scope, until);
        }
    }

    fn is_over(&self, now: Duration, family: &'static str, scope: Scope) {
        if let Some(mut state) = self.at(now) {
            state.faults.end(now, family, scope);
        }
    }
}

impl Watch for Recorder {
    fn asked(&mut self, scene: &Scene<'_>, to: Option<NodeId>, asked: &Asked<'_>) {
        let (verb, refusal) = match asked {
            Asked::Send(message, Ok(())) | Asked::SendUntil(message, _, Ok(())) => {
                self.sent(scene.at, scene.node, to, message.len() as u64);
                return;
            }
            Asked::Send(_, Err(error)) | Asked::SendUntil(_, _, Err(error)) => {
                ("send", Some(error.to_string()))
            }
            Asked::Cancel(_, result) => ("cancel", why(result)),
            Asked::SendDatagram(result) => ("send datagram", why(result)),
            Asked::Connect(result) => ("connect", why(result)),
            Asked::Other(verb, refusal) => (*verb, refusal.clone()),
        };
        let what = match refusal {
            Some(why) => What::Refused { verb, why },
            None => What::Asked(verb),
        };
        self.moment(scene.at, scene.node, |_| (to, what));
    }

    fn settled(&mut self, scene: &Scene<'_>, done: &Done<'_>) {
        for (_, event) in done.news {
            self.event(scene.at, scene.node, event);
        }
        self.took(scene.at, scene.node, done.taken);
    }

    fn sees(&mut self, now: Duration, sight: &Sight<'_>) {
        match sight {
            Sight::Node(node) => self.add_node(node),
            Sight::Leaves { from, to, parcel } => self.leaves(now, *from, *to, parcel),
            Sight::Enters(parcel) => self.enters(parcel),
            Sight::Arrives(parcel, reception) => self.arrives(now, parcel, *reception),
            Sight::Resumed(node) => {
                self.is_over(now, "paused", Scope::Node(*node));
                self.waited(now, *node, Fate::Delivered);
            }
            Sight::Started(node) => self.started(now, *node),
            Sight::Crashed(node) => self.crashed(now, *node),
            Sight::Begins {
                family,
                scope,
                until,
            } => self.begins(now, family, *scope, *until),
            Sight::Over { family, scope } => self.is_over(now, family, *scope),
            Sight::Time
            | Sight::Astray
            | Sight::Injected(..)
            | Sight::Noted(..)
            | Sight::Outdated(_)
            | Sight::Strikes { .. }
            | Sight::AllOver(_)
            | Sight::Path(_)
            | Sight::Link { .. } => {
                if let Some(mut state) = self.at(now) {
                    state.see(now, sight);
                }
            }
        }
    }
}

/// Returns the reason if a verb was refused.
fn why<T, E: fmt::Display>(result: &Result<T, E>) -> Option<String> {
    result.as_ref().err().map(ToString::to_string)
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
