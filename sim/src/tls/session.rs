//! A session of rustls with draws of its own.

use std::{any::Any, sync::Arc};

use quicpool_core::PeerId;
use quinn_proto::{
    ConnectionId, Side, TransportError,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey},
    transport_parameters::TransportParameters,
};

use super::{
    draws::Draws,
    log::{Handshake, HandshakeLog, Messages},
};

/// Lends its draws to rustls in every call that may need some.
pub(super) struct Session {
    tls: Box<dyn crypto::Session>,
    draws: Draws,
    /// The peer that it dials, if it does.
    peer: Option<PeerId>,
    /// The messages that it reads, until the handshake is complete.
    messages: Option<Messages>,
    log: Arc<HandshakeLog>,
}

impl Session {
    pub(super) fn new(
        tls: Box<dyn crypto::Session>,
        draws: Draws,
        peer: Option<PeerId>,
        log: Arc<HandshakeLog>,
    ) -> Self {
        Self {
            tls,
            draws,
            peer,
            messages: Some(Messages::new()),
            log,
        }
    }

    fn note(&mut self, read: &[u8]) {
        let Some(messages) = &mut self.messages else {
            return;
        };
        messages.read(read);
        if !self.tls.is_handshaking() {
            let (dialled, kind) = (self.peer, messages.kind());
            self.log.note(Handshake { dialled, kind });
            self.messages = None;
        }
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.tls.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.tls.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.tls.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.tls.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.tls.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        let read = self.draws.during(|| self.tls.read_handshake(buf))?;
        self.note(buf);
        Ok(read)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.tls.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.draws.during(|| self.tls.write_handshake(buf))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.tls.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.tls.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.tls.export_keying_material(output, label, context)
    }
}
