"""Peers of the base alone, processes that share an identity, restarts, and peers that are not wanted."""

import asyncio
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness import all_taken, arrived, echo, numbered, refused, stays, trial
from peer import codec
from peer.codes import Code
from peer.identity import Identity

BASE = (codec.INCARNATION, codec.DIAL, codec.CHECK, *codec.REQUIRED)


@trial("identities: an older peer that sends the minimum, both ways")
async def older(t):
    least = {
        "edit_hello": lambda own: [pair for pair in own if pair[0] in BASE],
        "datagrams": False,
        "streams": 2,
        "resumes": False,
        "message_max": 100,
        "body_max": 104,
    }
    node, peer, _ = await t.connected(**least)
    await echo(peer, node)
    node, peer = await t.node("--mode", "sink"), t.peer(**least)
    node.command_line("send", await peer.listen(), 10, 50)
    await arrived(peer, numbered(10, 50))
    for message in numbered(10):
        peer.send(node.id, message)
    await node.received(peer, 10)


async def alive(t, node, identity: Identity, started_ms: int):
    peer = t.peer(identity, started_ms)
    link = await peer.connect(node.address)
    assert link.is_confirmed, link.closed
    await echo(peer, node)
    return peer, link


@trial("identities: a later process takes the place of an earlier one")
async def later_process(t):
    node, identity = await t.node(), Identity()
    first, old = await alive(t, node, identity, 1_000_000)
    second, new = await alive(t, node, identity, 2_000_000)
    await refused(old, Code.IDENTITY_IN_USE)
    await stays(new)
    await echo(second, node, b"again")


def again(t, peer, **habits):
    """Makes a peer of the same incarnation."""
    same = t.peer(peer.identity, peer.started_ms, **habits)
    same.random = peer.random
    return same


@trial("identities: a later process that was given up is FORGOTTEN at once")
async def later_is_forgotten(t):
    node, identity = await t.node(), Identity()
    first, link = await alive(t, node, identity, 2_000_000)
    link.close_with(Code.IDLE)
    await node.line("status", reason="Idle")
    _, new = await alive(t, node, identity, 1_000_000)
    await refused(await again(t, first).dial(node.address), Code.FORGOTTEN)
    await stays(new)


@trial("identities: an earlier process that was given up is FORGOTTEN when it need not wait")
async def earlier_is_forgotten(t):
    node, identity = await t.node(), Identity()
    first, _ = await alive(t, node, identity, 1_000_000)
    second, new = await alive(t, node, identity, 2_000_000)
    # While the later one lives, it is the place that is not free.
    await refused(await again(t, first).dial(node.address), Code.IDENTITY_IN_USE)
    await stays(new)
    mark = node.mark()
    new.close_with(Code.IDLE)
    await node.line("status", since=mark, reason="Idle")
    await refused(await again(t, first).dial(node.address), Code.FORGOTTEN)
    await second.connect(node.address)
    await echo(second, node, b"still known")


@trial("identities: an earlier process is refused while a later one lives")
async def earlier_process(t):
    node, identity = await t.node(), Identity()
    _, new = await alive(t, node, identity, 2_000_000)
    second = t.peer(identity, 1_000_000)
    link = await second.dial(node.address)
    await refused(link, Code.IDENTITY_IN_USE)
    await stays(new)


@trial("identities: an earlier process comes in once the later one is gone")
async def later_process_is_gone(t):
    node, identity = await t.node(), Identity()
    _, new = await alive(t, node, identity, 2_000_000)
    second = t.peer(identity, 1_000_000)
    link = await second.dial(node.address)
    new.close_with(Code.IDLE)
    await second.until(lambda: link.is_confirmed or link.closed, 4)
    if not link.closed:
        await echo(second, node, b"in")
    else:
        # The later one may have answered the probe before it closed.
        assert link.closed.code == Code.IDENTITY_IN_USE, link.closed
        link = await second.connect(node.address)
        assert link.is_confirmed, link.closed


@trial("identities: a peer that lost its state, and what it did not take is reported")
async def state_lost(t):
    node, identity = await t.node("--mode", "sink"), Identity()
    first = t.peer(identity, acks=False)
    link = await first.connect(node.address)
    await node.connected_to(first)
    node.command_line("send", identity.text, 10, 20)
    await arrived(first, numbered(10, 20))
    link.cut()
    second = t.peer(identity)
    await second.connect(node.address)
    line = await node.line("undelivered", 12)
    assert (line["first"], line["end"], line["reason"]) == (0, 10, "PeerRestarted"), line
    node.command_line("send", identity.text, 5, 20)
    await arrived(second, numbered(5, 20))
    assert second.records[0].first == 10


@trial("identities: a peer that lost its state, and what it did not take comes again")
async def state_lost_and_resent(t):
    node, identity = await t.node("--mode", "sink", "--resend"), Identity()
    first = t.peer(identity, acks=False)
    link = await first.connect(node.address)
    await node.connected_to(first)
    node.command_line("send", identity.text, 10, 20)
    await arrived(first, numbered(10, 20))
    link.close_with(Code.IDLE, b"")
    await node.line("status", reason="Idle")
    second = t.peer(identity)
    await second.connect(node.address)
    await arrived(second, numbered(10, 20))
    assert not node.matching("undelivered") and second.records[0].first == 0


