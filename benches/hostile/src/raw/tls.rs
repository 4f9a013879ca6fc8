//! TLS of attackers: any identity, any certificate, and sessions that change what QUIC writes.

use std::{any::Any, sync::Arc};

use anyhow::{Context, Result};
use quinn_proto::{
    ConnectError, ConnectionId, Side, TransportError,
    crypto::{
        self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session,
        rustls::QuicClientConfig,
    },
    transport_parameters::TransportParameters,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair as CertificateKey, PKCS_ED25519};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

/// The protocol, as docs/wire.md has it.
const ALPN: &[u8] = b"quicpool/1-d1";

/// An extension that is unknown and not critical: 1.3.6.1.4.1.99999.1.
const PADDING_EXTENSION: &[u64] = &[1, 3, 6, 1, 4, 1, 99_999, 1];

/// The transport parameter `max_ack_delay` (RFC 9000, section 18.2) with the longest delay, 16,383 ms.
const LONGEST_ACK_DELAY: [u8; 4] = [0x0b, 0x02, 0x7f, 0xff];

/// What an attacker does to its own end of QUIC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Twist {
    /// Bytes by which its certificate is longer than it need be.
    pub certificate_padding: usize,
    /// It may take 16,383 ms for acknowledgements, so a close is remembered for long.
    pub is_slow_to_acknowledge: bool,
    /// The first byte of its data stream never leaves.
    pub has_gap: bool,
}

/// A new identity, as the client of connections without resumption.
pub fn identity(twist: Twist) -> Result<Arc<dyn crypto::ClientConfig>> {
    let key = CertificateKey::generate_for(&PKCS_ED25519).context("no key")?;
    let mut params = CertificateParams::default();
    if twist.certificate_padding > 0 {
        let padding = vec![0; twist.certificate_padding];
        let extension = CustomExtension::from_oid_content(PADDING_EXTENSION, padding);
        params.custom_extensions.push(extension);
    }
    let certificate = params.self_signed(&key).context("no certificate")?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    let inner = Arc::new(QuicClientConfig::try_from(config)?);
    Ok(Arc::new(Twisted { inner, twist }))
}

/// Accepts every server.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Starts sessions of rustls that are twisted.
struct Twisted {
    inner: Arc<QuicClientConfig>,
    twist: Twist,
}

impl crypto::ClientConfig for Twisted {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let slow = self.twist.is_slow_to_acknowledge.then(|| slowed(params));
        let params = slow.as_ref().unwrap_or(params);
        let inner = self
            .inner
            .clone()
            .start_session(version, server_name, params)?;
        if !self.twist.has_gap {
            return Ok(inner);
        }
        Ok(Box::new(Gapped {
            inner,
            has_handshake_keys: false,
        }))
    }
}

/// The same parameters with the longest delay of acknowledgements.
fn slowed(params: &TransportParameters) -> TransportParameters {
    let mut bytes = Vec::new();
    params.write(&mut bytes);
    bytes.extend(LONGEST_ACK_DELAY);
    // As the server will read them.
    TransportParameters::read(Side::Server, &mut &bytes[..])
        .expect("what quinn-proto writes and one parameter more can be read")
}

/// A session whose packets lack the first byte of the data stream.
struct Gapped {
    inner: Box<dyn Session>,
    has_handshake_keys: bool,
}

impl Session for Gapped {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.inner.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.inner.write_handshake(buf)?;
        // The first keys are of the handshake, the second ones of data.
        if !std::mem::replace(&mut self.has_handshake_keys, true) {
            return Some(keys);
        }
        Some(Keys {
            header: keys.header,
            packet: KeyPair {
                local: Box::new(Gap(keys.packet.local)),
                remote: keys.packet.remote,
            },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// A key that sees packets before they are encrypted, and takes one STREAM frame out: that of
/// stream 6 with offset 0 and one byte. QUIC takes it for sent, and never sends it again.
struct Gap(Box<dyn PacketKey>);

/// That frame with a length, and as the last one of a packet without.
const FIRST_BYTE: [u8; 4] = [0x0a, 0x06, 0x01, 0x01];
const FIRST_BYTE_AT_END: [u8; 3] = [0x08, 0x06, 0x01];

impl PacketKey for Gap {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let end = buf.len() - self.0.tag_len();
        take_out(&mut buf[header_len..end]);
        self.0.encrypt(packet, buf, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut bytes::BytesMut,
    ) -> Result<(), crypto::CryptoError> {
        self.0.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

/// Makes PADDING of the frame.
fn take_out(payload: &mut [u8]) {
    if let Some(at) = payload
        .windows(FIRST_BYTE.len())
        .position(|part| part == FIRST_BYTE)
    {
        payload[at..at + FIRST_BYTE.len()].fill(0);
    }
    if payload.ends_with(&FIRST_BYTE_AT_END) {
        let at = payload.len() - FIRST_BYTE_AT_END.len();
        payload[at..].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_is_taken_out_of_a_packet() {
        for (mut packet, without) in [
            (vec![7, 0x0a, 6, 1, 1, 9], vec![7, 0, 0, 0, 0, 9]),
            (vec![7, 8, 6, 1], vec![7, 0, 0, 0]),
            (vec![7, 8, 6, 1, 9], vec![7, 8, 6, 1, 9]),
        ] {
            take_out(&mut packet);
            assert_eq!(packet, without);
        }
    }

    #[test]
    fn a_certificate_is_as_long_as_it_is_asked_to_be() {
        let twist = Twist {
            certificate_padding: 60_000,
            ..Twist::default()
        };
        assert!(identity(twist).is_ok());
    }
}
