"""Messages in both directions, over one connection and over several."""

import asyncio

from harness import all_taken, arrived, echo, numbered, stays, trial
from peer.peer import LOOPBACK


@trial("messages: we dial, 1,000 each way in order")
async def we_dial(t):
    node, peer, _ = await t.connected("--mode", "sink")
    node.command_line("send", peer.identity.text, 1000, 64)
    for message in numbered(1000, 64):
        peer.send(node.id, message)
    await node.received(peer, 1000)
    await arrived(peer, numbered(1000, 64))
    await all_taken(peer, node)
    node.command_line("flush", peer.identity.text)
    await node.line("flushed", error=None)


@trial("messages: it dials, 1,000 each way in order")
async def it_dials(t):
    node, peer = await t.node("--mode", "sink"), t.peer()
    node.command_line("send", await peer.listen(), 1000, 64)
    for message in numbered(1000, 64):
        peer.send(node.id, message)
    await node.received(peer, 1000)
    await arrived(peer, numbered(1000, 64))
    await all_taken(peer, node)
    assert not peer.links[0].is_dialler and len(peer.links) == 1


@trial("messages: a cut in the middle, we dial again")
async def cut_and_dial(t):
    node, peer, link = await t.connected("--mode", "sink")
    node.command_line("send", peer.identity.text, 400, 4096)
    for message in numbered(300, 4096):
        peer.send(node.id, message)
    assert await peer.until(lambda: len(peer.messages) > 60), "nothing arrives"
    link.cut()
    before = len(peer.messages)
    for message in numbered(100, 4096, first=300):
        peer.send(node.id, message)
    again = await peer.connect(node.address)
    await arrived(peer, numbered(400, 4096))
    await node.received(peer, 400)
    await all_taken(peer, node)
    assert before < 400 and again.was_resumed
    assert not node.matching("undelivered") and not node.matching("restarted")
    t.remark(f"{before} of 400 before the cut")


@trial("messages: two cuts with much in flight, it dials again", 25)
async def cut_and_wait(t):
    node, peer = await t.node("--mode", "sink", "--liveness-timeout", 1000), t.peer()
    address = await peer.listen()
    node.command_line("send", address, 250, 6_000)
    for message in numbered(100, 6_000):
        peer.send(node.id, message)
    for cut in range(2):
        connections, messages = cut + 1, len(peer.messages)
        ready = lambda: len(peer.links) >= connections and len(peer.messages) >= messages + 40
        assert await peer.until(ready, 8), f"cut {cut}: {peer.links}"
        for link in peer.links:
            if not link.closed:
                link.cut()
    await arrived(peer, numbered(250, 6_000), 12)
    await node.received(peer, 100)
    await all_taken(peer, node)
    assert not node.matching("undelivered")
    t.remark(f"{len(peer.links)} connections")


@trial("messages: TLS resumes with a ticket, once")
async def resumption(t):
    node, peer, link = await t.connected()
    assert not link.was_resumed
    await echo(peer, node)
    assert await peer.until(lambda: node.id in peer.tickets), "the node gives no ticket"
    ticket = peer.tickets[node.id]
    link.close_with(0x01)
    again = await peer.connect(node.address)
    assert again.is_confirmed and again.was_resumed
    await echo(peer, node, b"resumed")
    again.close_with(0x01)
    peer.tickets[node.id] = ticket
    third = await peer.connect(node.address)
    assert third.is_confirmed and not third.was_resumed, "a ticket was taken twice"
    await echo(peer, node, b"third")


@trial("messages: the node resumes with our ticket")
async def resumption_of_the_node(t):
    node, peer = await t.node("--mode", "sink"), t.peer()
    address = await peer.listen()
    node.command_line("send", address, 1, 10)
    await arrived(peer, numbered(1, 10))
    peer.links[0].close_with(0x01)
    await node.line("status", to="Disconnected")
    node.command_line("send", address, 1, 10)
    await arrived(peer, numbered(1, 10) * 2)
    assert [link.was_resumed for link in peer.links] == [False, True]


@trial("messages: both ends dial at one time, one connection stays")
async def both_dial(t):
    node, peer = await t.node("--mode", "sink"), t.peer()
    address = await peer.listen()
    node.command_line("send", address, 200, 100)
    await peer.dial(node.address)
    for message in numbered(200, 100):
        peer.send(node.id, message)
    await arrived(peer, numbered(200, 100))
    await node.received(peer, 200)
    await all_taken(peer, node)
    alive = lambda: [link for link in peer.links if link.is_confirmed and not link.closed]
    assert await peer.until(lambda: len(alive()) == 1, 3), f"{len(alive())} connections"
    t.remark(f"{len(peer.links)} dialled")


@trial("messages: of no bytes, of 1 MiB, and all between")
async def sizes(t):
    node, peer, _ = await t.connected("--mode", "echo")
    messages = [bytes([size % 251]) * size for size in (0, 1, 63, 64, 16_383, 16_384, 70_000, 1 << 20)]
    for message in messages:
        peer.send(node.id, message)
    await arrived(peer, messages)
    await all_taken(peer, node)


@trial("messages: after we have moved to another port")
async def moved(t):
    node, peer, link = await t.connected()
    await echo(peer, node)
    old = link._transport
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: link, local_addr=(LOOPBACK, 0))
    assert link._transport is not old
    old.close()
    for number in range(5):
        await echo(peer, node, b"%d" % number)
    await stays(link)


@trial("messages: through a Retry of ours")
async def retry(t):
    node, peer = await t.node("--mode", "sink"), t.peer(retry=True)
    node.command_line("send", await peer.listen(), 10, 100)
    await arrived(peer, numbered(10, 100))
    assert peer.links[0]._quic._retry_source_connection_id, "there was no Retry"


@trial("messages: after a key update and with another connection id")
async def key_update(t):
    node, peer, link = await t.connected()
    await echo(peer, node)
    link.request_key_update()
    await link.ping()
    link.change_connection_id()
    await link.ping()
    await echo(peer, node, b"afterwards")
