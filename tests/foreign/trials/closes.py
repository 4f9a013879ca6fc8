"""Deliberate closes with a final acknowledgement, by both ends."""

import time

from harness import arrived, echo, numbered, refused, stays, trial
from peer import codec
from peer.codes import Code
from peer.link import greeting

DELIBERATE = (Code.GOODBYE, Code.IDLE, Code.EVICTED, Code.REPLACED)


async def taken_but_not_acknowledged(t, count: int = 10):
    """Makes a peer that has taken messages of a node, which does not know it."""
    node, peer, link = await t.connected("--mode", "sink", acks=False)
    node.command_line("send", peer.identity.text, count, 20)
    await arrived(peer, numbered(count, 20))
    assert (await node.metrics(peer))["delivered"] == 0
    return node, peer, link


def final(link, taken: int, received: int | None = None) -> bytes:
    numbers = codec.Numbers(taken if received is None else received, taken, 0)
    return codec.Ack(0, 0, numbers).encode()


def closes_with_ack(code: Code):
    @trial(f"closes: {code.name} with a final acknowledgement counts")
    async def run(t):
        node, peer, link = await taken_but_not_acknowledged(t)
        link.close_with(code, final(link, 10))
        line = await node.line("status", **{"from": "Connected"})
        metrics = await node.metrics(peer)
        assert (metrics["delivered"], metrics["outbox_bytes"]) == (10, 0), metrics
        assert not node.matching("undelivered")
        t.remark(f"{line['to']}, {line['reason']}")


for one in DELIBERATE:
    closes_with_ack(one)


@trial("closes: Goodbye for 6 of 10, the rest is undelivered")
async def goodbye_in_part(t):
    node, peer, link = await taken_but_not_acknowledged(t)
    link.close_with(Code.GOODBYE, final(link, 6, 10))
    line = await node.line("undelivered")
    assert (line["first"], line["end"], line["reason"]) == (6, 10, "Goodbye"), line


@trial("closes: Goodbye with no reason, all is undelivered")
async def goodbye_without_reason(t):
    node, peer, link = await taken_but_not_acknowledged(t)
    link.close_with(Code.GOODBYE, b"")
    line = await node.line("undelivered")
    assert (line["first"], line["end"], line["reason"]) == (0, 10, "Goodbye"), line


@trial("closes: Idle for 6 of 10, the rest comes with the next connection")
async def idle_in_part(t):
    node, peer, link = await taken_but_not_acknowledged(t)
    link.close_with(Code.IDLE, final(link, 6, 6))
    await node.line("status", **{"from": "Connected"}, reason="Idle")
    # As if the rest had not arrived.
    peer.session(node.id).other.received = peer.session(node.id).other.taken = 6
    peer.messages.clear()
    again = await peer.connect(node.address)
    await arrived(peer, numbered(4, 20, first=6))
    await stays(again)
    assert not node.matching("undelivered")


@trial("closes: reasons that cannot be read or claim too much are ignored")
async def bad_reasons(t):
    node, peer, link = await taken_but_not_acknowledged(t)
    too_much = codec.Ack(0, 0, codec.Numbers(11, 11, 0)).encode()
    contradiction = codec.Ack(0, 0, codec.Numbers(5, 6, 0)).encode()
    other_line = codec.Ack(0, 0, codec.Numbers(10, 10, 0, index=1)).encode()
    for reason in (b"\xff", b"bye", too_much, contradiction, other_line, final(link, 10)[:-2]):
        mark = node.mark()
        link.close_with(Code.IDLE, reason)
        await node.line("status", since=mark, **{"from": "Connected"}, reason="Idle")
        metrics = await node.metrics(peer)
        assert metrics["delivered"] == 0, (reason.hex(), metrics)
        peer.session(node.id).other.received = peer.session(node.id).other.taken = 0
        peer.messages.clear()
        link = await peer.connect(node.address)
        await arrived(peer, numbered(10, 20))
    assert not node.matching("undelivered")


def acknowledgement(link, node) -> codec.Ack:
    """Reads the reason of a connection that the node has closed."""
    return codec.read_ack(link.closed.reason)


@trial("closes: the node's Goodbye carries a final acknowledgement")
async def goodbye_of_the_node(t):
    node, peer, link = await t.connected("--mode", "sink")
    for message in numbered(25):
        peer.send(node.id, message)
    await node.received(peer, 25)
    node.command_line("disconnect", peer.identity.text)
    await refused(link, Code.GOODBYE)
    ack = acknowledgement(link, node)
    assert (ack.passage, ack.line) == (0, codec.Numbers(25, 25, 0)), ack
    again = await peer.connect(node.address)
    assert again.is_confirmed and codec.KNOWN not in again.hello, "the session has not ended"
    assert again.hello[codec.HALF] != link.hello[codec.HALF], "the half has kept its id"


