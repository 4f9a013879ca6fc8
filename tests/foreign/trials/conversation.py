"""What the node's own greetings have, which of two connections it keeps, and when it acknowledges."""

import asyncio
import time

from harness import all_taken, arrived, echo, numbered, refused, stays, trial
from peer import codec
from peer.codec import is_grease
from peer.codes import Code
from peer.link import greeting

KNOWN_KEYS = {codec.DIAL, codec.CHECK, codec.CAN_DIAL, codec.KNOWN, *codec.REQUIRED}


def without_grease(link) -> set[int]:
    """Returns the keys of the node's hello, but for reserved ones."""
    keys = {key for key in link.hello if not is_grease(key, 27)}
    assert keys <= KNOWN_KEYS, keys
    return keys


@trial("conversation: the node's greeting as an acceptor")
async def as_acceptor(t):
    node, peer, link = await t.connected("--mode", "echo")
    keys = without_grease(link)
    assert codec.DIAL not in keys and codec.CHECK in keys and codec.KNOWN not in keys, keys
    assert link.hello.get(codec.CAN_DIAL, 0) == 0
    started = int.from_bytes(link.hello[codec.INCARNATION][:8], "big")
    assert abs(started - time.time() * 1000) < 20_000, started
    assert link.lines == codec.Lines(0, 0, link.hello[codec.PASSAGE]), link.lines
    await echo(peer, node)
    await all_taken(peer, node)
    link.close_with(Code.IDLE)
    again = await peer.connect(node.address)
    assert again.hello[codec.INCARNATION] == link.hello[codec.INCARNATION]
    assert again.hello[codec.HALF] == link.hello[codec.HALF]
    assert again.hello[codec.KNOWN] == peer.session(node.id).own.id
    lines = again.lines
    assert (lines.first, lines.next, lines.seen, lines.unseen) == (1, 1, 1, []), lines
    assert lines.live == codec.Numbers(1, 1, again.hello[codec.CREDIT]), lines


@trial("conversation: the node's greeting as a dialler")
async def as_dialler(t):
    node, peer = await t.node("--mode", "sink"), t.peer(acks=False)
    node.command_line("send", await peer.listen(), 3, 100)
    await arrived(peer, numbered(3, 100))
    link = peer.links[0]
    assert link.hello[codec.DIAL] == 1 and link.hello[codec.CAN_DIAL] == 1, link.hello
    # What it holds is counted with the lengths: two bytes for each message of 100.
    link.close_with(Code.IDLE, codec.Ack(0, 0, codec.Numbers(1, 1, 0)).encode())
    assert await peer.until(lambda: len(peer.links) == 2 and peer.links[1].is_confirmed, 3)
    again = peer.links[1]
    assert again.hello[codec.DIAL] == 2 and again.hello[codec.CAN_DIAL] == 1, again.hello
    # A record that is taken in part may count whole.
    assert 204 <= again.lines.held <= 306 and again.lines.first == 1, again.lines


@trial("conversation: a dial number in our hello as an acceptor is ignored")
async def dial_number_of_an_acceptor(t):
    node, peer = await t.node("--mode", "sink"), t.peer()
    peer.habits.edit_hello = lambda own: own[:1] + [(codec.DIAL, 77)] + own[1:]
    node.command_line("send", await peer.listen(), 5, 100)
    await arrived(peer, numbered(5, 100))


@trial("conversation: with sealing off hello has no check value")
async def no_check(t):
    _, _, link = await t.connected("--unsealed", sealing=False)
    assert codec.CHECK not in without_grease(link)


@trial("conversation: a greeting byte by byte")
async def slow_greeting(t):
    node, peer = await t.node(), t.peer(greeting=lambda link: b"")
    link = await peer.dial(node.address)
    assert await peer.until(lambda: link.keys), "no handshake"
    for byte in greeting(link):
        link.send_control(bytes([byte]))
        await asyncio.sleep(0.001)
    await echo(peer, node)


