"""One connection to another peer: greeting, frames, the streams of line 0, datagrams, close."""

import asyncio
import hmac
import time

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events

from . import codec, identity, records
from .codes import Code, Refused, name_of
from .flow import LINE, LineIn, LineOut, StreamIn
from .quic import CONNECTION_CLOSE_APPLICATION, allow_streams
from .sealing import DatagramOpener, DatagramSealer, Keys, LineCipher

HANDSHAKE_TIMEOUT = 5.0
ACK_DELAY = 0.004
ACK_BYTES = 128 * 1024


class Closed:
    """How a connection ended: `by` is us, them, quic (an error of the transport) or cut."""

    def __init__(self, by: str, code: int | None, reason: bytes = b"", text: str = ""):
        self.by, self.code, self.reason, self.text = by, code, reason, text

    def __repr__(self) -> str:
        name = name_of(self.code) if self.by in ("us", "them") else self.text
        return f"{self.by}: {name} {self.reason.hex()}".strip()


class Link(QuicConnectionProtocol):
    """A connection of `peer`; `expected` is the PeerId that was dialled."""

    def __init__(self, quic, peer, expected: bytes | None = None, dial: int = 0):
        super().__init__(quic)
        self.peer, self.habits, self.expected, self.dial = peer, peer.habits, expected, dial
        self.is_dialler = quic._is_client
        allow_streams(quic, self.habits.streams)
        self.session = self.keys = None
        self.other_id: bytes | None = None
        self.was_resumed = False
        self.hello: dict | None = None
        self.lines: codec.Lines | None = None
        self.frames = codec.Frames()
        self.skipped: list[tuple[int, bytes]] = []
        self.acks: list[codec.Ack] = []
        self.later_lines: list[codec.Lines] = []
        # Frames that wait until the other process with the same identity is known to be gone.
        self.is_waiting = False
        self.backlog: list[tuple[int, bytes]] = []
        self.control_in: int | None = None
        self.streams: dict[int, StreamIn] = {}
        self.line_stream: StreamIn | None = None
        self.line_in = LineIn(self.habits)
        self.line_out: LineOut | None = None
        self.cipher_out: LineCipher | None = None
        self._line_out_id: int | None = None
        self.sealer: DatagramSealer | None = None
        self.opener: DatagramOpener | None = None
        self.cursor = 0
        self.is_confirmed = False
        self.closed: Closed | None = None
        self.ack_timer = None
        self.read_since_ack = 0
        self.first_streams: int | None = None
        # The peer that our ticket was given to with which this connection was resumed.
        self.ticket_of: bytes | None = None
        self.settled = asyncio.get_running_loop().create_future()

    # Events of QUIC

    def datagram_received(self, data, addr):
        # aioquic does not look for stateless resets (RFC 9000 section 10.3).
        token = self._quic._peer_cid.stateless_reset_token
        if token and len(data) >= 21 and hmac.compare_digest(data[-16:], token):
            self.cut(Closed("quic", None, text="stateless reset"))
            return
        super().datagram_received(data, addr)
        # aioquic reports a close of the other end only when it has done with the connection.
        if self._quic.close_type is not None and not self.closed:
            self._terminated()

    def quic_event_received(self, event):
        if self.closed and not isinstance(event, events.ConnectionTerminated):
            return
        try:
            self._handle(event)
        except Refused as refused:
            self.peer.log(self, f"refused: {refused}")
            self.close_with(refused.code)
        except Exception as error:
            self.peer.errors.append(error)
            self.cut()

    def _handle(self, event):
        if isinstance(event, events.HandshakeCompleted):
            self._handshake_done(event)
        elif isinstance(event, events.StreamDataReceived):
            self._stream_data(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, events.StreamReset):
            self._stream_data(event.stream_id, b"", True)
        elif isinstance(event, events.DatagramFrameReceived):
            self._datagram(event.data)
        elif isinstance(event, events.ConnectionTerminated):
            self._terminated(event.error_code, event.reason_phrase)

    def _handshake_done(self, event):
        self.was_resumed = event.session_resumed
        self.first_streams = self._quic._remote_max_streams_uni
        self.other_id = self.certified_id()
        if self.other_id is None:
            raise Refused(Code.NOT_ACCEPTED, "no Ed25519 key")
        if self.other_id == self.peer.identity.peer_id and not self.habits.meets_itself:
            raise Refused(Code.NOT_ACCEPTED, "our own identity")
        if self.expected and self.other_id != self.expected:
            raise Refused(Code.WRONG_PEER)
        self.session = self.peer.session(self.other_id)
        self.own_half = self.session.own.id
        self.keys = Keys(self._quic.tls.export, self.habits.mesh_key, self.is_dialler)
        self.sealer = DatagramSealer(self.keys.datagram_out)
        self.opener = DatagramOpener(self.keys.datagram_in)
        self.control_out = self._quic.get_next_available_stream_id(is_unidirectional=True)
        build = self.habits.greeting or greeting
        self.send_control(build(self))
        asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT, self._greeting_is_late)

    def certified_id(self) -> bytes | None:
        """Computes the PeerId of the other end, or takes that of the handshake that made the ticket."""
        certificate = self._quic.tls._peer_certificate
        if certificate is None:
            return self.expected if self.is_dialler else self.ticket_of
        try:
            return identity.peer_id_of(certificate)
        except ValueError:
            return None

    def _greeting_is_late(self):
        if self.lines is None and not self.closed:
            self.close_with(Code.HANDSHAKE_TIMEOUT)

    # Streams

    def _stream_data(self, stream_id: int, data: bytes, is_end: bool):
        if stream_id % 4 == (3 if self.is_dialler else 2) and stream_id < 4:
            self.control_in = stream_id
            for kind, body in self.frames.feed(data):
                self._frame(kind, body)
            if is_end:
                raise Refused(Code.UNEXPECTED_STREAM, "the control stream has ended")
            return
        stream = self.streams.setdefault(stream_id, StreamIn(stream_id))
        stream.add(data, is_end)
        if self.is_confirmed:
            self._read(stream)

    def _read(self, stream: StreamIn):
        if not stream.is_opened:
            stream.open()
            if stream.index is not None:
                if stream.index or self.line_stream is not None:
                    raise Refused(Code.BAD_LINE, f"a stream of line {stream.index}")
                self._open_line(stream)
        if stream.is_finished and not stream.is_opened:
            return
        if stream.kind == LINE:
            self._read_line(stream)
            if stream.is_finished:
                raise Refused(Code.UNEXPECTED_STREAM, "the stream of line 0 has ended")
        elif stream.is_opened:
            stream.drop()

    def _open_line(self, stream: StreamIn):
        cipher = None
        if self.habits.sealing:
            cipher = LineCipher(self.keys.open, self.hello[codec.HALF], stream.stream_id)
        stream.records = records.Records(cipher, self.habits.body_bytes_max, self.habits.message_max)
        self.line_stream = stream

    def _read_line(self, stream: StreamIn):
        size = stream.uncounted()
        self.line_in.count(size)
        self.read_since_ack += size
        if stream.records:
            data, stream.waiting = stream.waiting, b""
            for record in stream.records.feed(data):
                self.session.on_record(self, record)
        self.after_reading()

    def after_reading(self):
        """Grants what can be granted, and plans an acknowledgement."""
        self.line_in.grant(self.session.waiting_bytes)
        if self.line_in.is_urgent and self.line_in.is_due:
            self.acknowledge()
        elif self.line_in.is_due or self.session.has_moved(self):
            self.plan_ack()

    # Frames

    def send_control(self, data: bytes):
        if data and not self.closed:
            self._quic.send_stream_data(self.control_out, data)
            self.transmit()

    def _frame(self, kind: int, body: bytes):
        if self.is_waiting:
            self.backlog.append((kind, body))
        elif kind not in (codec.HELLO, codec.LINES, codec.ACK):
            self.skipped.append((kind, body))
        elif self.hello is None or kind == codec.HELLO:
            self._hello(kind, body)
        elif self.lines is None:
            if kind != codec.LINES:
                raise Refused(Code.UNEXPECTED_HELLO, "no LINES after hello")
            lines = codec.read_lines(body)
            if lines.seen and codec.KNOWN not in self.hello:
                raise Refused(Code.BAD_LINE, "lines seen of no half")
            self.lines = lines
            self.session.on_greeting(self)
        elif kind == codec.LINES:
            self._later_lines(codec.read_lines(body))
        else:
            self._ack(codec.read_ack(body))

    def _hello(self, kind: int, body: bytes):
        if self.hello is not None or kind != codec.HELLO:
            raise Refused(Code.UNEXPECTED_HELLO)
        self.hello = codec.read_hello(body)
        if self.habits.on_hello:
            self.habits.on_hello(self)
        theirs = self.hello.get(codec.CHECK)
        if (theirs is not None) != self.habits.sealing:
            raise Refused(Code.SEALING_MISMATCH, "one end seals and the other does not")
        if theirs is not None and not hmac.compare_digest(theirs, self.keys.other_check):
            raise Refused(Code.SEALING_MISMATCH, "another check value")

    def _ack(self, ack: codec.Ack):
        if ack.line:
            self.session.own.check(ack.line)
            self.session.acknowledged(self, ack.line)
        self.acks.append(ack)
        self.session.other_held = ack.held
        self.line_out.raise_to(ack.line.credit if ack.line else 0, ack.passage)
        self.session.pump()

    def _later_lines(self, lines: codec.Lines):
        self.later_lines.append(lines)
        self._ack(codec.Ack(lines.held, lines.passage, lines.live))

    def resume(self):
        """Reads what has waited, once the greeting is accepted after all."""
        self.is_waiting = False
        backlog, self.backlog = self.backlog, []
        for kind, body in backlog:
            self._frame(kind, body)

    def confirm(self):
        """Takes the connection into use."""
        hello = self.hello
        self.line_out = LineOut(self._send_line, hello[codec.CREDIT], hello[codec.PASSAGE])
        live = self.lines.live
        self.line_out.raise_to(live.credit if live else 0, self.lines.passage)
        self.is_confirmed = True
        self.peer.log(self, "confirmed")
        self.cursor = self.session.own.start

    def read_waiting_streams(self):
        for stream in list(self.streams.values()):
            self._read(stream)

    # Records

    def _send_line(self, data: bytes):
        self._quic.send_stream_data(self.line_out_id, data)

    @property
    def line_out_id(self) -> int:
        """The stream of our line 0, opened at the first use."""
        if self._line_out_id is None:
            self._line_out_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
        return self._line_out_id

    def write_record(self, record: records.Record):
        """Seals and writes a record, as far as credit goes."""
        if self.habits.sealing and self.cipher_out is None:
            stream_id = self.line_out_id
            self.cipher_out = LineCipher(self.keys.seal, self.own_half, stream_id)
        self.line_out.write(records.encode(record, self.cipher_out))

    # Acknowledgements

    def ack_body(self, is_final: bool = False) -> codec.Ack:
        received, taken = self.session.numbers(self)
        credit, passage = (0, 0) if is_final else (self.line_in.credit, self.line_in.passage)
        line = codec.Numbers(received, taken, credit)
        return codec.Ack(self.session.own.held_bytes, passage, line)

    def plan_ack(self):
        if self.read_since_ack >= ACK_BYTES:
            self.acknowledge()
        elif self.ack_timer is None:
            loop = asyncio.get_running_loop()
            self.ack_timer = loop.call_later(ACK_DELAY, self.acknowledge)

    def acknowledge(self):
        if self.ack_timer:
            self.ack_timer.cancel()
        self.ack_timer = None
        self.read_since_ack = 0
        if not self.habits.acks or self.closed or not self.is_confirmed:
            return
        self.line_in.state()
        self.session.stated(self)
        self.send_control(codec.frame(codec.ACK, self.ack_body().encode()))

    # Datagrams

    def send_datagram(self, payload: bytes, flow: int = 0):
        plain = codec.varint(flow) + payload
        if self.habits.sealing:
            plain = self.sealer.seal(plain)
        self.send_raw_datagram(plain)

    def send_raw_datagram(self, data: bytes):
        self._quic.send_datagram_frame(data)
        self.transmit()

    def _datagram(self, data: bytes):
        if not self.is_confirmed:
            return
        if self.habits.sealing:
            data = self.opener.open(data)
        if not data:
            return
        reader = codec.Reader(data)
        try:
            flow = reader.varint()
        except codec.Short:
            return
        if flow == 0:
            self.peer.datagrams.append((self.other_id, bytes(data[reader.at :])))
            self.peer.wake()

    # The end

    def close_with(self, code: int, reason: bytes | None = None):
        """Closes with a code, and a final acknowledgement if the code has one."""
        if self.closed:
            return
        if reason is None:
            is_deliberate = code <= Code.REPLACED and self.is_confirmed and self.habits.acks
            reason = self.ack_body(is_final=True).encode() if is_deliberate else b""
        self._quic.close_with(int(code), reason)
        self._ended(Closed("us", int(code), reason))
        self.transmit()

    def cut(self, closed: Closed | None = None):
        """Drops the connection as if the path had gone: nothing goes out, and nothing comes in."""
        if self._timer:
            self._timer.cancel()
            self._timer = self._timer_at = None
        self._quic.datagrams_to_send = lambda now: []
        self._quic.receive_datagram = lambda *_, **__: None
        self._quic.get_timer = lambda: None
        self._ended(closed or Closed("cut", None, text="cut"))

    def _terminated(self, code: int | None = None, text: str = ""):
        quic = self._quic
        if quic.close_type is None:
            closed = Closed("quic", code, text=f"{code:#x} {text}")
        elif quic.close_type == CONNECTION_CLOSE_APPLICATION:
            closed = Closed("them", quic.close_code, quic.close_reason)
        else:
            closed = Closed("quic", quic.close_code, text=f"transport error {quic.close_code:#x}")
        self._ended(closed)

    def _ended(self, closed: Closed):
        if self.closed:
            return
        self.closed = closed
        self.closed_at = time.monotonic()
        if self.ack_timer:
            self.ack_timer.cancel()
        self.peer.log(self, f"closed by {closed}")
        if self.session:
            self.session.on_closed(self)
        self.settle()
        self.peer.wake()

    def settle(self):
        """Reports that the connection is confirmed, or has ended before."""
        if not self.settled.done():
            self.settled.set_result(self.is_confirmed)


