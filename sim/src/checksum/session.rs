//! One session: the handshake step by step, and what it has agreed on.

use std::{any::Any, io};

use quicpool_core::PeerId;
use quinn_proto::{
    ConnectionId, Side, TransportError,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey},
    transport_parameters::TransportParameters,
};

use super::{
    Flights, HandshakeData,
    keys::{self, Level, Secret, TAG_LEN},
    message::{self, Alert, Kind, RANDOM_LEN, Reader, Writer},
};
use crate::hash::Hasher;

/// The longest export, that of HKDF with SHA-256 (RFC 5869 section 2.3).
const EXPORT_LEN_MAX: usize = 255 * 32;

/// The part of one end in a session.
pub(super) struct Offer {
    pub(super) identity: Option<PeerId>,
    pub(super) protocol: Vec<u8>,
    pub(super) params: Vec<u8>,
    pub(super) random: [u8; RANDOM_LEN],
    pub(super) flights: Flights,
}

/// The statements of the other end so far.
#[derive(Default)]
struct Remote {
    identity: Option<PeerId>,
    params: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
}

/// The next step. A client walks the upper five, a server the lower four, and both are `Done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    WriteClientHello,
    ReadServerHello,
    TakeHandshakeKeys,
    ReadServerFlight,
    WriteClientFlight,

    ReadClientHello,
    WriteServerHello,
    WriteServerFlight,
    ReadClientFlight,

    Done,
}

/// A session of [`Checksum`](super::Checksum).
pub(super) struct Session {
    side: Side,
    offer: Offer,
    remote: Remote,
    step: Step,
    /// Handshake bytes that are not a whole message yet.
    arrived: Vec<u8>,
    /// A hash over all messages, in their order.
    transcript: u128,
    /// Known once both hellos are.
    secret: Option<Secret>,
    /// How often the 1-RTT keys have been asked for.
    generation: u64,
}

impl Session {
    pub(super) fn client(version: u32, offer: Offer) -> Self {
        Self::new(Side::Client, Step::WriteClientHello, version, offer)
    }

    pub(super) fn server(version: u32, offer: Offer) -> Self {
        Self::new(Side::Server, Step::ReadClientHello, version, offer)
    }

    fn new(side: Side, step: Step, version: u32, offer: Offer) -> Self {
        Self {
            side,
            offer,
            remote: Remote::default(),
            step,
            arrived: Vec::new(),
            transcript: version.into(),
            secret: None,
            generation: 0,
        }
    }

    /// Reads one message, and returns whether it was the one that negotiates.
    fn read(&mut self, message: &[u8]) -> Result<bool, TransportError> {
        match self.step {
            Step::ReadClientHello => self.read_client_hello(message).map(|()| true),
            Step::ReadServerHello => self.read_server_hello(message).map(|()| false),
            Step::ReadServerFlight => self.read_server_flight(message).map(|()| true),
            Step::ReadClientFlight => self.read_client_flight(message).map(|()| false),
            Step::WriteClientHello
            | Step::TakeHandshakeKeys
            | Step::WriteClientFlight
            | Step::WriteServerHello
            | Step::WriteServerFlight
            | Step::Done => Err(Alert::UnexpectedMessage.because("no message was due")),
        }
    }

    fn read_client_hello(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let mut reader = Reader::new(Kind::ClientHello, message)?;
        reader.random()?;
        self.read_negotiated(&mut reader)?;
        if self.remote.protocol.as_ref() != Some(&self.offer.protocol) {
            return Err(Alert::NoApplicationProtocol.because("no protocol in common"));
        }
        self.absorb(message);
        self.step = Step::WriteServerHello;
        Ok(())
    }

    fn read_server_hello(&mut self, message: &[u8]) -> Result<(), TransportError> {
        Reader::new(Kind::ServerHello, message)?.random()?;
        self.absorb(message);
        self.secret = Some(Secret::session(self.transcript));
        self.step = Step::TakeHandshakeKeys;
        Ok(())
    }

    fn read_server_flight(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let mut reader = self.open(Kind::ServerFlight, message)?;
        self.remote.identity = reader.identity()?;
        self.read_negotiated(&mut reader)?;
        if self.remote.protocol.as_ref() != Some(&self.offer.protocol) {
            return Err(Alert::IllegalParameter.because("the protocol was not offered"));
        }
        self.absorb(message);
        self.step = Step::WriteClientFlight;
        Ok(())
    }

    fn read_client_flight(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let mut reader = self.open(Kind::ClientFlight, message)?;
        self.remote.identity = reader.identity()?;
        self.absorb(message);
        self.step = Step::Done;
        Ok(())
    }

    fn read_negotiated(&mut self, reader: &mut Reader<'_>) -> Result<(), TransportError> {
        self.remote.protocol = Some(reader.string()?.to_vec());
        self.remote.params = Some(reader.string()?.to_vec());
        Ok(())
    }

