//! Datagrams on one connection (RFC 9221): sealed, and put into packets after control, which
//! [`Order`] sees to.

use bytes::Bytes;
use quinn_proto::{Connection, SendDatagramError, crypto::ExportKeyingMaterialError};

use super::{Link, quirks::Order};
use crate::{
    MeshKey, Sealing,
    peer::chooser::Dialler,
    wire::{
        datagram::{self, FLOW_LEN, KEY_LABEL, OVERHEAD, Opener, Refused, Sealer},
        seal::{self, Direction},
    },
};

/// What quinn-proto may hold of datagrams to send, in bytes: more than is ever given to it.
pub(super) const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// What a frame has beside the datagram, in bytes, if that is shorter than 16 KiB: type and length.
const FRAME_COST: usize = 3;

/// The longest frame that we take (RFC 9221 section 3): anything that fits into a packet.
pub(super) const FRAME_BYTES_MAX: usize = 65_535;

/// The part of a connection that is about datagrams.
pub(super) struct Lane {
    seals: Seals,
    /// Whether quinn-proto has reported arrivals.
    pub(super) has_arrivals: bool,
    pub(super) order: Order,
    /// DATAGRAM frames that have arrived and were read.
    read: u64,
}

/// What has become of datagrams that were given to QUIC.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
}

/// Why a datagram was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// It is longer than the path carries, by now.
    TooLong,
    /// There is no key, or it is worn out.
    NoKey,
}

/// The keys of both directions.
enum Seals {
    Off,
    /// The handshake is not complete, or the connection is over, or an end has no datagrams.
    Missing,
    On {
        ours: Sealer,
        theirs: Opener,
    },
}

impl Lane {
    pub(super) const fn new(sealing: Sealing) -> Self {
        let seals = match sealing {
            Sealing::On => Seals::Missing,
            Sealing::Off => Seals::Off,
        };
        Self {
            seals,
            has_arrivals: false,
            order: Order::new(),
            read: 0,
        }
    }

    /// Derives the keys, once TLS is done, if both ends have datagrams.
    pub(super) fn establish(
        &mut self,
        connection: &mut Connection,
        dialler: Dialler,
        mesh_key: Option<&MeshKey>,
    ) -> Result<(), ExportKeyingMaterialError> {
        if matches!(self.seals, Seals::Off) || connection.datagrams().max_size().is_none() {
            return Ok(());
        }
        let session = connection.crypto_session();
        let export = |direction| {
            let context = seal::context(direction, mesh_key);
            move |bytes: &mut [u8]| session.export_keying_material(bytes, KEY_LABEL, &context[..])
        };
        let (ours, theirs) = match dialler {
            Dialler::Us => (Direction::FromDialler, Direction::FromAcceptor),
            Dialler::Them => (Direction::FromAcceptor, Direction::FromDialler),
        };
        self.seals = Seals::On {
            ours: Sealer::derive(export(ours))?,
            theirs: Opener::derive(export(theirs))?,
        };
        Ok(())
    }

    /// The longest payload that fits into a packet at this moment. `None` if an end has no datagrams.
    pub(super) fn payload_max(&self, connection: &mut Connection) -> Option<usize> {
        let max = connection.datagrams().max_size()?;
        match &self.seals {
            Seals::Off => max.checked_sub(FLOW_LEN),
            Seals::On { .. } => max.checked_sub(OVERHEAD),
            Seals::Missing => None,
        }
    }

    /// Returns how many bytes of datagrams may be given to QUIC; 0 while it is not their turn.
    pub(super) fn room(&self, connection: &mut Connection) -> usize {
        self.order.room(connection)
    }

    /// What a payload takes of [`room`](Self::room).
    pub(super) const fn cost(&self, payload: &Bytes) -> usize {
        match &self.seals {
            Seals::Off | Seals::Missing => payload.len() + FLOW_LEN + FRAME_COST,
            Seals::On { .. } => payload.len() + OVERHEAD + FRAME_COST,
        }
    }

