"""Datagrams: flows, seals, and those that are dropped."""

import asyncio

from harness import echo, stays, trial
from peer.codec import varint
from peer.link import greeting
from peer.sealing import COUNTER_END, DatagramSealer


async def dropped(node, peer, link, mark: int):
    """Checks that no datagram has arrived since a mark, while later ones and messages do."""
    link.send_datagram(b"later")
    await node.line("datagram", since=mark, text="later")
    assert len(node.matching("datagram", mark)) == 1, node.matching("datagram", mark)
    await echo(peer, node)


@trial("datagrams: of flow 0 both ways")
async def flow_0(t):
    node, peer, link = await t.connected()
    for number in range(20):
        link.send_datagram(b"number %d" % number)
        assert await peer.until(lambda: len(peer.datagrams) == number + 1, 3), "no datagram is back"
    link.send_datagram(b"")
    assert await peer.until(lambda: len(peer.datagrams) == 21, 3), "an empty one is lost"
    node.command_line("datagram", peer.identity.text, "hello")
    assert await peer.until(lambda: len(peer.datagrams) == 22, 3)
    assert peer.datagrams[0] == (node.id, b"number 0") and peer.datagrams[-1][1] == b"hello"


@trial("datagrams: of flow 0 with sealing off")
async def unsealed(t):
    node, peer, link = await t.connected("--unsealed", sealing=False)
    link.send_datagram(b"plain")
    await node.line("datagram", text="plain")
    assert await peer.until(lambda: peer.datagrams == [(node.id, b"plain")], 3)
    mark = node.mark()
    link.send_raw_datagram(b"")
    link.send_raw_datagram(b"\x40")
    link.send_datagram(b"other", flow=1)
    await dropped(node, peer, link, mark)


@trial("datagrams: of other flows, unsealed, too short, spoilt, repeated are dropped")
async def others(t):
    node, peer, link = await t.connected()
    link.send_datagram(b"first")
    await node.line("datagram", text="first")
    mark = node.mark()
    for flow in (1, 63, 64, (1 << 62) - 1):
        link.send_datagram(b"other", flow=flow)
    no_flow = link.sealer.seal(b"")
    spoilt = bytearray(link.sealer.seal(b"\0spoilt"))
    spoilt[-1] ^= 1
    again = DatagramSealer(link.keys.datagram_out)
    again.count = 0
    beyond = DatagramSealer(link.keys.datagram_out)
    beyond.count = COUNTER_END
    for data in (b"", b"x", bytes(23), bytes(24), no_flow, spoilt, again.seal(b"\0first"), beyond.seal(b"\0far")):
        link.send_raw_datagram(bytes(data))
    await dropped(node, peer, link, mark)


@trial("datagrams: the flow may be in a long form")
async def long_flow(t):
    node, peer, link = await t.connected()
    link.send_raw_datagram(link.sealer.seal(varint(0, 8) + b"long"))
    await node.line("datagram", text="long")


@trial("datagrams: out of order within 960, and not behind them")
async def window(t):
    node, peer, link = await t.connected()
    sealed = [link.sealer.seal(b"\0%d" % number) for number in range(1_001)]
    # Each that is dropped is followed by one more, which moves the window by one.
    for number, is_seen in ((1_000, True), (999, True), (41, True), (40, False), (41, False), (1_000, False)):
        mark = node.mark()
        link.send_raw_datagram(sealed[number])
        if is_seen:
            await node.line("datagram", since=mark, text=str(number))
        else:
            await dropped(node, peer, link, mark)


@trial("datagrams: before the greeting they are dropped, and the connection goes on")
async def early(t):
    node = await t.node()
    peer = t.peer(greeting=lambda link: b"")
    link = await peer.dial(node.address)
    assert await peer.until(lambda: link.keys), "no handshake"
    mark = node.mark()
    link.send_datagram(b"early")
    await asyncio.sleep(0.1)
    link.send_control(greeting(link))
    assert await peer.until(lambda: link.is_confirmed, 3)
    await echo(peer, node)
    await dropped(node, peer, link, mark)


@trial("datagrams: to a peer without them none are sent")
async def without(t):
    node, peer, link = await t.connected(datagrams=False)
    await echo(peer, node)
    node.command_line("datagram", peer.identity.text, "hello")
    line = await node.line("datagram_sent")
    assert line["error"], line
    await stays(link)


@trial("datagrams: a node without them states no size")
async def node_without(t):
    node, peer, link = await t.connected("--no-datagrams")
    assert not link._quic._remote_max_datagram_frame_size
    await echo(peer, node)
