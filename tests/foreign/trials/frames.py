"""Control frames behind the greeting, streams, and what the node sends so that others stay able to skip."""

from aioquic.quic.packet import QuicErrorCode

from harness import echo, refused, stays, trial
from peer import codec
from peer.codes import Code
from peer.codec import is_grease, varints
from peer.flow import LINE_HEADER
from peer.link import greeting
from peer.records import Record, encode
from peer.sealing import LineCipher

MIB = 1 << 20
ACK = codec.ACK


def open_stream(link, data: bytes, is_end: bool = False) -> int:
    """Opens a stream of our own with some bytes."""
    stream_id = link._quic.get_next_available_stream_id(is_unidirectional=True)
    link._quic.send_stream_data(stream_id, data, end_stream=is_end)
    link.transmit()
    return stream_id


@trial("frames: unknown ones are skipped at any time")
async def unknown_frames(t):
    node, peer, link = await t.connected()
    for kind in (0x00, 0x04, 0x07, 0x20, 0x21, 0x21 + 0x1F * 9, 0x3FFF, codec.VARINT_MAX):
        for size in (0, 1, 4_096):
            link.send_control(codec.frame(kind, bytes(size)))
    await echo(peer, node)
    # One that arrives byte by byte.
    for byte in codec.frame(0x40, b"slowly"):
        link.send_control(bytes([byte]))
    await echo(peer, node, b"again")


# A hello that can be read.
SECOND_HELLO = codec.parameters(
    [(1, bytes(16)), (6, 300_000), (7, bytes(16)), (10, 100), (14, 100), (16, 90), (18, 100)]
)


def refuses_frame(name: str, code: Code, data: bytes):
    @trial(f"frames: {name}, {code.name}")
    async def run(t):
        node, peer, link = await t.connected()
        await echo(peer, node)
        link.send_control(data)
        await refused(link, code)
        # The session goes on.
        assert (await peer.connect(node.address)).is_confirmed
        await echo(peer, node, b"again")


refuses_frame("a second hello", Code.UNEXPECTED_HELLO, codec.frame(codec.HELLO, SECOND_HELLO))
refuses_frame("a length of 4,097", Code.FRAME_TOO_LONG, varints(0x40, 4_097))
refuses_frame("an empty ACK", Code.MALFORMED_FRAME, codec.frame(ACK, b""))
refuses_frame("an ACK that is cut off", Code.MALFORMED_FRAME, codec.frame(ACK, varints(0, 0, 0, 1, 1)))
refuses_frame("an ACK of line 1", Code.BAD_LINE, codec.frame(ACK, varints(0, 0, 1, 0, 0, 0)))
refuses_frame("an ACK with line 0 twice", Code.BAD_LINE, codec.frame(ACK, varints(0, 0, *(0, 1, 1, 9) * 2)))
refuses_frame(
    "an ACK of what was never sent", Code.BAD_ACKNOWLEDGEMENT, codec.frame(ACK, varints(0, 0, 0, 2, 0, 0))
)
refuses_frame(
    "an ACK with taken above received", Code.BAD_ACKNOWLEDGEMENT, codec.frame(ACK, varints(0, 0, 0, 0, 1, 0))
)
refuses_frame("a LINES that is cut off", Code.MALFORMED_FRAME, codec.frame(codec.LINES, varints(0, 1)))
refuses_frame(
    "a later LINES with line 1", Code.BAD_LINE, codec.frame(codec.LINES, varints(0, 2, 1, 1, 0, 0, 9, 0, 0, 0))
)


@trial("frames: smaller and missing numbers change nothing")
async def old_numbers(t):
    node, peer, link = await t.connected()
    for message in (b"one", b"two", b"three"):
        await echo(peer, node, message)
    for body in (varints(0, 0), varints(0, 0, 0, 0, 0, 0), varints(0, 0, 0, 2, 1, 5)):
        link.send_control(codec.frame(ACK, body))
    await echo(peer, node, b"four")
    await node.delivered(peer, 3)


@trial("streams: unknown ones are dropped: ended, reset, long, left open", 25)
async def unknown_streams(t):
    node, peer, link = await t.connected(credit=MIB)
    await echo(peer, node)
    for round_ in range(12):
        open_stream(link, codec.varint(0x21 + 0x1F * round_) + bytes(100), is_end=True)
        reset(link, open_stream(link, codec.varint(0x02) + bytes(10_000)))
        link.transmit()
        await echo(peer, node, b"round %d" % round_)
    # Streams that end before their headers are whole.
    open_stream(link, b"", is_end=True)
    open_stream(link, b"\x80\x00", is_end=True)
    open_stream(link, varints(1), is_end=True)
    reset(link, open_stream(link, varints(1) + b"\x40"))
    await echo(peer, node)
    open_stream(link, codec.varint(0x1F) + bytes(3 * MIB), is_end=True)
    open_stream(link, codec.varint(0x03))
    await echo(peer, node, bytes(100_000), 12)
    await stays(link)


