//! One connection of an attacker.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use quinn_proto::{Connection, ConnectionError, ConnectionHandle, Dir, Event, Side, StreamId};

use super::wire::{self, Heard};

/// The exporter label and the length of check values, and the length of contexts.
const CHECK_LABEL: &[u8] = b"EXPORTER-quicpool-check";
const CHECK_LEN: usize = 8;
const CONTEXT_LEN: usize = 36;

/// A connection, and what was done on it.
pub struct Link {
    pub(super) handle: ConnectionHandle,
    pub connection: Connection,
    /// Our control stream and that of line 0, once the handshake is done.
    streams: Option<[StreamId; 2]>,
    /// Since when it is connected.
    pub connected: Option<Instant>,
    pub lost: Option<ConnectionError>,
    pub heard: Heard,
    /// Bytes on the stream of line 0.
    pub written: usize,
    pub is_greeted: bool,
}

impl Link {
    pub(super) fn new(handle: ConnectionHandle, connection: Connection) -> Self {
        Self {
            handle,
            connection,
            streams: None,
            connected: None,
            lost: None,
            heard: Heard::default(),
            written: 0,
            is_greeted: false,
        }
    }

    /// Whether the handshake is done and the connection has not ended.
    pub fn is_connected(&self) -> bool {
        self.streams.is_some() && self.lost.is_none()
    }

    /// Writes hello and LINES, of a process that has just begun.
    pub fn greet(&mut self, started_ms: u64) -> Result<[u8; 16]> {
        let half = random()?;
        let mut incarnation: [u8; 16] = random()?;
        incarnation[..8].copy_from_slice(&started_ms.to_be_bytes());
        let mut check = [0; CHECK_LEN];
        self.export(CHECK_LABEL, &mut check)?;
        let greeting = wire::greeting(&half, &incarnation, &check);
        let written = self.write_control(&Bytes::from(greeting.clone()));
        ensure!(written == greeting.len(), "the greeting has no room");
        self.is_greeted = true;
        Ok(half)
    }

    /// What both ends export for what the dialler seals, without a mesh key.
    pub fn export(&self, label: &[u8], out: &mut [u8]) -> Result<()> {
        let mut context = [0; CONTEXT_LEN];
        context[1] = 1;
        let session = self.connection.crypto_session();
        let exported = session.export_keying_material(out, label, &context);
        ensure!(exported.is_ok(), "the handshake is not done");
        Ok(())
    }

    /// Writes on the control stream; how much of it had room.
    pub fn write_control(&mut self, bytes: &Bytes) -> usize {
        self.write(0, bytes)
    }

    /// Writes on the stream of line 0; how much of it had room.
    pub fn write_data(&mut self, bytes: &Bytes) -> usize {
        let written = self.write(1, bytes);
        self.written += written;
        written
    }

    fn write(&mut self, stream: usize, bytes: &Bytes) -> usize {
        let Some(streams) = self.streams else {
            return 0;
        };
        let mut stream = self.connection.send_stream(streams[stream]);
        let written = stream.write_chunks(&mut [bytes.clone()]);
        written.map_or(0, |written| written.bytes)
    }

    /// Fires its timer, and reads its events and what it has heard.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now);
        }
        let mut has_news = false;
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => {
                    let mut streams = self.connection.streams();
                    let opened = [streams.open(Dir::Uni), streams.open(Dir::Uni)];
                    if let [Some(control), Some(data)] = opened {
                        self.streams = Some([control, data]);
                    }
                    self.connected = Some(now);
                }
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(_) => has_news = true,
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {
                }
            }
        }
        if has_news {
            self.read_control();
        }
    }

    /// Reads the other end's control stream, which is its first one, and drops its data.
    fn read_control(&mut self) {
        let control = StreamId::new(Side::Server, Dir::Uni, 0);
        let mut bytes = Vec::new();
        read(&mut self.connection, control, |chunk| {
            bytes.extend_from_slice(chunk)
        });
        self.heard.read(&bytes);
        let data = StreamId::new(Side::Server, Dir::Uni, 1);
        read(&mut self.connection, data, |_| {});
    }
}

/// Reads all of a stream that is there.
fn read(connection: &mut Connection, id: StreamId, mut each: impl FnMut(&[u8])) {
    // A stream that the other end has not begun cannot be read.
    let mut stream = connection.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else {
        return;
    };
    while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
        each(&chunk.bytes);
    }
    let _ = chunks.finalize();
}

/// Random bytes of the system.
pub fn random<const LEN: usize>() -> Result<[u8; LEN]> {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; LEN];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.ok().context("the system has no randomness")?;
    Ok(bytes)
}
