//! Keys: the schedule that both ends derive them from, and what they do to packets and tokens.

use bytes::BytesMut;
use quinn_proto::{
    ConnectionId, Side,
    crypto::{
        AeadKey, CryptoError, HandshakeTokenKey, HeaderKey, HmacKey, KeyPair, Keys, PacketKey,
    },
};

use crate::hash::Hasher;

/// The length of a tag, that of AES-GCM, so that packets have the size they have with TLS.
pub(super) const TAG_LEN: usize = 16;

/// Packets one key may protect: the limit of AES-GCM (RFC 9001 section 6.6).
const CONFIDENTIALITY_LIMIT: u64 = 1 << 23;
/// Forged packets one key may meet: the limit of AES-GCM (RFC 9001 section 6.6).
const INTEGRITY_LIMIT: u64 = 1 << 52;

/// The secret of both ends, from which all keys of one encryption level derive.
#[derive(Clone, Copy)]
pub(super) struct Secret(u128);

/// An encryption level of QUIC, with the number of key updates behind it.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Initial,
    Handshake,
    OneRtt { generation: u64 },
}

impl Secret {
    /// The secret that can be derived from the first packet (RFC 9001 section 5.2).
    pub(super) fn initial(destination: &ConnectionId) -> Self {
        Self(Hasher::new(1).bytes(destination).finish())
    }

    /// The secret of a session whose hellos have this transcript.
    pub(super) fn session(transcript: u128) -> Self {
        Self(Hasher::new(transcript).word(2).finish())
    }

    /// All keys of a level as `side` uses them.
    pub(super) fn keys(self, level: Level, side: Side) -> Keys {
        Keys {
            header: KeyPair {
                local: Box::new(ClearHeader),
                remote: Box::new(ClearHeader),
            },
            packet: self.packet_keys(level, side),
        }
    }

    /// The packet keys of a level as `side` uses them.
    pub(super) fn packet_keys(self, level: Level, side: Side) -> KeyPair<Box<dyn PacketKey>> {
        KeyPair {
            local: Box::new(self.packet_key(level, side)),
            remote: Box::new(self.packet_key(level, !side)),
        }
    }

    /// The tag of a Finished message: its sender has read the same transcript.
    pub(super) fn finished(self, sender: Side, transcript: u128) -> [u8; TAG_LEN] {
        self.derive(b"finished")
            .word(sender as u64)
            .word(transcript as u64)
            .word((transcript >> 64) as u64)
            .array()
    }

    /// Fills `out` with material for the application (RFC 8446 section 7.5).
    pub(super) fn export(self, label: &[u8], context: &[u8], out: &mut [u8]) {
        self.derive(b"exporter")
            .bytes(label)
            .bytes(context)
            .fill(out);
    }

    fn packet_key(self, level: Level, sender: Side) -> TagKey {
        let (level, generation) = match level {
            Level::Initial => (0, 0),
            Level::Handshake => (1, 0),
            Level::OneRtt { generation } => (2, generation),
        };
        let hash = self.derive(b"packet").word(level).word(generation);
        TagKey(hash.word(sender as u64).finish())
    }

    fn derive(self, label: &[u8]) -> Hasher {
        Hasher::new(self.0).bytes(label)
    }
}

/// Protects packets and tokens with a tag; what it protects stays legible.
struct TagKey(u128);

impl TagKey {
    fn tag(&self, packet: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_LEN] {
        let hash = Hasher::new(self.0).word(packet);
        hash.bytes(header).bytes(payload).finish().to_le_bytes()
    }

    /// The length of what the tag at the end of `sealed` protects.
    fn verify(&self, packet: u64, header: &[u8], sealed: &[u8]) -> Result<usize, CryptoError> {
        let (payload, tag) = sealed.split_last_chunk().ok_or(CryptoError)?;
        if self.tag(packet, header, payload) != *tag {
            return Err(CryptoError);
        }
        Ok(payload.len())
    }
}

impl PacketKey for TagKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let (header, sealed) = buf.split_at_mut(header_len);
        let (payload, tag) = sealed
            .split_last_chunk_mut()
            .expect("invariant: quinn-proto leaves room for tag_len bytes");
        *tag = self.tag(packet, header, payload);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let len = self.verify(packet, header, payload)?;
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        CONFIDENTIALITY_LIMIT
    }

    fn integrity_limit(&self) -> u64 {
        INTEGRITY_LIMIT
    }
}

impl AeadKey for TagKey {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        let tag = self.tag(0, additional_data, data);
        data.extend_from_slice(&tag);
        Ok(())
    }

    fn open<'a>(
        &self,
        data: &'a mut [u8],
        additional_data: &[u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let len = self.verify(0, additional_data, data)?;
        Ok(&mut data[..len])
    }
}