@trial("conversation: LINES comes 0.5 s after hello")
async def late_lines(t):
    node, peer = await t.node(), t.peer(greeting=lambda link: b"")
    link = await peer.dial(node.address)
    assert await peer.until(lambda: link.keys), "no handshake"
    whole = greeting(link)
    frames = list(codec.Frames().feed(whole))
    link.send_control(codec.frame(*frames[0]))
    await asyncio.sleep(0.5)
    assert not node.matching("status", to="Connected"), "confirmed without LINES"
    link.send_control(codec.frame(*frames[1]))
    await echo(peer, node)


@trial("conversation: hello without LINES, HANDSHAKE_TIMEOUT")
async def no_lines(t):
    node = await t.node("--handshake-timeout", 700)
    peer = t.peer(greeting=lambda link: greeting(link)[: -len(codec.Lines(0, 0, 1 << 21).encode()) - 2])
    link = await peer.dial(node.address)
    await refused(link, Code.HANDSHAKE_TIMEOUT, seconds=4)


@trial("conversation: credit that a later LINES raises counts")
async def credit_by_lines(t):
    node, peer, link = await t.connected("--mode", "sink", credit_step=200, acks=False)
    node.command_line("send", peer.identity.text, 10, 100)
    assert await peer.until(lambda: link.line_in.read == 200, 5)
    link.line_in.credit = link.line_in.stated_credit = 1 << 20
    received, taken = peer.session(node.id).numbers(link)
    lines = codec.Lines(0, 0, 1 << 21, 1, codec.Numbers(received, taken, 1 << 20))
    link.send_control(codec.frame(codec.LINES, lines.encode()))
    await arrived(peer, numbered(10, 100))


@trial("conversation: the node acknowledges soon, and once it holds nothing")
async def acknowledges(t):
    node, peer, link = await t.connected("--mode", "echo")
    slowest = 0.0
    for number in range(20):
        start = time.monotonic()
        peer.send(node.id, b"%d" % number)
        await all_taken(peer, node, 2)
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 1.0, slowest
    assert await peer.until(lambda: link.acks and link.acks[-1].held == 0, 2), link.acks[-1:]
    t.remark(f"taken within {slowest * 1000:.0f} ms")


async def two_links(t, first: int, second: int):
    """Makes two connections with these dial numbers, of a peer that closes none."""
    node, peer = await t.node("--mode", "echo"), t.peer(keeps_all=True)
    links = []
    for number in (first, second):
        peer.dials = number - 1
        # The node may close the second one before its greeting is here.
        links.append(await peer.connect(node.address))
    assert links[0].is_confirmed
    return node, peer, links


@trial("conversation: of two of our dials the node closes the earlier one, REPLACED")
async def earlier_dial(t):
    node, peer, (old, new) = await two_links(t, 1, 2)
    await refused(old, Code.REPLACED)
    await echo(peer, node)
    await stays(new)
    assert await peer.until(lambda: new.later_lines, 2), "no LINES in place of the lost connection"


@trial("conversation: an earlier dial that comes late is the one that is closed")
async def late_dial(t):
    node, peer, (old, new) = await two_links(t, 5, 3)
    await refused(new, Code.REPLACED)
    await echo(peer, node)
    await stays(old)


@trial("conversation: of two with one dial number the newcomer stays")
async def equal_dials(t):
    node, peer, (old, new) = await two_links(t, 4, 4)
    await refused(old, Code.REPLACED)
    await echo(peer, node)
    await stays(new)


@trial("conversation: cheap frames without end are EXCESSIVE")
async def without_end(t):
    _, _, link = await t.connected("--mode", "echo")
    for _ in range(40):
        link.send_control(codec.frame(0x21, b"") * 5_000)
    await refused(link, Code.EXCESSIVE)


@trial("conversation: a flood of cheap frames and streams is read")
async def flood(t):
    node, peer, link = await t.connected("--mode", "echo")
    # Fewer than the least that an implementation reads at once.
    for _ in range(3):
        link.send_control(codec.frame(0x21, b"") * 4_500)
        link.send_control(codec.frame(codec.ACK, codec.varints(0, 0)) * 500)
    await echo(peer, node)
    await stays(link, 0.2)
