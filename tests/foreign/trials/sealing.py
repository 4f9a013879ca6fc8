"""Check values, mesh keys, and peers that have one half of what they need."""

import os

from harness import arrived, echo, numbered, refused, stays, trial
from peer import codec
from peer.codes import Code
from peer.identity import Identity
from peer.link import greeting

MESH_KEY = bytes(range(0x40, 0x60))
WITH_KEY = ("--mesh-key", MESH_KEY.hex())


def echoing(link) -> None:
    """Sends the greeting late, with the check value of the other end."""
    link.keys.my_check = link.hello[codec.CHECK]
    # What this end expects is no question here.
    link.keys.other_check = link.hello[codec.CHECK]
    link.send_control(greeting(link))


PARROT = {"greeting": lambda link: b"", "on_hello": echoing}


async def dialled_by(node, peer):
    """Lets the node dial a peer, and returns the connection once its handshake is done."""
    node.command_line("send", await peer.listen(), 1, 10)
    assert await peer.until(lambda: peer.links and peer.links[0].keys), "the node does not dial"
    return peer.links[0]


@trial("sealing: an echoed check value of a dialler, SEALING_MISMATCH")
async def parrot_dials(t):
    node = await t.node(*WITH_KEY)
    peer = t.peer(**PARROT)
    link = await peer.dial(node.address)
    await refused(link, Code.SEALING_MISMATCH)


@trial("sealing: an echoed check value of an acceptor, SEALING_MISMATCH")
async def parrot_accepts(t):
    node = await t.node(*WITH_KEY)
    link = await dialled_by(node, t.peer(**PARROT))
    await refused(link, Code.SEALING_MISMATCH)
    await node.line("status", reason="SealingMismatch")


@trial("sealing: the right mesh key, both ways")
async def right_key(t):
    node, peer, _ = await t.connected(*WITH_KEY, mesh_key=MESH_KEY)
    await echo(peer, node)
    node, peer = await t.node("--mode", "sink", *WITH_KEY), t.peer(mesh_key=MESH_KEY)
    await dialled_by(node, peer)
    await arrived(peer, numbered(1, 10))


def mismatches(name: str, arguments: tuple, **habits):
    @trial(f"sealing: {name}, SEALING_MISMATCH")
    async def run(t):
        node, peer = await t.node(*arguments), t.peer(**habits)
        await refused(await peer.dial(node.address), Code.SEALING_MISMATCH)
        peer = t.peer(**habits)
        await refused(await dialled_by(node, peer), Code.SEALING_MISMATCH)
        await node.line("status", reason="SealingMismatch")


def deaf(**more):
    """Makes habits of a peer that compares nothing, so that the node has to."""

    def agree(link):
        link.hello[codec.CHECK] = link.keys.other_check
        if not link.habits.sealing:
            del link.hello[codec.CHECK]

    return {"on_hello": agree, **more}


mismatches("another mesh key", WITH_KEY, **deaf(mesh_key=os.urandom(32)))
mismatches("no mesh key here", WITH_KEY, **deaf())
mismatches("no mesh key there", (), **deaf(mesh_key=MESH_KEY))
mismatches("off here", (), **deaf(sealing=False))
mismatches("off there", ("--unsealed",), **deaf())
mismatches(
    "one bit of the check value is wrong",
    WITH_KEY,
    mesh_key=MESH_KEY,
    edit_hello=lambda own: [
        (key, value[:-1] + bytes([value[-1] ^ 1]) if key == codec.CHECK else value) for key, value in own
    ],
)


@trial("sealing: off at both ends")
async def off(t):
    node, peer, _ = await t.connected("--unsealed", sealing=False)
    await echo(peer, node)
    await echo(peer, node, bytes(100_000))


@trial("sealing: a thief without the mesh key disturbs nothing")
async def thief(t):
    identity = Identity()
    node = await t.node("--mode", "sink", *WITH_KEY)
    honest = t.peer(identity, mesh_key=MESH_KEY, acks=False)
    link = await honest.connect(node.address)
    await node.connected_to(honest)
    node.command_line("send", identity.text, 5, 20)
    await arrived(honest, numbered(5, 20))
    session = honest.session(node.id)
    for habits in (PARROT, deaf(), deaf(mesh_key=os.urandom(32)), deaf(sealing=False)):
        stolen = t.peer(identity, **habits)
        # The thief knows everything but the mesh key: both halves and the numbers.
        other = stolen.session(node.id)
        other.own.id, other.own.next, other.random = session.own.id, 1, session.random
        other.other = session.other
        wrong = await stolen.dial(node.address)
        await refused(wrong, Code.SEALING_MISMATCH)
        await stays(link, 0.1)
        metrics = await node.metrics(honest)
        assert metrics["delivered"] == 0 and metrics["outbox_bytes"] == 105, metrics
        assert not node.matching("undelivered") and not node.matching("restarted")
    assert len(node.matching("status")) == len(node.matching("status", to="Con")), node.lines
    honest.habits.acks = True
    for message in numbered(3):
        honest.send(node.id, message)
    await node.received(honest, 3)
    node.command_line("send", identity.text, 5, 20)
    await arrived(honest, numbered(5, 20) * 2)
    await stays(link)
