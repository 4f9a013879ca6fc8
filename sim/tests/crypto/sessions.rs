//! Sessions without QUIC around them.

use quicpool_core::{Credentials, PeerId};
use quinn_proto::{
    Side, TransportError, crypto::Session, transport_parameters::TransportParameters,
};

/// Both ends of a session.
pub(crate) fn sessions(
    client: &dyn Credentials,
    server: &dyn Credentials,
) -> (Box<dyn Session>, Box<dyn Session>) {
    sessions_as(client, server, server.local_id())
}

/// Both ends of a session, of which one takes the other for `peer`.
pub(crate) fn sessions_as(
    client: &dyn Credentials,
    server: &dyn Credentials,
    peer: PeerId,
) -> (Box<dyn Session>, Box<dyn Session>) {
    let params = |read_by, bytes: &[u8]| {
        let params = TransportParameters::read(read_by, &mut &*bytes);
        params.expect("they are well formed")
    };
    let of_client = params(Side::Server, &PARAMETERS);
    let of_server = [&PARAMETERS[..], &SERVER_PARAMETERS].concat();
    let of_server = params(Side::Client, &of_server);
    let name = client.server_name(peer);
    let client = client.client_config(peer);
    let client = client.start_session(1, &name, &of_client);
    let server = server.server_config().start_session(1, &of_server);
    (client.expect("version 1 is spoken"), server)
}

/// Transport parameters as machines have them (RFC 9000 section 18).
const PARAMETERS: [u8; 67] = [
    0x01, 4, 0x80, 0, 0x75, 0x30, // max_idle_timeout
    0x03, 2, 0x45, 0xc0, // max_udp_payload_size
    0x04, 4, 0x80, 0x10, 0, 0, // initial_max_data
    0x05, 4, 0x80, 0x10, 0, 0, // initial_max_stream_data_bidi_local
    0x06, 4, 0x80, 0x10, 0, 0, // initial_max_stream_data_bidi_remote
    0x07, 4, 0x80, 0x10, 0, 0, // initial_max_stream_data_uni
    0x08, 1, 0, // initial_max_streams_bidi
    0x09, 1, 2, // initial_max_streams_uni
    0x0e, 1, 5, // active_connection_id_limit
    0x0f, 8, 1, 2, 3, 4, 5, 6, 7, 8, // initial_source_connection_id
    0x6a, 0xb2, 0, // grease_quic_bit (RFC 9287)
    0xc0, 0, 0, 0, 0xff, 0x04, 0xde, 0x1b, 2, 0x43, 0xe8, // min_ack_delay
];

/// Those that only servers have.
const SERVER_PARAMETERS: [u8; 40] = [
    0x00, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    20, // original id
    0x02, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, // stateless_reset_token
];

/// Carries all that `from` has to say to `to`, and gives its length.
pub(crate) fn relay(from: &mut dyn Session, to: &mut dyn Session) -> usize {
    let mut none = Damaged {
        place: usize::MAX,
        at: 0,
        flip: 0,
    };
    none.relay(from, to).expect("the handshake goes on")
}

/// Changes one byte of the message after the next `place`.
pub(crate) struct Damaged {
    pub(crate) place: usize,
    pub(crate) at: usize,
    pub(crate) flip: u8,
}

impl Damaged {
    pub(crate) fn relay(
        &mut self,
        from: &mut dyn Session,
        to: &mut dyn Session,
    ) -> Result<usize, TransportError> {
        let mut carried = 0;
        for mut message in messages(from) {
            if carried > 0 {
                // Keys are taken between two messages, as quinn-proto does between two packets.
                to.write_handshake(&mut Vec::new());
            }
            if self.place == 0 {
                message[self.at] ^= self.flip;
            }
            self.place = self.place.wrapping_sub(1);
            to.read_handshake(&message)?;
            carried += message.len();
        }
        Ok(carried)
    }
}

/// All that a session has to say.
fn messages(session: &mut dyn Session) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    loop {
        let mut message = Vec::new();
        let keys = session.write_handshake(&mut message);
        if message.is_empty() && keys.is_none() {
            return messages;
        }
        if !message.is_empty() {
            messages.push(message);
        }
    }
}
