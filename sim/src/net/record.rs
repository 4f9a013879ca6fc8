//! Shows watches of a network the sights beside the acts of its nodes.

use std::{cell::RefCell, rc::Rc};

use quicpool_core::ConnectionStatus;

use super::{
    Net, NodeId,
    watch::{Asked, Sight, Watch},
};
use crate::{
    link::{Link, Parcel},
    trace::{Legibility, NodeRecord, Parcelled, Place, Recorder, Scope},
};

impl Net {
    /// Keeps a record of all that happens from this moment on: see [`trace`](crate::trace).
    ///
    /// Datagrams that are under way already are not in it.
    pub fn record(&mut self, recorder: &Recorder) {
        self.stop_recording();
        recorder.begin(Legibility::of(self.crypto));
        let recorder: Rc<RefCell<dyn Watch>> = Rc::new(RefCell::new(recorder.clone()));
        self.watch(recorder.clone());
        self.recorder = Some(recorder);
        self.links.values_mut().for_each(Link::take_notes);
        for node in self.ids() {
            self.show_node(node);
            if self.machine(node).is_some() {
                self.show(&Sight::Started(node));
            }
        }
        for node in self.ids() {
            self.show_known(node);
        }
        self.show_settings();
    }

    /// Ends the record.
    #[doc(hidden)]
    pub fn stop_recording(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            self.unwatch(&recorder);
            self.links.values_mut().for_each(Link::leave_notes);
        }
    }

    /// Shows the peers that a node knows already when a record begins.
    fn show_known(&self, node: NodeId) {
        let is_new = |other: &NodeId| self.status(node, *other) == Some(ConnectionStatus::New);
        for other in self.ids().filter(is_new) {
            self.show_asked(node, Some(other), &Asked::Other("introduce", None));
        }
    }

    pub(super) fn show_node(&self, node: NodeId) {
        self.show(&Sight::Node(NodeRecord {
            node,
            peer: self.peer_id(node),
            addr: self.addr(node),
        }));
    }

    /// Shows a datagram that leaves a node, for a link or for the outside.
    pub(super) fn show_departure(&self, from: NodeId, parcel: &Parcel) {
        let to = self.addresses.get(&parcel.destination);
        let to = to.map_or(Place::Outside(parcel.destination), |to| Place::Node(*to));
        let from = Place::Node(from);
        self.show(&Sight::Leaves { from, to, parcel });
    }

    /// Shows what the stages of a link have done.
    pub(super) fn show_stages(&mut self, from: NodeId, to: NodeId) {
        let Some(link) = self.links.get_mut(&(from, to)) else {
            return;
        };
        for note in link.notes() {
            let number = note.number;
            let parcel = Parcelled { from, to, number };
            self.show(&Sight::Noted(parcel, note));
        }
    }

    /// Shows that one way between two nodes is cut or mended.
    pub(super) fn show_gate(&self, from: NodeId, to: NodeId) {
        let is_cut = self.links.get(&(from, to)).is_some_and(|link| link.is_cut);
        let (family, scope, until) = ("cut", Scope::OneWay(from, to), None);
        match is_cut {
            _ if from == to => {}
            true => self.show(&Sight::Begins {
                family,
                scope,
                until,
            }),
            false => self.show(&Sight::Over { family, scope }),
        }
    }

    /// Shows the settings of links, which may have changed.
    pub(super) fn show_settings(&self) {
        if self.recorder.is_none() {
            return;
        }
        self.show(&Sight::Path(&self.path));
        for ((from, to), link) in &self.links {
            self.show(&Sight::Link {
                from: *from,
                to: *to,
                faults: &link.faults,
                path: &super::wire::faults(&self.path, *from, *to),
            });
        }
    }
}