def hello_pairs(link: Link) -> list[tuple]:
    """Lists the parameters of hello in ascending order of their keys."""
    session, habits = link.session, link.habits
    pairs = [(codec.INCARNATION, session.own_incarnation())]
    if link.is_dialler:
        pairs.append((codec.DIAL, link.dial))
    if habits.sealing:
        pairs.append((codec.CHECK, link.keys.my_check))
    pairs += [(codec.CAN_DIAL, int(session.address is not None)), (codec.TIMEOUT, habits.timeout_ms)]
    pairs.append((codec.HALF, session.own.id))
    if session.other and session.other.is_known:
        pairs.append((codec.KNOWN, session.other.id))
    pairs += [(codec.PASSAGE, link.line_in.passage), (codec.BODY_MAX, habits.body_bytes_max)]
    pairs += [(codec.MESSAGE_MAX, habits.message_max), (codec.CREDIT, link.line_in.credit)]
    return habits.edit_hello(pairs) if habits.edit_hello else pairs


def lines_body(link: Link) -> codec.Lines:
    """Builds LINES for the greeting."""
    own, other = link.session.own, link.session.other
    live, seen = None, 0
    if other and other.is_known:
        live, seen = codec.Numbers(other.received, other.taken, link.line_in.credit), 1
    return codec.Lines(own.held_bytes, own.first, link.line_in.passage, seen, live)


def greeting(link: Link) -> bytes:
    """Builds hello and LINES."""
    habits = link.habits
    hello = codec.frame(codec.HELLO, codec.parameters(hello_pairs(link)))
    lines = codec.frame(codec.LINES, lines_body(link).encode())
    return habits.before_hello + hello + habits.after_hello + lines
