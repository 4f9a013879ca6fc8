"""A peer: an identity, its sessions, and the sockets that it listens on and dials from."""

import asyncio
import os
import time
from functools import partial

from aioquic.asyncio.server import serve

from .habits import Habits
from .identity import Identity, split_address, to_text
from .link import Link
from .quic import Quic, configuration
from .session import Session

LOOPBACK = "127.0.0.1"


class Peer:
    def __init__(self, identity: Identity | None = None, started_ms: int | None = None, **habits):
        self.identity = identity or Identity()
        self.habits = Habits(**habits)
        self.started_ms = started_ms or time.time_ns() // 1_000_000
        self.random = os.urandom(8)
        self.dials = 0
        self.sessions: dict[bytes, Session] = {}
        self.links: list[Link] = []
        self.messages: list[bytes] = []
        self.records: list = []
        self.datagrams: list[tuple[bytes, bytes]] = []
        self.tickets: dict[bytes, object] = {}
        self.issued: dict[bytes, tuple[bytes, object]] = {}
        self.changed = asyncio.Event()
        self.logs: list[str] = []
        # Exceptions of this code, of which there are to be none.
        self.errors: list[Exception] = []
        self.server = None

    def log(self, link: Link, text: str):
        other = to_text(link.other_id)[:9] if link.other_id else "?"
        self.logs.append(f"{time.monotonic():.3f} {self.identity.text[:9]} {other} {text}")

    def session(self, other_id: bytes) -> Session:
        return self.sessions.setdefault(other_id, Session(self, other_id))

    # Connections

    async def listen(self, port: int = 0) -> str:
        """Listens on loopback, and returns PEERID@ADDRESS:PORT."""

        def protocol(quic, stream_handler=None):
            link = Link(quic, self)
            quic._session_ticket_handler = partial(self._issue, link)
            quic._session_ticket_fetcher = partial(self._redeem, link)
            self.links.append(link)
            return link

        config = configuration(self.identity, False, **self._quic())
        self.server = await serve(
            LOOPBACK, port, configuration=config, create_protocol=protocol, retry=self.habits.retry
        )
        self.port = self.server._transport.get_extra_info("sockname")[1]
        return f"{self.identity.text}@{LOOPBACK}:{self.port}"

    async def dial(self, address: str) -> Link:
        """Dials PEERID@ADDRESS:PORT, and returns the connection without waiting for anything."""
        expected, addr = split_address(address)
        self.session(expected).address = addr
        self.dials += 1
        config = configuration(self.identity, True, **self._quic())
        if self.habits.resumes:
            config.session_ticket = self.tickets.pop(expected, None)
        keep = partial(self.tickets.__setitem__, expected)
        quic = Quic(configuration=config, session_ticket_handler=keep)
        link = Link(quic, self, expected, self.dials)
        self.links.append(link)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: link, local_addr=(LOOPBACK, 0))
        link.connect(addr)
        return link

    async def connect(self, address: str) -> Link:
        """Dials, and waits until the connection is confirmed or has ended."""
        link = await self.dial(address)
        await asyncio.wait_for(link.settled, 8)
        return link

    def _quic(self) -> dict:
        size = 65535 if self.habits.datagrams else None
        return {"max_datagram_frame_size": size, **self.habits.quic}

    def close(self):
        """Frees the sockets, and closes no connection."""
        for link in self.links:
            if not link.closed:
                link.cut()
            if link.is_dialler and link._transport:
                link._transport.close()
        if self.server:
            self.server._transport.close()

    # Tickets

    def _issue(self, link: Link, ticket):
        # The ticket is made before the event of the handshake, so the certificate is all there is.
        owner = link.certified_id()
        if owner:
            self.issued[ticket.ticket] = (owner, ticket)

    def _redeem(self, link: Link, label: bytes):
        owner, ticket = self.issued.pop(label, (None, None))
        link.ticket_of = owner
        return ticket

    # Messages

    def send(self, other_id: bytes, message: bytes | None) -> int:
        return self.session(other_id).send(message)

    def deliver(self, session: Session, message: bytes):
        self.messages.append(message)
        if self.habits.echoes:
            session.send(message)
        self.wake()

    def wake(self):
        self.changed.set()

    async def until(self, condition, seconds: float = 8.0) -> bool:
        """Waits until a condition holds, and returns whether it does."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), min(left, 0.05))
            except asyncio.TimeoutError:
                pass
        return True