    /// Seals a datagram and gives it to QUIC.
    pub(super) fn write(
        &mut self,
        connection: &mut Connection,
        payload: Bytes,
    ) -> Result<(), Unwritten> {
        if self
            .payload_max(connection)
            .is_none_or(|max| payload.len() > max)
        {
            return Err(Unwritten::TooLong);
        }
        let datagram = match &mut self.seals {
            Seals::Off => datagram::with_flow(&payload),
            Seals::On { ours, .. } => ours.seal(&payload).ok_or(Unwritten::NoKey)?,
            Seals::Missing => return Err(Unwritten::NoKey),
        };
        match connection.datagrams().send(datagram, false) {
            Ok(()) => {
                self.order.gave();
                Ok(())
            }
            Err(
                SendDatagramError::TooLarge
                | SendDatagramError::Blocked(_)
                | SendDatagramError::UnsupportedByPeer
                | SendDatagramError::Disabled,
            ) => Err(Unwritten::TooLong),
        }
    }

    /// The next datagram that has arrived, opened.
    pub(super) fn read(&mut self, connection: &mut Connection) -> Option<Result<Bytes, Refused>> {
        let Some(datagram) = connection.datagrams().recv() else {
            self.has_arrivals = false;
            return None;
        };
        self.read += 1;
        Some(match &mut self.seals {
            // Copied: it shares the memory of a whole packet.
            Seals::Off => datagram::without_flow(Bytes::copy_from_slice(&datagram)),
            Seals::On { theirs, .. } => theirs.open(&datagram),
            Seals::Missing => Err(Refused::Forged),
        })
    }

    /// Drops those that have arrived, and returns how many they were.
    pub(super) fn drop_arrivals(&mut self, connection: &mut Connection) -> u64 {
        while connection.datagrams().recv().is_some() {}
        self.has_arrivals = false;
        let arrived = connection.stats().frame_rx.datagram;
        arrived.saturating_sub(std::mem::replace(&mut self.read, arrived))
    }

    /// Returns how many have arrived and were dropped by quinn-proto for want of room, since the last call. To
    /// be called when all others are read.
    pub(super) fn take_overrun(&mut self, connection: &Connection) -> u64 {
        let arrived = connection.stats().frame_rx.datagram;
        arrived.saturating_sub(std::mem::replace(&mut self.read, arrived))
    }

    /// Whether the key has been used as often as it may be.
    pub(super) const fn is_exhausted(&self) -> bool {
        match &self.seals {
            Seals::Off | Seals::Missing => false,
            Seals::On { ours, .. } => ours.is_exhausted(),
        }
    }

    /// Leaves our key one datagram.
    #[cfg(test)]
    pub(super) const fn wear_out(&mut self) {
        if let Seals::On { ours, .. } = &mut self.seals {
            ours.wear_out();
        }
    }

    /// The connection is over: keys go at once, and what is in no packet is never in one.
    pub(super) fn close(&mut self) {
        self.seals = match self.seals {
            Seals::Off => Seals::Off,
            Seals::Missing | Seals::On { .. } => Seals::Missing,
        };
        self.order.drop_given();
    }
}

impl Link {
    /// The longest datagram that fits into a packet at this moment. `None` if an end has none.
    pub(crate) fn datagram_payload_max(&mut self) -> Option<usize> {
        self.lane.payload_max(&mut self.connection)
    }

    /// See [`Lane::room`].
    pub(crate) fn datagram_room(&mut self) -> usize {
        self.lane.room(&mut self.connection)
    }

    /// See [`Lane::cost`].
    pub(crate) const fn datagram_cost(&self, payload: &Bytes) -> usize {
        self.lane.cost(payload)
    }

    /// Seals a datagram and gives it to QUIC.
    pub(crate) fn write_datagram(&mut self, payload: Bytes) -> Result<(), Unwritten> {
        self.lane.write(&mut self.connection, payload)
    }

    /// Returns what has become of datagrams since the last call.
    pub(crate) fn take_datagram_fates(&mut self) -> Fates {
        self.lane.order.take_fates()
    }

    /// Whether datagrams may have arrived.
    pub(crate) const fn has_datagrams(&self) -> bool {
        self.lane.has_arrivals
    }

    /// The next datagram that has arrived, opened.
    pub(crate) fn read_datagram(&mut self) -> Option<Result<Bytes, Refused>> {
        let datagram = self.lane.read(&mut self.connection)?;
        self.spend_on_datagram();
        Some(datagram)
    }

    /// See [`Lane::drop_arrivals`].
    pub(crate) fn drop_datagrams(&mut self) -> u64 {
        self.lane.drop_arrivals(&mut self.connection)
    }

    /// See [`Lane::take_overrun`].
    pub(crate) fn take_datagram_overrun(&mut self) -> u64 {
        self.lane.take_overrun(&self.connection)
    }
}
