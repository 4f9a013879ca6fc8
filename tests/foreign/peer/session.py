"""The state that a peer keeps for another one across connections (section 8 of the document)."""

import asyncio
import os

from . import codec
from .codes import Code, Refused
from .halves import OtherHalf, OwnHalf
from .records import HEADED, PLAIN, VOID, Record, entry

PROBE_TIMEOUT = 5.0
GIVEN_UP_MAX = 8


class Session:
    def __init__(self, peer, other_id: bytes):
        self.peer, self.other_id, self.habits = peer, other_id, peer.habits
        self.address: tuple[str, int] | None = None
        self.own, self.other = OwnHalf(), None
        self.random = peer.random
        self.links: list = []
        self.other_held = 0
        # Incarnation and half of the last hello.
        self.last_hello: tuple[bytes, bytes] | None = None
        self.given_up: list[bytes] = []
        self.undelivered: list[int] = []
        self.inbox_waiting: list[bytes | None] = []
        self.waiting_bytes = 0
        self.last_stated: tuple[int, int] = (0, 0)

    def own_incarnation(self) -> bytes:
        return self.peer.started_ms.to_bytes(8, "big") + self.random

    @property
    def sending(self):
        """The connection to send on: the one confirmed last."""
        return self.links[-1] if self.links else None

    # Sending

    def send(self, message: bytes | None) -> int:
        number = self.own.accept(message)
        self.pump()
        return number

    def pump(self):
        """Writes records on the connection to send on, as far as credit and passage go."""
        link = self.sending
        if link is None or link.closed or not link.is_confirmed:
            return
        link.line_out.write()
        while link.line_out.allowed and not link.line_out.waiting:
            record = self._next_record(link)
            if record is None:
                break
            link.write_record(record)
        link.transmit()

    def _next_record(self, link) -> Record | None:
        """Builds the next record for a connection."""
        own = self.own
        link.cursor = max(link.cursor, own.stated or 0)
        if link.cursor < own.next and link.cursor not in own.held:
            link.cursor = own.first
        if link.cursor >= own.next:
            return None
        numbers = range(link.cursor, min(own.next, link.cursor + self.habits.batch))
        for number in numbers:
            self._void_if_too_long(link, number)
        is_headed = self.habits.headed or any(own.held[number] is VOID for number in numbers)
        record = Record(link.cursor, [], HEADED if is_headed else PLAIN)
        size = 0
        for number in numbers:
            size += len(entry(own.held[number], record.kind))
            if record.entries and size > min(64 * 1024, link.hello[codec.BODY_MAX]):
                break
            record.entries.append(own.held[number])
        link.cursor += len(record.entries)
        own.written = max(own.written, link.cursor)
        return record

    def _void_if_too_long(self, link, number: int):
        message = self.own.held[number]
        if message is VOID:
            return
        is_longer = len(message) > link.hello[codec.MESSAGE_MAX]
        if is_longer or len(entry(message, PLAIN)) > link.hello[codec.BODY_MAX]:
            self.own.give_up(number)
            self.undelivered.append(number)

    def acknowledged(self, link, numbers: codec.Numbers):
        """Takes over checked numbers, unless the connection is about a half that is no more."""
        if link.own_half == self.own.id:
            self.own.acknowledge(numbers)
            self.peer.wake()

    # Receiving

    def on_record(self, link, record: Record):
        if self.other is None or self.other.id != link.hello[codec.HALF]:
            return
        known = self.other.accept(record.first, len(record.entries))
        self.peer.records.append(record)
        for message in record.entries[known:]:
            self.inbox_waiting.append(message)
            self.waiting_bytes += len(message or b"")
        if self.habits.takes:
            self.take()

    def take(self, count: int | None = None):
        """Hands messages to the application, and skips voids."""
        for _ in range(len(self.inbox_waiting) if count is None else count):
            message = self.inbox_waiting.pop(0)
            self.other.taken += 1
            if message is not VOID:
                self.waiting_bytes -= len(message)
                self.peer.deliver(self, message)
        while self.inbox_waiting and self.inbox_waiting[0] is VOID:
            self.inbox_waiting.pop(0)
            self.other.taken += 1

    def numbers(self, link) -> tuple[int, int]:
        """What ACK states on a connection: zero while no record of its half has arrived."""
        if self.other and link.hello and self.other.id == link.hello[codec.HALF]:
            return self.other.received, self.other.taken
        return 0, 0

    def has_moved(self, link) -> bool:
        return self.numbers(link) != self.last_stated

    def stated(self, link):
        self.last_stated = self.numbers(link)

    # Greetings

    def on_greeting(self, link):
        """Judges a greeting whose check value has matched."""
        incarnation = link.hello[codec.INCARNATION]
        if incarnation in self.given_up:
            raise Refused(Code.FORGOTTEN)
        is_other = self.last_hello is not None and self.last_hello[0] != incarnation
        if is_other and self.links:
            link.is_waiting = True
            link.probe = asyncio.ensure_future(self._tell_apart(link, incarnation))
            return
        self._accept(link)

    async def _tell_apart(self, link, incarnation: bytes):
        """Finds out which of two processes with one identity is alive."""
        live, is_later = self.sending, incarnation > self.last_hello[0]
        ping = asyncio.ensure_future((link if is_later else live).ping())
        gone = asyncio.ensure_future(live.wait_closed())
        both = {ping, gone}
        done, rest = await asyncio.wait(both, timeout=PROBE_TIMEOUT, return_when="FIRST_COMPLETED")
        for task in rest:
            task.cancel()
        try:
            if not done:
                link.close_with(Code.BUSY, codec.varint(1000))
            elif ping in done and not is_later and not ping.exception():
                link.close_with(Code.IDENTITY_IN_USE)
            else:
                self._give_up(self.last_hello[0])
                self._accept(link)
        except Refused as refused:
            link.close_with(refused.code)

    def _give_up(self, incarnation: bytes):
        self.given_up = (self.given_up + [incarnation])[-GIVEN_UP_MAX:]
        for link in list(self.links):
            link.close_with(Code.IDENTITY_IN_USE)

    def _accept(self, link):
        half, first = link.hello[codec.HALF], link.lines.first
        if self.other and self.other.id == half and self.other.is_known and first > self.other.taken:
            link.close_with(Code.CALLED_OFF)
            self.forget()
            return
        numbers = link.lines.live or codec.Numbers(0, 0, 0)
        knows_us = link.hello.get(codec.KNOWN) == link.own_half == self.own.id
        if knows_us:
            self.own.check(numbers)
        this = (link.hello[codec.INCARNATION], half)
        if self.other is None or self.other.id != half:
            self.other = OtherHalf(half)
        if knows_us:
            self.own.acknowledge(numbers)
        elif this != self.last_hello and self.own.written > self.own.taken:
            self._other_lost_its_state()
        self.last_hello = this
        self.other_held = link.lines.held
        link.confirm()
        self._keep_one(link)
        link.settle()
        self.peer.wake()
        if link.closed:
            return
        if link.is_waiting:
            link.resume()
        link.read_waiting_streams()
        self.pump()

    def _other_lost_its_state(self):
        self.undelivered += self.own.lose_written()
        for link in list(self.links):
            link.close_with(Code.REPLACED)

    def _keep_one(self, link):
        """Applies the rule of one connection per pair."""
        others = list(self.links)
        self.links.append(link)
        for other in others:
            if self.habits.keeps_all:
                continue
            if other.is_dialler == link.is_dialler:
                loser = other if dial_of(link) >= dial_of(other) else link
                loser.close_with(Code.REPLACED)
            elif self.peer.identity.peer_id < self.other_id:
                other.close_with(Code.REPLACED)
        if others and self.sending is link:
            link.send_control(codec.frame(codec.LINES, later_lines(link).encode()))

    # The end of connections and of the session

    def on_closed(self, link):
        was_confirmed = link in self.links
        if was_confirmed:
            self.links.remove(link)
        closed = link.closed
        if closed.by == "them" and closed.code <= Code.REPLACED and link.is_confirmed:
            self._final_ack(link, closed.reason)
        is_ours = link.hello is None or self.other is None or link.hello[codec.HALF] == self.other.id
        if closed.by == "them" and is_ours:
            self._obey(link, closed.code)
        if self.sending and not self.sending.closed:
            self.sending.cursor = self.own.start
            self.pump()

    def _final_ack(self, link, reason: bytes):
        try:
            ack = codec.read_ack(reason)
        except Refused:
            return
        if ack.line and ack.line.received <= self.own.written:
            self.acknowledged(link, ack.line)
        self.other_held = ack.held

    def _obey(self, link, code: int):
        if code == Code.GOODBYE:
            self.forget()
            for other in list(self.links):
                other.close_with(Code.GOODBYE)
        elif code in (Code.IDENTITY_IN_USE, Code.FORGOTTEN):
            self.undelivered += self.own.lose_written() if code == Code.FORGOTTEN else list(self.own.held)
            self.random = os.urandom(8)

    def forget(self):
        """Reports what is held, and begins anew."""
        self.undelivered += [number for number, message in self.own.held.items() if message is not VOID]
        self.own, self.other, self.last_hello = OwnHalf(), None, None

    def say_goodbye(self):
        for link in list(self.links):
            link.close_with(Code.GOODBYE)
        self.forget()


def dial_of(link) -> int:
    return link.dial if link.is_dialler else link.hello.get(codec.DIAL, 0)


def later_lines(link) -> codec.Lines:
    """Builds LINES for a connection that takes the place of another one."""
    received, taken = link.session.numbers(link)
    own, live, seen = link.session.own, None, 0
    if link.session.other.is_known:
        live, seen = codec.Numbers(received, taken, link.line_in.credit), 1
    return codec.Lines(own.held_bytes, own.first, link.line_in.passage, seen, live)
