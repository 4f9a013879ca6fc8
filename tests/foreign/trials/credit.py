"""Credit and passage: the node keeps to ours, and holds us to its own."""

import asyncio

from harness import all_taken, arrived, numbered, refused, stays, trial
from peer import codec
from peer.codes import Code
from peer.flow import LINE_HEADER

MIB = 1 << 20


def grants(name: str, messages: list[bytes], limit: float = 15, **habits):
    """Makes a trial of a peer that grants little; that the node keeps to it is checked by the peer."""

    @trial(f"credit: {name}", limit)
    async def run(t):
        node, peer, link = await t.connected("--mode", "sink", **habits)
        # With no credit in hello nothing would come that could be answered.
        link.acknowledge()
        node.command_line("send", peer.identity.text, len(messages), len(messages[0]))
        await arrived(peer, messages, limit - 2)
        assert (await node.line("sent"))["error"] is None
        node.command_line("flush", peer.identity.text)
        await node.line("flushed", error=None)
        assert not link.closed and len(peer.links) == 1
        t.remark(f"{len(link.acks)} acknowledgements of the node")


grants("1 byte at a time", numbered(3, 40), credit_step=1)
grants("7 bytes at a time", numbered(20, 100), credit_step=7)
grants("100 bytes at a time", numbered(100, 200), credit_step=100)
grants("no credit in hello, then 13 bytes at a time", numbered(10, 100), credit_step=13,
       edit_hello=lambda own: [(key, 0 if key == codec.CREDIT else value) for key, value in own])
grants("passage of 50 bytes at a time", numbered(20, 100), passage_step=50)
grants("passage 30 and credit 20 at a time", numbered(20, 100), passage_step=30, credit_step=20)
grants("messages of 1 MiB with 64 KiB at a time", numbered(2, MIB), 25, credit_step=64 * 1024)
grants("messages of 1 MiB with passage of 20,000 at a time", numbered(2, MIB), 25, passage_step=20_000)


@trial("credit: none is ever granted, then some: the node waits and loses nothing")
async def no_credit(t):
    node, peer, link = await t.connected("--mode", "sink", credit_step=500, acks=False)
    node.command_line("send", peer.identity.text, 50, 100)
    assert await peer.until(lambda: link.line_in.read == 500, 5), link.line_in.read
    await stays(link, 0.5)
    assert link.line_in.read == 500
    peer.habits.acks = True
    link.acknowledge()
    await arrived(peer, numbered(50, 100))
    assert not node.matching("undelivered")


@trial("credit: none is granted, the connection is lost, the next one goes on")
async def no_credit_and_a_cut(t):
    node, peer, link = await t.connected("--mode", "sink", credit_step=150, acks=False)
    node.command_line("send", peer.identity.text, 30, 100)
    assert await peer.until(lambda: link.line_in.read == 150, 5)
    link.cut()
    peer.habits.acks = True
    await peer.connect(node.address)
    await arrived(peer, numbered(30, 100))
    assert not node.matching("undelivered")


@trial("credit: a node that takes nothing stops us, and loses nothing")
async def stopped(t):
    node, peer, link = await t.connected("--mode", "hold", "--message-max", 2_000, "--inbox-max", 20_000)
    messages = numbered(300, 1_000)
    for message in messages:
        peer.send(node.id, message)
    await asyncio.sleep(0.7)
    written = link.line_out.written
    assert 10_000 < written < 120_000 and not link.closed, written
    assert link.line_out.allowed == 0, link.line_out.allowed
    await asyncio.sleep(0.3)
    assert link.line_out.written == written
    node.command_line("take", 300)
    await node.received(peer, 300)
    await all_taken(peer, node)
    t.remark(f"stopped after {written:,} bytes")


@trial("credit: messages of 1 MiB to a node with an inbox of 64 KiB", 25)
async def small_inbox(t):
    node, peer, link = await t.connected("--mode", "sink", "--inbox-max", 65_536)
    for message in numbered(3, MIB):
        peer.send(node.id, message)
    await node.received(peer, 3, 20)
    await all_taken(peer, node)
    assert not link.closed
    t.remark(f"first credit {link.hello[codec.CREDIT]:,}")


@trial("credit: what hello grants is the document's")
async def first_credit(t):
    _, _, link = await t.connected()
    hello = link.hello
    assert hello[codec.PASSAGE] == 2_097_224, hello[codec.PASSAGE]
    assert 0 < hello[codec.CREDIT] <= MIB and hello[codec.MESSAGE_MAX] == MIB, hello
    assert hello[codec.BODY_MAX] == 1_048_580 and hello[codec.TIMEOUT] == 300_000, hello
    quic = link._quic
    assert quic._remote_max_stream_data_uni == 2_097_224
    # 16,384 until our greeting is accepted, and then what credit admits with room for control frames.
    assert 16_384 <= quic._remote_max_data <= 16_384 + hello[codec.CREDIT] + 65_536, quic._remote_max_data
    assert quic._remote_max_datagram_frame_size == 65_535 and quic._remote_max_idle_timeout == 20.0


async def beyond(t, excess: int, *arguments) -> tuple:
    """Fills the stream of line 0 with one record that ends beyond what is granted."""
    node, peer, link = await t.connected("--mode", "hold", *arguments)
    out = link.line_out
    link.cipher_out = None
    size = min(out.credit, out.passage) + excess - len(LINE_HEADER) - 16
    # The header of a record whose body does not end within what is written.
    header = (MIB - 1).to_bytes(4, "big") + b"\0" + (1).to_bytes(3, "big") + bytes(8)
    out.credit = out.passage = 1 << 40
    out.write(header + bytes(size))
    link.transmit()
    return node, peer, link


@trial("credit: every byte of the node's credit may be used")
async def all_of_it(t):
    _, _, link = await beyond(t, 0, "--inbox-max", 10_000, "--message-max", MIB)
    await link.ping()
    await stays(link)


@trial("credit: bytes beyond credit are OVER_CREDIT")
async def over_credit(t):
    node, peer, link = await t.connected("--mode", "hold", "--inbox-max", 10_000, "--message-max", 2_000)
    link.line_out.credit = 1 << 40
    for message in numbered(100, 1_000):
        peer.send(node.id, message)
    await refused(link, Code.OVER_CREDIT)
    # What had arrived before is not lost, and the rest comes within the credit of the next connection.
    await peer.connect(node.address)
    node.command_line("take", 100)
    await node.received(peer, 100)


@trial("credit: the node's passage is never below its credit")
async def passage(t):
    for inbox in (1 << 16, MIB, 1 << 26):
        _, _, link = await t.connected("--inbox-max", inbox)
        assert link.hello[codec.PASSAGE] >= link.hello[codec.CREDIT], link.hello