def ends(how: str, end):
    @trial(f"closes: a node that ends by {how} closes with Goodbye, with nothing lost")
    async def run(t):
        node, peer, link = await t.connected("--mode", "sink")
        node.command_line("send", peer.identity.text, 50, 100)
        node.command_line("flush", peer.identity.text)
        await arrived(peer, numbered(50, 100))
        await node.line("flushed", error=None)
        end(node)
        await refused(link, Code.GOODBYE)
        assert (await node.line("closed"))["error"] is None
        assert await node.process.wait() == 0


ends("a command", lambda node: node.command_line("close"))
ends("SIGTERM", lambda node: node.process.terminate())
ends("the end of stdin", lambda node: node.process.stdin.close())


@trial("closes: the node's Idle carries a final acknowledgement, and the session stays")
async def idle_of_the_node(t):
    node, peer, link = await t.connected("--pool-ttl", 300)
    await echo(peer, node)
    await refused(link, Code.IDLE)
    assert acknowledgement(link, node).line == codec.Numbers(1, 1, 0)
    again = await peer.connect(node.address)
    assert again.hello.get(codec.KNOWN) == peer.session(node.id).own.id
    assert again.lines.live.received == again.lines.live.taken == 1
    await echo(peer, node, b"again")


@trial("closes: unknown codes and errors leave the session as it is")
async def unknown_codes(t):
    node, peer, link = await taken_but_not_acknowledged(t)
    for code in (0x10, 0x1E, 0x3FFF, Code.CALLED_OFF):
        mark = node.mark()
        link.close_with(code, b"\xff\x00")
        await node.line("status", since=mark, **{"from": "Connected"})
        link = await peer.connect(node.address)
        assert link.is_confirmed and link.hello[codec.HALF] == peer.session(node.id).other.id
    assert not node.matching("undelivered")


async def closed_at_once(t, code: int, reason: bytes = b"", build=greeting):
    """Makes a node that dials us with a message, and whose first connection is closed once its hello is here.
    `build` makes our greeting on that one."""

    def close(link):
        if link is peer.links[0]:
            link.close_with(code, reason)

    def build_one(link):
        return (build if link is peer.links[0] else greeting)(link)

    node, peer = await t.node("--mode", "sink"), t.peer(on_hello=close, greeting=build_one)
    node.command_line("send", await peer.listen(), 3, 10)
    assert await peer.until(lambda: peer.links and peer.links[0].closed, 5), "the node does not dial"
    return node, peer


async def dials_again(peer, seconds: float) -> float | None:
    """Waits for the second dial, and returns how long it took since the first was closed."""
    closed = time.monotonic()
    if await peer.until(lambda: len(peer.links) > 1, seconds):
        return time.monotonic() - closed
    return None


@trial("closes: BUSY with a delay, the node comes back after it")
async def busy_with_delay(t):
    node, peer = await closed_at_once(t, Code.BUSY, codec.varint(800))
    waited = await dials_again(peer, 6)
    assert waited and waited > 0.7, waited
    await arrived(peer, numbered(3, 10))
    t.remark(f"after {waited * 1000:.0f} ms")


def comes_back(code: Code, reason: bytes = b""):
    @trial(f"closes: {code.name} before our greeting, the node dials again, and nothing is lost")
    async def run(t):
        node, peer = await closed_at_once(t, code, reason, lambda link: b"")
        waited = await dials_again(peer, 6)
        assert waited is not None, "the node does not dial again"
        await arrived(peer, numbered(3, 10))
        assert not node.matching("undelivered")
        t.remark(f"after {waited * 1000:.0f} ms")


for one in (Code.IDLE, Code.EVICTED, Code.REPLACED, Code.BUSY, Code.CALLED_OFF, Code.NOT_ACCEPTED, Code.FORGOTTEN):
    comes_back(one)


def stays_away(code: Code, lost: str | None):
    @trial(f"closes: {code.name} after the greeting, the node does not dial again")
    async def run(t):
        node, peer = await closed_at_once(t, code)
        assert await dials_again(peer, 1.5) is None, "the node dials again"
        if lost:
            line = await node.line("undelivered", reason=lost)
            assert (line["first"], line["end"]) == (0, 3), line
        else:
            assert not node.matching("undelivered")
            await peer.connect(node.address)
            await arrived(peer, numbered(3, 10))


stays_away(Code.GOODBYE, "Goodbye")
stays_away(Code.IDENTITY_IN_USE, "IdentityInUse")
stays_away(Code.SEALING_MISMATCH, None)
stays_away(Code.VERSION_MISMATCH, None)


@trial("closes: Idle of an end that holds something brings the node back, and else not")
async def idle_with_held(t):
    for held, comes in ((0, False), (100, True)):
        node, peer = await t.node("--mode", "sink"), t.peer()
        node.command_line("send", await peer.listen(), 1, 10)
        await arrived(peer, numbered(1, 10))
        node.command_line("flush", peer.identity.text)
        await node.line("flushed", error=None)
        ack = codec.Ack(held, 0, codec.Numbers(1, 1, 0))
        peer.links[0].close_with(Code.IDLE, ack.encode())
        waited = await dials_again(peer, 1.0)
        assert (waited is not None) == comes, (held, waited)
