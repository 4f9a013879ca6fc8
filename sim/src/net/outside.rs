//! The world outside: datagrams from and to addresses where no node is.

use std::{net::SocketAddr, time::Duration};

use bytes::BytesMut;
use quicpool_core::Datagram;

use super::{Net, NodeId, watch::Sight};
use crate::{link::Parcel, trace::Place};

/// Limit of datagrams to the outside that are kept until they are taken; those beyond are lost.
const KEPT_MAX: usize = 100_000;

/// A datagram that a node has sent to an address where no node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    /// When it left.
    pub at: Duration,
    /// Its sender.
    pub from: NodeId,
    /// To where.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: BytesMut,
}

impl Net {
    /// A datagram from anywhere arrives at a node at this instant. With
    /// [`take_astray`](Self::take_astray) a test can be a peer that no machine would be.
    #[doc(hidden)]
    pub fn inject(&mut self, to: NodeId, from: SocketAddr, payload: &[u8]) {
        let parcel = Parcel {
            number: 0,
            source: from,
            destination: self.addr(to),
            ecn: None,
            payload: BytesMut::from(payload),
        };
        self.show(&Sight::Leaves {
            from: Place::Outside(from),
            to: Place::Node(to),
            parcel: &parcel,
        });
        let datagram = Datagram {
            remote: from,
            local_ip: Some(parcel.destination.ip()),
            ecn: None,
            payload: parcel.payload,
        };
        let reception = self.hand_in(to, datagram);
        self.show(&Sight::Injected(to, reception));
        self.settle(to);
    }

    /// The datagrams that have left for addresses where no node is, since this was last asked.
    #[doc(hidden)]
    pub fn take_astray(&mut self) -> Vec<Astray> {
        std::mem::take(&mut self.outside)
    }

    pub(super) fn go_astray(&mut self, from: NodeId, to: SocketAddr, payload: BytesMut) {
        self.astray += 1;
        if self.outside.len() < KEPT_MAX {
            let at = self.clock.now();
            self.outside.push(Astray {
                at,
                from,
                to,
                payload,
            });
        }
    }
}