/// Leaves headers as they are: no simulated network snoops, and legible packet numbers help a trace.
struct ClearHeader;

impl HeaderKey for ClearHeader {
    fn decrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    fn encrypt(&self, _pn_offset: usize, _packet: &mut [u8]) {}

    /// That of AES, so that small packets are padded as they are with TLS.
    fn sample_size(&self) -> usize {
        16
    }
}

/// A key that belongs to an identity and outlives the process: for reset tokens and Retry tokens.
pub(super) struct IdentityKey(u128);

impl IdentityKey {
    pub(super) fn new(identity: &[u8], purpose: &[u8]) -> Self {
        Self(Hasher::new(3).bytes(identity).bytes(purpose).finish())
    }
}

impl HmacKey for IdentityKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        Hasher::new(self.0).bytes(data).fill(signature_out);
    }

    /// That of HMAC with SHA-256.
    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut expected = vec![0; HmacKey::signature_len(self)];
        self.sign(data, &mut expected);
        if signature != expected {
            return Err(CryptoError);
        }
        Ok(())
    }
}

impl HandshakeTokenKey for IdentityKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        Box::new(TagKey(Hasher::new(self.0).bytes(random_bytes).finish()))
    }
}

/// The tag of a Retry packet, `packet` being everything before it (RFC 9001 section 5.8).
pub(super) fn retry_tag(original_destination: &ConnectionId, packet: &[u8]) -> [u8; TAG_LEN] {
    let hash = Hasher::new(4).bytes(original_destination);
    hash.bytes(packet).finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret(5);
    const ONE_RTT: Level = Level::OneRtt { generation: 0 };

    #[test]
    fn a_packet_opens_only_as_it_was_sealed() {
        let packet = seal(7, *b"header");
        let key = SECRET.packet_keys(ONE_RTT, Side::Server).remote;
        assert!(opens(&*key, 7, b"header", &packet));
        assert!(!opens(&*key, 8, b"header", &packet));
        assert!(!opens(&*key, 7, b"healer", &packet));
        assert!(!opens(&*key, 7, b"header", &packet[1..]));
        assert!(!opens(&*key, 7, b"header", &packet[..TAG_LEN - 1]));
    }

    #[test]
    fn a_packet_opens_only_under_its_own_key() {
        let packet = seal(7, *b"header");
        let others = [
            SECRET.packet_keys(ONE_RTT, Side::Server).local,
            SECRET.packet_keys(Level::Initial, Side::Server).remote,
            SECRET.packet_keys(Level::Handshake, Side::Server).remote,
            SECRET
                .packet_keys(Level::OneRtt { generation: 1 }, Side::Server)
                .remote,
            Secret(6).packet_keys(ONE_RTT, Side::Server).remote,
        ];
        for key in others {
            assert!(!opens(&*key, 7, b"header", &packet));
        }
    }

    #[test]
    fn a_token_opens_only_under_its_own_key_and_nonce() {
        let key = IdentityKey::new(b"id", b"token");
        let mut token = b"token".to_vec();
        let sealed = key.aead_from_hkdf(b"nonce").seal(&mut token, b"");
        sealed.expect("a checksum cannot fail");
        let open = |key: &IdentityKey, nonce: &[u8]| {
            let mut token = token.clone();
            let opened = key.aead_from_hkdf(nonce).open(&mut token, b"");
            opened.is_ok_and(|opened| opened == b"token")
        };
        assert!(open(&key, b"nonce"));
        assert!(!open(&key, b"other"));
        assert!(!open(&IdentityKey::new(b"other", b"token"), b"nonce"));
        assert!(!open(&IdentityKey::new(b"id", b"reset"), b"nonce"));
    }

    #[test]
    fn a_signature_holds_for_its_data_alone() {
        let key = IdentityKey::new(b"id", b"reset");
        let mut signature = [0; 32];
        key.sign(b"data", &mut signature);
        assert!(key.verify(b"data", &signature).is_ok());
        assert!(key.verify(b"date", &signature).is_err());
        assert!(key.verify(b"data", &signature[..31]).is_err());
    }

    /// What a client sends under its first 1-RTT key, without the header.
    fn seal(number: u64, header: [u8; 6]) -> Vec<u8> {
        let mut packet = [&header[..], b"payload", &[0; TAG_LEN]].concat();
        let key = SECRET.packet_keys(ONE_RTT, Side::Client).local;
        key.encrypt(number, &mut packet, header.len());
        packet.split_off(header.len())
    }

    fn opens(key: &dyn PacketKey, number: u64, header: &[u8], packet: &[u8]) -> bool {
        let mut payload = BytesMut::from(packet);
        key.decrypt(number, header, &mut payload).is_ok() && payload[..] == *b"payload"
    }
}
