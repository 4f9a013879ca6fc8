"""What trials are made of: the node as a process, peers, checks, and a list of all trials."""

import asyncio
import contextlib
import json
import time

from peer.codes import Code, name_of
from peer.identity import split_address
from peer.peer import Peer

LIMIT = 15.0


class Node:
    """A process of `examples/foreign_node`."""

    def __init__(self, command: list[str]):
        self.command = command
        self.lines: list[dict] = []
        self.changed = asyncio.Event()

    async def start(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*self.command, stdin=pipe, stdout=pipe)
        self.reader = asyncio.ensure_future(self._read())
        line = await self.line("listening")
        self.address = line["peer"]
        self.id, _ = split_address(self.address)

    async def _read(self):
        while line := await self.process.stdout.readline():
            self.lines.append(json.loads(line))
            self.changed.set()

    async def stop(self):
        """Ends the process by its id."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        self.reader.cancel()

    def command_line(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def mark(self) -> int:
        """Names this moment: how many lines were printed."""
        return len(self.lines)

    def matching(self, event: str, since: int = 0, **values) -> list[dict]:
        """Lists the lines of an event since a mark whose values are, or begin with, those given."""
        lines = self.lines[since:]
        return [line for line in lines if line["event"] == event and has(line, values)]

    async def line(self, event: str, seconds: float = 8.0, since: int = 0, **values) -> dict:
        """Waits for a line that was printed after a mark."""
        end = time.monotonic() + seconds
        while not (found := self.matching(event, since, **values)):
            left = end - time.monotonic()
            assert left > 0, f"the node prints no {event} {values}; it printed {self.lines[-8:]}"
            self.changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.changed.wait(), left)
        return found[0]

    async def ask(self, command: str, *words) -> dict:
        """Gives a command, and waits for the line that answers it."""
        mark = self.mark()
        self.command_line(command, *words)
        return await self.line(command, since=mark)

    async def connected_to(self, peer: Peer):
        """Waits until the node has confirmed a connection, too; before it does not know a peer that dialled it."""
        await self.line("status", to="Connected", peer=peer.identity.text)

    async def counts(self, peer: Peer) -> dict:
        """Returns what the node has received of a peer."""
        counts = await self.ask("counts")
        return counts["peers"].get(peer.identity.text, {"messages": 0, "bytes": 0, "misordered": 0})

    async def received(self, peer: Peer, messages: int, seconds: float = 8.0):
        """Waits until the node has so many messages of a peer, all in order."""
        end = time.monotonic() + seconds
        while (counts := await self.counts(peer))["messages"] < messages:
            assert time.monotonic() < end, f"the node has {counts} of {messages} messages"
            await asyncio.sleep(0.05)
        assert counts["messages"] == messages and not counts["misordered"], counts

    async def delivered(self, peer: Peer, messages: int, seconds: float = 8.0):
        """Waits until the node knows that a peer has taken so many messages, or more."""
        end = time.monotonic() + seconds
        while (metrics := await self.metrics(peer))["delivered"] < messages:
            assert time.monotonic() < end, f"of {messages} messages the node knows {metrics}"
            await asyncio.sleep(0.02)

    async def metrics(self, peer: Peer) -> dict:
        return await self.ask("metrics", peer.identity.text)


def has(line: dict, values: dict) -> bool:
    """Whether a line has values, texts among them as their beginnings."""
    for key, value in values.items():
        mine = line.get(key)
        is_same = mine.startswith(value) if isinstance(value, str) and mine else mine == value
        if not is_same:
            return False
    return True


class Trial:
    """One run of a trial: makes nodes and peers, and ends them."""

    def __init__(self, program: list[str]):
        self.program = program
        self.stack = contextlib.AsyncExitStack()
        self.peers: list[Peer] = []
        self.nodes: list[Node] = []
        self.remarks: list[str] = []

    async def node(self, *arguments) -> Node:
        node = Node(self.program + [str(argument) for argument in arguments])
        self.nodes.append(node)
        self.stack.push_async_callback(node.stop)
        await node.start()
        return node

    def peer(self, identity=None, started_ms=None, **habits) -> Peer:
        peer = Peer(identity, started_ms, **habits)
        self.peers.append(peer)
        self.stack.callback(peer.close)
        return peer

    async def connected(self, *arguments, **habits):
        """Makes a node and a peer that has dialled it."""
        node, peer = await self.node(*arguments), self.peer(**habits)
        link = await peer.connect(node.address)
        assert link.is_confirmed, f"not confirmed: {link.closed}"
        await node.connected_to(peer)
        return node, peer, link

    def remark(self, text: str):
        self.remarks.append(text)


def numbered(count: int, size: int = 8, first: int = 0) -> list[bytes]:
    """Makes messages as the node makes and checks them."""
    numbers = range(first, first + count)
    return [number.to_bytes(8, "big").ljust(size, b".")[: max(size, 8)] for number in numbers]


async def refused(link, *codes: Code, seconds: float = 6.0):
    """Waits until the node closes a connection, and checks that it is with one of the codes."""
    names = " or ".join(name_of(code) for code in codes)
    await link.peer.until(lambda: link.closed, seconds)
    assert link.closed, f"the connection is still there; {names} was to come"
    assert link.closed.by == "them" and link.closed.code in codes, f"{link.closed}, not {names}"


async def stays(link, seconds: float = 0.3):
    """Checks that a connection is alive after a while."""
    await link.peer.until(lambda: link.closed, seconds)
    assert not link.closed, f"closed: {link.closed}"


async def echo(peer: Peer, node: Node, message: bytes = b"hello", seconds: float = 8.0):
    """Sends a message to an echoing node, and waits until it is back."""
    before = len(peer.messages)
    peer.send(node.id, message)
    assert await peer.until(lambda: len(peer.messages) > before, seconds), "no echo"
    assert peer.messages[before:] == [message], peer.messages[before:]


async def arrived(peer: Peer, messages: list[bytes], seconds: float = 10.0):
    """Waits until a peer has exactly these messages."""
    await peer.until(lambda: len(peer.messages) >= len(messages), seconds)
    assert peer.messages == messages, f"{len(peer.messages)} of {len(messages)} messages, or others"


async def all_taken(peer: Peer, node: Node, seconds: float = 8.0):
    """Waits until the node has taken everything that a peer has sent."""
    own = peer.session(node.id).own
    assert await peer.until(lambda: not own.held, seconds), f"{len(own.held)} messages are still held"


class Cases:
    """Runs the cases of a trial, each by itself, and fails at the end if any did."""

    def __init__(self):
        self.count, self.problems = 0, []

    async def run(self, name: str, case):
        self.count += 1
        try:
            await case
        except AssertionError as error:
            self.problems.append(f"{name}: {error}")

    def finish(self, t: Trial):
        assert not self.problems, "; ".join(self.problems)
        t.remark(f"{self.count} cases")


TRIALS: list = []


def trial(name: str, limit: float = LIMIT):
    """Registers a trial by its name, with the seconds that it may take."""

    def register(function):
        TRIALS.append((name, limit, function))
        return function

    return register
