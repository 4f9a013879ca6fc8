"""The two halves of a session: what is held for the other end, and what has arrived of it."""

import os

from .codec import Numbers, varint
from .codes import Code, Refused
from .records import VOID


class OwnHalf:
    """Messages that this end sends, by number."""

    def __init__(self):
        self.id = os.urandom(16)
        self.next = 0
        self.held: dict[int, bytes | None] = {}
        self.held_bytes = 0
        # The greatest numbers that the other end has stated; `stated` is None if it never did.
        self.stated: int | None = None
        self.taken = 0
        # No number from here on was ever written.
        self.written = 0

    @staticmethod
    def _size(message: bytes | None) -> int:
        return 0 if message is VOID else len(varint(len(message))) + len(message)

    def accept(self, message: bytes | None) -> int:
        self.held[self.next] = message
        self.held_bytes += self._size(message)
        self.next += 1
        return self.next - 1

    def give_up(self, number: int):
        """Makes a number a void."""
        self.held_bytes -= self._size(self.held[number])
        self.held[number] = VOID

    @property
    def first(self) -> int:
        return next(iter(self.held), self.next)

    @property
    def start(self) -> int:
        """The number that the first record of a connection begins with."""
        return self.first if self.stated is None else self.stated

    def check(self, numbers: Numbers):
        if numbers.received > self.written:
            raise Refused(Code.BAD_ACKNOWLEDGEMENT, f"{numbers.received} above {self.written}")

    def acknowledge(self, numbers: Numbers):
        """Takes over numbers that were checked."""
        self.stated = max(self.stated or 0, numbers.received)
        self.taken = max(self.taken, numbers.taken)
        while self.held and self.first < self.taken:
            self.held_bytes -= self._size(self.held.pop(self.first))

    def lose_written(self) -> list[int]:
        """Drops and returns the numbers whose fate is unknown since the other end has lost its state."""
        lost = [number for number in self.held if number < self.written]
        for number in lost:
            self.held_bytes -= self._size(self.held.pop(number))
        self.stated, self.taken = None, self.first
        return lost


class OtherHalf:
    """How far the messages of the other end have come."""

    def __init__(self, half: bytes):
        self.id = half
        self.is_known = False
        self.received = 0
        self.taken = 0

    def accept(self, first: int, count: int) -> int:
        """Counts a record in, and returns how many of its entries were received before."""
        if not self.is_known:
            self.is_known, self.received, self.taken = True, first, first
        if first > self.received:
            raise Refused(Code.GAP, f"{first} after {self.received}")
        known = min(self.received - first, count)
        self.received += count - known
        return known