@trial("identities: the node restarts, its tickets are worth nothing, and it is another one")
async def restarted(t):
    seed = bytes(range(1, 33)).hex()
    node = await t.node("--seed", seed)
    peer = t.peer()
    link = await peer.connect(node.address)
    await echo(peer, node)
    await all_taken(peer, node)
    assert await peer.until(lambda: node.id in peer.tickets, 3)
    port = node.address.rsplit(":")[-1]
    await node.stop()
    peer.send(node.id, b"lost")
    node = await t.node("--seed", seed, "--bind", f"127.0.0.1:{port}")
    # A stateless reset answers the packets that are sent again.
    assert await peer.until(lambda: link.closed, 3), "no stateless reset"
    again = await peer.connect(node.address)
    assert again.is_confirmed and not again.was_resumed, again.closed
    assert again.hello[codec.INCARNATION] != link.hello[codec.INCARNATION]
    # What was written before is reported as lost, and what comes next arrives.
    await echo(peer, node, b"hello again")
    assert peer.session(node.id).undelivered == [1]
    t.remark(str(link.closed))


@trial("identities: a certificate of another library, expired and with a bad signature")
async def other_certificate(t):
    node, identity = await t.node(), Identity()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "someone.example")])
    names = x509.SubjectAlternativeName([x509.DNSName("someone.example")])
    builder = x509.CertificateBuilder(name, name, identity.key.public_key(), 7)
    builder = builder.not_valid_before(datetime(2001, 1, 1)).not_valid_after(datetime(2002, 1, 1))
    signed = builder.add_extension(names, critical=False).sign(identity.key, None)
    data = bytearray(signed.public_bytes(Encoding.DER))
    data[-1] ^= 1
    identity.certificate = x509.load_der_x509_certificate(bytes(data))
    peer = t.peer(identity)
    assert (await peer.connect(node.address)).is_confirmed
    await echo(peer, node)


@trial("identities: we have given up what the node still numbers, CALLED_OFF")
async def first_above_taken(t):
    node, peer, link = await t.connected()
    await echo(peer, node)
    await all_taken(peer, node)
    link.close_with(Code.IDLE)
    await node.line("status", reason="Idle")
    own = peer.session(node.id).own
    own.next = own.written = own.next + 5
    own.stated = own.taken = own.next
    again = await peer.dial(node.address)
    await refused(again, Code.CALLED_OFF)


@trial("identities: the node closes a connection to another peer, WRONG_PEER")
async def wrong_peer(t):
    node, peer, other = await t.node("--mode", "sink"), t.peer(), Identity()
    address = await peer.listen()
    node.command_line("send", f"{other.text}@{address.split('@')[1]}", 1, 10)
    assert await peer.until(lambda: peer.links and peer.links[0].closed, 5), "no connection"
    assert peer.links[0].closed.code in (Code.WRONG_PEER, 0x0C), peer.links[0].closed
    line = await node.line("status", reason="WrongPeer")
    assert peer.identity.text in line["reason"] or "found" in line["reason"], line


@trial("identities: strangers are refused by a node that knows none, NOT_ACCEPTED")
async def not_accepted(t):
    node, peer = await t.node("--known"), t.peer()
    link = await peer.dial(node.address)
    await refused(link, Code.NOT_ACCEPTED)


@trial("identities: the node's own identity, NOT_ACCEPTED")
async def own_identity(t):
    seed = bytes(range(32))
    node = await t.node("--seed", seed.hex())
    peer = t.peer(Identity(seed), meets_itself=True)
    assert peer.identity.peer_id == node.id
    await refused(await peer.dial(node.address), Code.NOT_ACCEPTED)


@trial("identities: no free slot, BUSY with a delay")
async def busy(t):
    node, first = await t.node("--connections-max", 1), t.peer()
    link = await first.connect(node.address)
    talk = asyncio.ensure_future(chatter(first, node))
    try:
        second = t.peer()
        other = await second.dial(node.address)
        await refused(other, Code.BUSY)
        delay = codec.Reader(other.closed.reason)
        t.remark(f"{delay.varint()} ms")
        assert not delay
        await stays(link)
    finally:
        talk.cancel()


async def chatter(peer, node):
    while True:
        peer.send(node.id, b"busy")
        await asyncio.sleep(0.01)


def fails_handshake(name: str, spoil):
    @trial(f"identities: {name} fails the handshake")
    async def run(t):
        node, peer = await t.node(), t.peer()
        spoil(peer)
        link = await peer.dial(node.address)
        await peer.until(lambda: link.closed, 5)
        assert link.closed and link.closed.by == "quic", link.closed
        t.remark(str(link.closed))


def without_certificate(peer):
    peer.habits.quic["certificate"] = None


def another_alpn(peer):
    peer.habits.quic["alpn_protocols"] = ["quicpool/1"]


def chain(peer):
    peer.habits.quic["certificate_chain"] = [Identity().certificate]


fails_handshake("a dialler without a certificate", without_certificate)
fails_handshake("a dialler with a chain", chain)
fails_handshake("another ALPN", another_alpn)