@trial("streams: a header in pieces, and in a long form")
async def header_in_pieces(t):
    node, peer, link = await t.connected()
    link._line_out_id = open_stream(link, b"\x40")
    link.line_out.write(b"")
    link._quic.send_stream_data(link._line_out_id, b"\x01")
    link.transmit()
    await link.ping()
    link._quic.send_stream_data(link._line_out_id, b"\x80\x00\x00\x00")
    link.line_out.written = 6
    link.transmit()
    await echo(peer, node)


def refuses_stream(name: str, code: Code, write):
    @trial(f"streams: {name}, {code.name}")
    async def run(t):
        node, peer, link = await t.connected()
        await echo(peer, node)
        write(link)
        link.transmit()
        await refused(link, code)
        assert (await peer.connect(node.address)).is_confirmed
        await echo(peer, node, b"again")


def end(link, stream_id: int):
    link.habits.acks = False
    link._quic.send_stream_data(stream_id, b"", end_stream=True)


def reset(link, stream_id: int):
    # Nothing may be written on a stream that was reset.
    link.habits.acks = link.habits.acks and stream_id != link.control_out
    link._quic.reset_stream(stream_id, 7)


refuses_stream("a second one of line 0", Code.BAD_LINE, lambda link: open_stream(link, LINE_HEADER))
refuses_stream("one of line 1", Code.BAD_LINE, lambda link: open_stream(link, varints(1, 1)))
refuses_stream(
    "one of the last line", Code.BAD_LINE, lambda link: open_stream(link, varints(1, codec.VARINT_MAX))
)
refuses_stream("line 0 ends", Code.UNEXPECTED_STREAM, lambda link: end(link, link.line_out_id))
refuses_stream("the control stream ends", Code.UNEXPECTED_STREAM, lambda link: end(link, link.control_out))
refuses_stream("line 0 is reset", Code.UNEXPECTED_STREAM, lambda link: reset(link, link.line_out_id))
refuses_stream(
    "the control stream is reset", Code.UNEXPECTED_STREAM, lambda link: reset(link, link.control_out)
)


@trial("streams: line 0 before the greeting is accepted waits for it")
async def line_before_greeting(t):
    node = await t.node("--mode", "sink")
    peer = t.peer(greeting=lambda link: b"")
    link = await peer.dial(node.address)
    assert await peer.until(lambda: link.keys), "no handshake"
    whole = greeting(link)
    cipher = LineCipher(link.keys.seal, link.own_half, 6)
    link.send_control(codec.frame(0x21, b"opens stream 2"))
    open_stream(link, LINE_HEADER + encode(Record(0, [bytes(8)]), cipher))
    await link.ping()
    link.send_control(whole)
    peer.session(node.id).own.accept(bytes(8))
    await node.received(peer, 1)


@trial("streams: a bidirectional one is STREAM_LIMIT_ERROR")
async def bidirectional(t):
    node, peer, link = await t.connected()
    stream_id = link._quic.get_next_available_stream_id()
    link._quic._remote_max_streams_bidi = 1
    link._quic._remote_max_stream_data_bidi_remote = 100
    link._quic.send_stream_data(stream_id, b"x")
    link.transmit()
    await peer.until(lambda: link.closed, 4)
    assert link.closed and link.closed.code == QuicErrorCode.STREAM_LIMIT_ERROR, link.closed


@trial("streams: the node allows 2 at first, and 8 once it knows us")
async def stream_limits(t):
    node, peer, link = await t.connected()
    assert link.first_streams == 2, link.first_streams
    assert await peer.until(lambda: link._quic._remote_max_streams_uni == 8, 3), (
        link._quic._remote_max_streams_uni
    )


@trial("streams: fewer than 2 for the node, VERSION_MISMATCH")
async def too_few_streams(t):
    node, peer = await t.node(), t.peer(streams=1)
    link = await peer.dial(node.address)
    await refused(link, Code.VERSION_MISMATCH)


@trial("grease: the node sends reserved frames, keys and streams", 30)
async def grease(t):
    node, seen, links = await t.node(), [], 0
    while links < 64 or (not seen and links < 320):
        peer = t.peer()
        link = await peer.connect(node.address)
        links += 1
        assert link.is_confirmed, link.closed
        await echo(peer, node)
        kinds = [kind for kind, _ in link.skipped]
        keys = [key for key in link.hello if is_grease(key, 27)]
        assert len(kinds) == 1 and is_grease(kinds[0]), f"frames {kinds}"
        assert len(keys) == 1, f"keys {sorted(link.hello)}"
        unknown = [stream for stream in link.streams.values() if stream is not link.line_stream]
        assert len(unknown) <= 1 and all(is_grease(one.kind) for one in unknown), unknown
        seen += [f"{one.kind:#x} of {one.dropped} B" for one in unknown]
        link.close_with(Code.GOODBYE)
    assert seen, f"no reserved stream on {links} connections"
    t.remark(f"{len(seen)} reserved streams on {links} connections")
