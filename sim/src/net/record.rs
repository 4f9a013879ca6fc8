//! What a network tells its [`Recorder`], if it has one.

use quicpool_core::{ConnectionStatus, Event, Message, PeerError, SendDatagramError, SendError};

use super::{Net, NodeId};
use crate::{
    link::{Link, Parcel},
    trace::{
        Fate, Leaving, Legibility, NodeRecord, Parcelled, Place, Reception, Recorder, Scope, Verb,
    },
};

/// What a verb of an application returns.
pub(super) trait Answer {
    /// Why it was refused, if it was.
    fn refusal(&self) -> Option<String>;
}

impl Answer for () {
    fn refusal(&self) -> Option<String> {
        None
    }
}

impl Answer for Result<(), PeerError> {
    fn refusal(&self) -> Option<String> {
        self.as_ref().err().map(ToString::to_string)
    }
}

impl Answer for Result<(), SendError> {
    fn refusal(&self) -> Option<String> {
        self.as_ref().err().map(ToString::to_string)
    }
}

impl Answer for Result<(), SendDatagramError> {
    fn refusal(&self) -> Option<String> {
        self.as_ref().err().map(ToString::to_string)
    }
}

impl Net {
    /// Keeps a record of all that happens from this moment on: see [`trace`](crate::trace).
    ///
    /// What is under way already is not in it.
    pub fn record(&mut self, recorder: &Recorder) {
        recorder.begin(Legibility::of(self.crypto));
        self.recorder = Some(recorder.clone());
        self.links.values_mut().for_each(Link::take_notes);
        let now = self.clock.now();
        for node in self.ids() {
            self.note_node(node);
            if self.machine(node).is_some() {
                recorder.started(now, node);
            }
        }
        for node in self.ids() {
            self.note_known(node);
        }
        self.note_settings();
    }

    /// Ends the record.
    #[doc(hidden)]
    pub fn stop_recording(&mut self) {
        self.recorder = None;
        self.links.values_mut().for_each(Link::leave_notes);
    }

    /// Whom a node knows already when a record begins.
    fn note_known(&self, node: NodeId) {
        let is_new = |other: &NodeId| self.status(node, *other) == Some(ConnectionStatus::New);
        for other in self.ids().filter(is_new) {
            self.note_verb(node, Some(other), Verb::Other("introduce"), &());
        }
    }

    pub(super) fn note_node(&self, node: NodeId) {
        if let Some(recorder) = &self.recorder {
            recorder.add_node(NodeRecord {
                node,
                peer: self.peer_id(node),
                addr: self.addr(node),
            });
        }
    }

    /// A datagram leaves a node, for a link or for the outside.
    pub(super) fn note_departure(&self, from: NodeId, parcel: &Parcel) -> Option<usize> {
        let to = self.addresses.get(&parcel.destination);
        let to = to.map_or(Place::Outside(parcel.destination), |to| Place::Node(*to));
        self.note_leaving(Place::Node(from), to, parcel)
    }

    /// A datagram comes from the outside.
    pub(super) fn note_injection(&self, to: NodeId, parcel: &Parcel) -> Option<usize> {
        self.note_leaving(Place::Outside(parcel.source), Place::Node(to), parcel)
    }

    fn note_leaving(&self, from: Place, to: Place, parcel: &Parcel) -> Option<usize> {
        let leaving = Leaving {
            from,
            to,
            source: parcel.source,
            destination: parcel.destination,
            ecn: parcel.ecn,
            payload: &parcel.payload,
        };
        self.recorder.as_ref()?.leaves(self.clock.now(), &leaving)
    }

    /// A link has taken a datagram under this number.
    pub(super) fn note_entry(
        &mut self,
        from: NodeId,
        to: NodeId,
        datagram: Option<usize>,
        number: u64,
    ) {
        if let (Some(recorder), Some(datagram)) = (&self.recorder, datagram) {
            recorder.enters(datagram, &Parcelled { from, to, number });
        }
        self.note_stages(from, to);
    }

    /// A link has moved.
    pub(super) fn note_stages(&mut self, from: NodeId, to: NodeId) {
        if let Some(recorder) = &self.recorder
            && let Some(link) = self.links.get_mut(&(from, to))
        {
            recorder.noted(self.clock.now(), from, to, link.notes());
        }
    }

    pub(super) fn note_outdated(&self, parcel: &Parcelled) {
        if let Some(recorder) = &self.recorder {
            recorder.is_outdated(self.clock.now(), parcel);
        }
    }

    pub(super) fn note_arrival(&self, parcel: &Parcelled, reception: Reception) {
        if let Some(recorder) = &self.recorder {
            recorder.arrives(self.clock.now(), parcel, reception);
        }
    }

    /// A datagram from the outside has come to a node.
    pub(super) fn note_reception(
        &self,
        node: NodeId,
        datagram: Option<usize>,
        reception: Reception,
    ) {
        if let Some(recorder) = &self.recorder {
            recorder.is_received(self.clock.now(), node, datagram, reception);
        }
    }

    pub(super) fn note_end(&self, datagram: Option<usize>, fate: Fate) {
        if let Some(recorder) = &self.recorder {
            recorder.ends(self.clock.now(), datagram, fate);
        }
    }

    /// How much there was to hear from a node before it is called; see
    /// [`note_news`](Self::note_news).
    pub(super) fn heard(&self, node: NodeId) -> (usize, usize) {
        let node = &self.nodes[node.index()];
        (node.history().len(), node.waiting_messages().len())
    }

    /// What a node has said and taken since then.
    pub(super) fn note_news(&self, node: NodeId, (events, messages): (usize, usize)) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        let (now, process) = (self.clock.now(), &self.nodes[node.index()]);
        let news = process.history()[events..].iter();
        news.for_each(|(_, event): &(_, Event)| recorder.event(now, node, event));
        let taken: &[Message] = &process.waiting_messages()[messages..];
        recorder.took(now, node, taken);
    }

    pub(super) fn note_verb(
        &self,
        node: NodeId,
        about: Option<NodeId>,
        verb: Verb,
        answer: &impl Answer,
    ) {
        if let Some(recorder) = &self.recorder {
            recorder.asked(self.clock.now(), node, about, verb, answer.refusal());
        }
    }

    /// Lets the record speak of a fault.
    pub(super) fn note_fault(&self, note: impl FnOnce(&Recorder, std::time::Duration)) {
        if let Some(recorder) = &self.recorder {
            note(recorder, self.clock.now());
        }
    }

    /// One way between two nodes is cut or mended.
    pub(super) fn note_gate(&self, from: NodeId, to: NodeId) {
        let is_cut = self.links.get(&(from, to)).is_some_and(|link| link.is_cut);
        let scope = Scope::OneWay(from, to);
        self.note_fault(|recorder, now| match is_cut {
            _ if from == to => {}
            true => recorder.begins(now, "cut", scope, None),
            false => recorder.is_over(now, "cut", scope),
        });
    }

    /// The settings of links may have changed.
    pub(super) fn note_settings(&self) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        let now = self.clock.now();
        recorder.set_path(now, &self.path);
        for ((from, to), link) in &self.links {
            let path = super::wire::faults(&self.path, *from, *to);
            recorder.set_link(now, *from, *to, &link.faults, &path);
        }
    }

    /// Time has passed.
    pub(super) fn note_time(&self) {
        self.note_fault(|recorder, now| recorder.passes(now));
    }
}
