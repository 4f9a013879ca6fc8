"""Encodes and decodes what stands on control streams: varints, frames, hello, LINES and ACK."""

from dataclasses import dataclass, field

from .codes import Code, Refused

HELLO, LINES, ACK = 1, 2, 3
FRAME_BYTES_MAX = 4096
VARINT_MAX = (1 << 62) - 1

# Keys of hello.
INCARNATION, DIAL, CHECK, CAN_DIAL, TIMEOUT, HALF, KNOWN = 1, 2, 3, 4, 6, 7, 9
PASSAGE, BODY_MAX, MESSAGE_MAX, CREDIT = 10, 14, 16, 18
LENGTHS = {INCARNATION: 16, CHECK: 8, HALF: 16, KNOWN: 16}
REQUIRED = (INCARNATION, TIMEOUT, HALF, PASSAGE, BODY_MAX, MESSAGE_MAX, CREDIT)


def is_grease(number: int, first: int = 0x21) -> bool:
    """Whether a number is reserved: `first + 0x1f * n`. The first key of hello is 27."""
    return number >= first and (number - first) % 0x1F == 0


class Short(Exception):
    """The bytes end before the value does."""


class Reader:
    """Reads values one after the other from bytes."""

    def __init__(self, data: bytes, at: int = 0):
        self.data, self.at = data, at

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Short
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        head = self.take(1)[0]
        rest = self.take((1 << (head >> 6)) - 1)
        return int.from_bytes(bytes([head & 0x3F]) + rest, "big")

    def varints(self, count: int) -> list[int]:
        return [self.varint() for _ in range(count)]


def varint(value: int, size: int = 0) -> bytes:
    """Encodes in the shortest form, or in `size` bytes."""
    for log in range(4):
        bytes_ = 1 << log
        if value < 1 << (8 * bytes_ - 2) and bytes_ >= size:
            return (value | log << (8 * bytes_ - 2)).to_bytes(bytes_, "big")
    raise ValueError(f"{value} has no varint")


def varints(*values: int) -> bytes:
    return b"".join(varint(value) for value in values)


def frame(kind: int, body: bytes) -> bytes:
    return varints(kind, len(body)) + body


class Frames:
    """Splits a control stream into frames."""

    def __init__(self):
        self.rest = b""

    def feed(self, data: bytes):
        """Yields the kind and body of each frame that is complete."""
        self.rest += data
        while True:
            reader = Reader(self.rest)
            try:
                kind, length = reader.varint(), reader.varint()
                if length > FRAME_BYTES_MAX:
                    raise Refused(Code.FRAME_TOO_LONG, f"{length} bytes")
                body = reader.take(length)
            except Short:
                return
            self.rest = self.rest[reader.at :]
            yield kind, body


def parameters(pairs) -> bytes:
    """Encodes keys with their values, in the order given: numbers for even keys, bytes for odd ones."""
    out = b""
    for key, value in pairs:
        out += varint(key) + (varint(len(value)) + value if key % 2 else varint(value))
    return out


def read_parameters(body: bytes, code: Code = Code.MALFORMED_FRAME) -> dict:
    """Decodes parameters, whose keys ascend."""
    reader, found, last = Reader(body), {}, -1
    try:
        while reader:
            key = reader.varint()
            if key <= last:
                raise Refused(code, f"key {key} after {last}")
            found[key] = reader.take(reader.varint()) if key % 2 else reader.varint()
            last = key
    except Short:
        raise Refused(code, "a parameter is cut off") from None
    return found


def read_hello(body: bytes) -> dict:
    """Decodes a hello: known and unknown parameters by their keys."""
    hello = read_parameters(body)
    for key, length in LENGTHS.items():
        if key in hello and len(hello[key]) != length:
            raise Refused(Code.MALFORMED_FRAME, f"key {key} has {len(hello[key])} bytes")
    for key in REQUIRED:
        if key not in hello:
            raise Refused(Code.MALFORMED_FRAME, f"no key {key}")
    if hello.get(CAN_DIAL, 0) > 1:
        raise Refused(Code.MALFORMED_FRAME, "key 4 is neither 0 nor 1")
    return hello


@dataclass
class Numbers:
    """How far one end has come with a line of the other: an entry of ACK, or a live line of LINES."""

    received: int
    taken: int
    credit: int
    index: int = 0

    def check(self):
        if self.taken > self.received:
            raise Refused(Code.BAD_ACKNOWLEDGEMENT, "taken above received")


@dataclass
class Lines:
    """The body of LINES."""

    held: int
    first: int
    passage: int
    seen: int = 0
    live: Numbers | None = None
    next: int = 1
    unseen: list[int] = field(default_factory=list)

    def encode(self) -> bytes:
        out = varints(self.held, self.next, 1, 0, self.first, 0)
        out += varints(self.passage, self.seen, len(self.unseen), *self.unseen)
        if self.live is None:
            return out + varint(0)
        live = self.live
        return out + varints(1, live.index, live.received, live.taken, live.credit, 0)


def read_lines(body: bytes) -> Lines:
    reader = Reader(body)
    try:
        held, next_ = reader.varints(2)
        opened = [reader.varints(3) for _ in range(reader.varint())]
        passage, seen = reader.varints(2)
        unseen = reader.varints(reader.varint())
        live = [reader.varints(5) for _ in range(reader.varint())]
    except Short:
        raise Refused(Code.MALFORMED_FRAME, "LINES is cut off") from None
    if reader:
        raise Refused(Code.MALFORMED_FRAME, "bytes after LINES")
    if [line[0] for line in opened] != [0] or opened[0][2] & 1 or next_ < 1:
        raise Refused(Code.BAD_LINE, f"open lines {opened} below {next_}")
    if unseen or seen > 1 or [line[0] for line in live] not in ([], [0]) or len(live) > seen:
        raise Refused(Code.BAD_LINE, f"unseen {unseen}, live {live} below {seen}")
    if live and live[0][4] & 1:
        raise Refused(Code.BAD_LINE, "line 0 has ended")
    numbers = Numbers(*live[0][1:4]) if live else None
    if numbers:
        numbers.check()
    return Lines(held, opened[0][1], passage, seen, numbers, next_, unseen)


@dataclass
class Ack:
    """The body of ACK, which is the reason of a deliberate close, too."""

    held: int
    passage: int
    line: Numbers | None = None

    def encode(self) -> bytes:
        out = varints(self.held, self.passage)
        if self.line:
            line = self.line
            out += varints(line.index, line.received, line.taken, line.credit)
        return out


def read_ack(body: bytes) -> Ack:
    reader, lines = Reader(body), []
    try:
        held, passage = reader.varints(2)
        while reader:
            lines.append(reader.varints(4))
    except Short:
        raise Refused(Code.MALFORMED_FRAME, "ACK is cut off") from None
    if [line[0] for line in lines] not in ([], [0]):
        raise Refused(Code.BAD_LINE, f"lines {lines}")
    if not lines:
        return Ack(held, passage)
    numbers = Numbers(*lines[0][1:])
    numbers.check()
    return Ack(held, passage, numbers)
