"""How a peer behaves: what a trial may set."""

from dataclasses import dataclass, field
from typing import Callable

from .codec import varint

MIB = 1 << 20


@dataclass
class Habits:
    sealing: bool = True
    mesh_key: bytes | None = None
    # Limits that hello states.
    message_max: int = MIB
    body_max: int | None = None
    timeout_ms: int = 300_000
    # Credit beyond what was read, and passage beyond it. With a step, so many more bytes are granted
    # whenever all that was granted has been used.
    credit: int = MIB
    credit_step: int | None = None
    passage: int = 2 * MIB
    passage_step: int | None = None
    # Whether the application takes messages, and whether anything is acknowledged.
    takes: bool = True
    acks: bool = True
    # Sends each message back.
    echoes: bool = False
    # Messages of a record, and whether records are headed though nothing in them needs it.
    batch: int = 128
    headed: bool = False
    datagrams: bool = True
    resumes: bool = True
    # Whether an acceptor answers with Retry first.
    retry: bool = False
    # Streams that the other end may open at first.
    streams: int = 16
    # What stands before hello and between hello and LINES, and changes to hello's parameters.
    before_hello: bytes = b""
    after_hello: bytes = b""
    edit_hello: Callable | None = None
    # Replaces the whole greeting: called with the link, returns bytes.
    greeting: Callable | None = None
    # Whether it leaves it to the other end to close one of two connections.
    keeps_all: bool = False
    # Whether it takes a connection from or to its own identity.
    meets_itself: bool = False
    # Called with the link when the other's hello has arrived, before it is judged.
    on_hello: Callable | None = None
    # Values of QUIC's configuration.
    quic: dict = field(default_factory=dict)

    @property
    def body_bytes_max(self) -> int:
        if self.body_max is not None:
            return self.body_max
        return max(64 * 1024, len(varint(self.message_max)) + self.message_max)

    def check(self):
        unknown = set(self.__dict__) - set(self.__dataclass_fields__)
        assert not unknown, unknown
