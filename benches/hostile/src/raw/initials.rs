//! First packets of handshakes, which are sent and never followed up.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use quinn_proto::{
    ClientConfig, Endpoint, EndpointConfig, EndpointEvent, TokenStore, VarInt, crypto,
};

/// Makes Initial packets of QUIC v1, each with connection ids and a ClientHello of its own.
pub struct Initials {
    endpoint: Endpoint,
    config: ClientConfig,
    token: Arc<Token>,
}

/// The token that Initials carry.
#[derive(Default)]
struct Token(Mutex<Option<Bytes>>);

impl TokenStore for Token {
    fn insert(&self, _: &str, _: Bytes) {}

    fn take(&self, _: &str) -> Option<Bytes> {
        self.0.lock().ok()?.clone()
    }
}

impl Initials {
    pub fn new(identity: Arc<dyn crypto::ClientConfig>) -> Self {
        let token = Arc::new(Token::default());
        let mut config = ClientConfig::new(identity);
        config.token_store(token.clone());
        Self {
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            config,
            token,
        }
    }

    /// The next packet, of 1,200 bytes.
    pub fn make(&mut self, server: SocketAddr) -> Result<Vec<u8>> {
        let now = Instant::now();
        let config = self.config.clone();
        let (handle, mut connection) = self.endpoint.connect(now, config, server, "server")?;
        let mut packet = Vec::new();
        let transmit = connection.poll_transmit(now, 1, &mut packet);
        packet.truncate(transmit.context("no first packet")?.size);
        connection.close(now, VarInt::from_u32(0), Bytes::new());
        self.endpoint.handle_event(handle, EndpointEvent::drained());
        Ok(packet)
    }

    /// Has all packets from here on carry the token of a Retry; whether the packet was one.
    pub fn take_token(&mut self, packet: &[u8]) -> bool {
        let token = retry_token(packet);
        let is_retry = token.is_some();
        if let (Some(token), Ok(mut place)) = (token, self.token.0.lock()) {
            *place = Some(Bytes::copy_from_slice(token));
        }
        is_retry
    }
}

/// The token in a Retry packet (RFC 9000, section 17.2.5).
fn retry_token(packet: &[u8]) -> Option<&[u8]> {
    /// The form and type of a long header, as a Retry has them.
    const RETRY: u8 = 0xf0;
    const VERSION_LEN: usize = 4;
    const INTEGRITY_TAG_LEN: usize = 16;

    let (first, rest) = packet.split_first()?;
    if first & RETRY != RETRY {
        return None;
    }
    let mut rest = rest.get(VERSION_LEN..)?;
    for _ in ["destination", "source"] {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
    }
    rest.get(..rest.len().checked_sub(INTEGRITY_TAG_LEN)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::tls::{Twist, identity};

    #[test]
    fn packets_are_initials_and_differ() {
        let identity = identity(Twist::default()).expect("a key");
        let mut initials = Initials::new(identity);
        let server = SocketAddr::from(([127, 0, 0, 1], 4_433));
        let [one, two] = [(); 2].map(|()| initials.make(server).expect("a packet"));
        for packet in [&one, &two] {
            assert_eq!(packet.len(), 1_200);
            assert_eq!(packet[0] & 0xf0, 0xc0);
            assert_eq!(packet[1..5], [0, 0, 0, 1]);
        }
        assert_ne!(one, two);
    }

    #[test]
    fn the_token_of_a_retry_goes_into_the_next_packet() {
        let identity = identity(Twist::default()).expect("a key");
        let mut initials = Initials::new(identity);
        let ids = [1, 7, 2, 8, 8];
        let retry = [&[0xf0, 0, 0, 0, 1][..], &ids, b"token", &[0; 16]].concat();
        assert_eq!(retry_token(&retry), Some(&b"token"[..]));
        assert!(initials.take_token(&retry));
        assert!(!initials.take_token(&[0xc0; 40]));
        let server = SocketAddr::from(([127, 0, 0, 1], 4_433));
        let packet = initials.make(server).expect("a packet");
        assert!(packet.windows(5).any(|part| part == b"token"));
    }
}
