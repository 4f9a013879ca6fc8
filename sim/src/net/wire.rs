//! The way of a datagram from one node to another.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use quicpool_core::Datagram;

use super::{Due, Net, NodeId, node::Departure, watch::Sight};
use crate::{
    Faults, Path,
    hash::Hasher,
    link::{Link, Parcel},
    trace::{Parcelled, Reception},
};

impl Net {
    pub(super) fn depart(&mut self, from: NodeId, departure: Departure) {
        let Departure {
            destination,
            ecn,
            payload,
        } = departure;
        self.hash_in(from, destination, &payload);
        let parcel = Parcel {
            number: 0,
            source: self.addr(from),
            destination,
            ecn,
            payload,
        };
        self.show_departure(from, &parcel);
        let Some(&to) = self.addresses.get(&destination) else {
            self.show(&Sight::Astray);
            self.go_astray(from, destination, parcel.payload);
            return;
        };
        let now = self.clock.now();
        let number = self.link(from, to).enter(now, parcel);
        self.show(&Sight::Enters(Parcelled { from, to, number }));
        self.show_stages(from, to);
        self.arm_link(from, to);
    }

    /// Lets a link do one thing that is due.
    pub(super) fn move_link(&mut self, from: NodeId, to: NodeId) {
        let now = self.clock.now();
        let link = self.link(from, to);
        link.armed = None;
        let parcel = link.pull(now);
        self.show_stages(from, to);
        self.arm_link(from, to);
        if let Some(parcel) = parcel {
            self.arrive(from, to, parcel);
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, parcel: Parcel) {
        let name = Parcelled::of(from, to, &parcel);
        if parcel.destination != self.addr(to) {
            self.outdated += 1;
            self.show(&Sight::Outdated(name));
            return;
        }
        let datagram = Datagram {
            remote: parcel.source,
            local_ip: Some(parcel.destination.ip()),
            ecn: parcel.ecn,
            payload: parcel.payload,
        };
        let reception = self.hand_in(to, datagram);
        self.show(&Sight::Arrives(name, reception));
        self.settle(to);
    }

    /// Gives a datagram to a process, which has to be settled then.
    pub(super) fn hand_in(&mut self, to: NodeId, datagram: Datagram) -> Reception {
        self.show_arrived(to, &datagram);
        let reception = self.nodes[to.index()].handle_datagram(&self.clock, datagram);
        self.unread += u64::from(reception == Reception::NoRoom);
        reception
    }

    /// Notes when a link wants to move next.
    pub(super) fn arm_link(&mut self, from: NodeId, to: NodeId) {
        let now = self.clock.now();
        let link = self.link(from, to);
        let due = link.due(now);
        if link.armed == due {
            return;
        }
        link.armed = due;
        if let Some(at) = due {
            self.arrange(at, Due::Link(from, to));
        }
    }

    /// Notes it for all links: what changes one can make it move sooner.
    pub(super) fn arm_links(&mut self) {
        let links: Vec<(NodeId, NodeId)> = self.links.keys().copied().collect();
        for (from, to) in links {
            self.arm_link(from, to);
        }
    }

    pub(super) fn link_armed(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        self.links.get(&(from, to))?.armed
    }

    pub(super) fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        let make = || {
            let entity = u64::from(from.0) << 32 | u64::from(to.0);
            let mut link = Link::new(self.dice, entity, faults(&self.path, from, to));
            if self.recorder.is_some() {
                link.take_notes();
            }
            link
        };
        self.links.entry((from, to)).or_insert_with(make)
    }

    /// Makes a link before it is used. It must not matter.
    #[doc(hidden)]
    pub fn make_link(&mut self, from: NodeId, to: NodeId) {
        self.link(from, to);
    }

    fn hash_in(&mut self, from: NodeId, to: SocketAddr, payload: &[u8]) {
        let ip = match to.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let hash = Hasher::new(self.trace).word(self.clock.now().as_nanos() as u64);
        let hash = hash.word(from.0.into()).bytes(&ip.octets());
        let hash = hash.word(to.port().into()).bytes(payload);
        self.trace = hash.finish();
        self.leave_trail(from, to, payload.len());
    }
}

/// Returns the settings of a path in the direction from one node to another.
pub(super) fn faults(path: &Path, from: NodeId, to: NodeId) -> Faults {
    match from < to {
        true => path.up.clone(),
        false => path.down.clone(),
    }
}