    /// Checks the Finished tag of a flight.
    fn open<'a>(&self, kind: Kind, message: &'a [u8]) -> Result<Reader<'a>, TransportError> {
        let (sealed, tag) = message::split_tag(message)?;
        if self.finished(!self.side, sealed) != *tag {
            return Err(Alert::DecryptError.because("the transcripts differ"));
        }
        Reader::new(kind, sealed)
    }

    fn client_hello(&self) -> Vec<u8> {
        Writer::new(Kind::ClientHello, self.offer.flights.client_hello)
            .random(&self.offer.random)
            .string(&self.offer.protocol)
            .string(&self.offer.params)
            .finish()
    }

    fn server_hello(&self) -> Vec<u8> {
        Writer::new(Kind::ServerHello, self.offer.flights.server_hello)
            .random(&self.offer.random)
            .finish()
    }

    fn server_flight(&self) -> Vec<u8> {
        Writer::new(Kind::ServerFlight, self.offer.flights.server)
            .identity(self.offer.identity)
            .string(&self.offer.protocol)
            .string(&self.offer.params)
            .seal(|message| self.finished(Side::Server, message))
    }

    fn client_flight(&self) -> Vec<u8> {
        Writer::new(Kind::ClientFlight, self.offer.flights.client)
            .identity(self.offer.identity)
            .seal(|message| self.finished(Side::Client, message))
    }

    fn write(&mut self, message: Vec<u8>, buf: &mut Vec<u8>) {
        self.absorb(&message);
        buf.extend_from_slice(&message);
    }

    fn absorb(&mut self, message: &[u8]) {
        self.transcript = Hasher::new(self.transcript).bytes(message).finish();
    }

    fn finished(&self, sender: Side, message: &[u8]) -> [u8; TAG_LEN] {
        let transcript = Hasher::new(self.transcript).bytes(message).finish();
        self.secret().finished(sender, transcript)
    }

    fn secret(&self) -> Secret {
        self.secret
            .expect("invariant: flights come after both hellos")
    }

    fn keys(&self, level: Level) -> Option<Keys> {
        Some(self.secret().keys(level, self.side))
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        Secret::initial(dst_cid).keys(Level::Initial, side)
    }

    /// A [`HandshakeData`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let protocol = self.remote.protocol.clone()?;
        Some(Box::new(HandshakeData { protocol }))
    }

    /// A [`PeerId`].
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let id = self.remote.identity?;
        Some(Box::new(id))
    }

    /// There is no 0-RTT, as in the TLS configuration of the core.
    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.side.is_client().then_some(false)
    }

    fn is_handshaking(&self) -> bool {
        self.step != Step::Done
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.arrived.extend_from_slice(buf);
        let mut negotiated = false;
        while let Some(message) = message::next_message(&mut self.arrived)? {
            negotiated |= self.read(&message)?;
        }
        if !self.arrived.is_empty() && !self.step.reads() {
            // Bytes of one encryption level must not become part of a message of the next.
            return Err(Alert::UnexpectedMessage.because("a message crosses a change of keys"));
        }
        Ok(negotiated)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(params) = &self.remote.params else {
            return Ok(None);
        };
        let params = TransportParameters::read(self.side, &mut io::Cursor::new(params))?;
        Ok(Some(params))
    }

    /// Bytes and keys in one call belong to two levels: the keys are for what follows the bytes.
    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        match self.step {
            Step::WriteClientHello => {
                self.write(self.client_hello(), buf);
                self.step = Step::ReadServerHello;
                None
            }
            Step::TakeHandshakeKeys => {
                self.step = Step::ReadServerFlight;
                self.keys(Level::Handshake)
            }
            Step::WriteClientFlight => {
                self.write(self.client_flight(), buf);
                self.step = Step::Done;
                self.keys(Level::OneRtt { generation: 0 })
            }
            Step::WriteServerHello => {
                self.write(self.server_hello(), buf);
                self.secret = Some(Secret::session(self.transcript));
                self.step = Step::WriteServerFlight;
                self.keys(Level::Handshake)
            }
            Step::WriteServerFlight => {
                self.write(self.server_flight(), buf);
                self.step = Step::ReadClientFlight;
                self.keys(Level::OneRtt { generation: 0 })
            }
            Step::ReadClientHello
            | Step::ReadServerHello
            | Step::ReadServerFlight
            | Step::ReadClientFlight
            | Step::Done => None,
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let secret = self.secret?;
        self.generation += 1;
        let generation = self.generation;
        Some(secret.packet_keys(Level::OneRtt { generation }, self.side))
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Ok((token, tag)) = message::split_tag(payload) else {
            return false;
        };
        keys::retry_tag(orig_dst_cid, &[header, token].concat()) == *tag
    }

    /// Fails before the handshake has ended, as rustls does.
    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let Some(secret) = self.secret.filter(|_| self.step == Step::Done) else {
            return Err(ExportKeyingMaterialError);
        };
        if output.len() > EXPORT_LEN_MAX {
            return Err(ExportKeyingMaterialError);
        }
        secret.export(label, context, output);
        Ok(())
    }
}

impl Step {
    fn reads(self) -> bool {
        match self {
            Self::ReadServerHello
            | Self::ReadServerFlight
            | Self::ReadClientHello
            | Self::ReadClientFlight => true,
            Self::WriteClientHello
            | Self::TakeHandshakeKeys
            | Self::WriteClientFlight
            | Self::WriteServerHello
            | Self::WriteServerFlight
            | Self::Done => false,
        }
    }
}
