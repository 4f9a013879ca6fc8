"""Writes and reads records (section 6 of the document)."""

import struct
from dataclasses import dataclass

from .codec import VARINT_MAX, Reader, Short, parameters, read_parameters, varint
from .codes import Code, Refused
from .sealing import TAG, LineCipher

PLAIN, HEADED = 0, 1
VOID_KIND = 3
# What stands for a number without a message.
VOID = None
HEADER = struct.Struct(">IB3sQ")


@dataclass
class Record:
    first: int
    entries: list[bytes | None]
    kind: int = PLAIN
    age: int = 0


def entry(message: bytes | None, kind: int) -> bytes:
    """Encodes one entry of a record's body."""
    if kind == PLAIN:
        return varint(len(message)) + message
    if message is VOID:
        return varint(1) + varint(VOID_KIND) + varint(0)
    return varint(0) + varint(len(message)) + message


def header(length: int, kind: int, count: int, first: int, age: int = 0) -> bytes:
    fixed = HEADER.pack(length, kind, count.to_bytes(3, "big"), first)
    return fixed + age.to_bytes(4, "big") if kind == HEADED else fixed


def encode(record: Record, cipher: LineCipher | None) -> bytes:
    """Encodes a record, sealed if there is a cipher."""
    body = b"".join(entry(message, record.kind) for message in record.entries)
    head = header(len(body), record.kind, len(record.entries), record.first, record.age)
    return head + (cipher.seal(head, body) if cipher else body)


class Records:
    """Splits the stream of a line into records, behind the header of the stream."""

    def __init__(self, cipher: LineCipher | None, body_max: int, message_max: int):
        self.cipher, self.body_max, self.message_max = cipher, body_max, message_max
        self.rest = bytearray()

    def feed(self, data: bytes):
        """Yields the records that are complete."""
        self.rest += data
        while (record := self._next()) is not None:
            yield record

    def missing(self) -> int:
        """Counts the bytes that the record lacks whose header is there; 0 if there is none."""
        if len(self.rest) < HEADER.size:
            return 0
        length, kind, _, _ = HEADER.unpack_from(self.rest)
        return self._size(length, kind) - len(self.rest)

    def _size(self, length: int, kind: int) -> int:
        return HEADER.size + 4 * kind + length + (TAG if self.cipher else 0)

    def _next(self) -> Record | None:
        if len(self.rest) < HEADER.size:
            return None
        length, kind, count, first = HEADER.unpack_from(self.rest)
        count = int.from_bytes(count, "big")
        if length > self.body_max:
            raise Refused(Code.RECORD_TOO_LONG, f"a body of {length} bytes")
        if kind > HEADED or not 1 <= count <= length or first + count > VARINT_MAX:
            raise Refused(Code.MALFORMED_RECORD, f"kind {kind}, {count} from {first}")
        size = self._size(length, kind)
        if len(self.rest) < size:
            return None
        head = bytes(self.rest[: HEADER.size + 4 * kind])
        body = bytes(self.rest[len(head) : size])
        del self.rest[:size]
        if self.cipher:
            body = self.cipher.open(head, body)
        age = int.from_bytes(head[HEADER.size :], "big")
        return Record(first, self._entries(body, kind, count), kind, age)

    def _entries(self, body: bytes, kind: int, count: int) -> list[bytes | None]:
        reader = Reader(body)
        try:
            entries = [self._entry(reader, kind) for _ in range(count)]
        except Short:
            raise Refused(Code.MALFORMED_RECORD, "an entry is cut off") from None
        if reader:
            raise Refused(Code.MALFORMED_RECORD, "bytes after the entries")
        return entries

    def _entry(self, reader: Reader, kind: int) -> bytes | None:
        head = Reader(reader.take(reader.varint()) if kind == HEADED else b"")
        is_void = bool(head)
        if head and head.varint() != VOID_KIND:
            raise Refused(Code.MALFORMED_RECORD, "an unknown kind of entry")
        read_parameters(head.data[head.at :], Code.MALFORMED_RECORD)
        size = reader.varint()
        if size > self.message_max:
            raise Refused(Code.RECORD_TOO_LONG, f"a message of {size} bytes")
        if is_void and size:
            raise Refused(Code.MALFORMED_RECORD, "a void with bytes")
        message = reader.take(size)
        return VOID if is_void else message


def head_with(kind: int, pairs) -> bytes:
    """Encodes the head of an entry, with its length."""
    head = varint(kind) + parameters(pairs)
    return varint(len(head)) + head
