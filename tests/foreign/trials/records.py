"""Records of every form, from both ends."""

import asyncio

from harness import all_taken, arrived, echo, numbered, refused, trial
from peer import codec, records
from peer.codec import varint
from peer.codes import Code
from peer.peer import LOOPBACK
from peer.records import HEADED, PLAIN, VOID, Record
from peer.sealing import LineCipher

MIB = 1 << 20


def write(link, head: bytes, body: bytes):
    """Seals and writes a record of any form."""
    session = link.session
    if link.cipher_out is None:
        link.cipher_out = LineCipher(link.keys.seal, link.own_half, link.line_out_id)
    session.own.written = 1 << 40
    link.line_out.write(head + link.cipher_out.seal(head, body))
    link.transmit()


@trial("records: headed ones with voids and messages mixed")
async def voids(t):
    node, peer, _ = await t.connected("--mode", "echo", batch=7)
    expected = []
    for number in range(200):
        message = VOID if number % 3 == 1 or 60 <= number < 80 else b"%d" % number
        peer.send(node.id, message)
        expected += [message] if message is not VOID else []
    await arrived(peer, expected)
    await all_taken(peer, node)


@trial("records: voids alone, first and last are taken")
async def only_voids(t):
    node, peer, _ = await t.connected("--mode", "echo", batch=5)
    for message in [VOID] * 11 + [b"one"] + [VOID] * 11:
        peer.send(node.id, message)
    await arrived(peer, [b"one"])
    await all_taken(peer, node)


@trial("records: headed though nothing needs it, with an age, and plain ones between")
async def headed(t):
    node, peer, link = await t.connected("--mode", "echo")
    for number in range(20):
        peer.habits.headed = number % 2 == 0
        await echo(peer, node, b"%d" % number)
    head = records.header(3, HEADED, 1, 20, age=4_000_000)
    write(link, head, b"\0" + varint(1) + b"!")
    assert await peer.until(lambda: peer.messages[-1] == b"!", 3)


@trial("records: unknown keys in the head of a void are skipped")
async def keys_of_a_void(t):
    node, peer, link = await t.connected("--mode", "echo")
    body = records.head_with(3, [(2, 7), (33, b"more"), (64, 1)]) + varint(0) + b"\0\1!"
    write(link, records.header(len(body), HEADED, 2, 0), body)
    await arrived(peer, [b"!"])


@trial("records: the node makes a void of a message that is too long for us")
async def void_of_the_node(t):
    node = await t.node("--mode", "sink")
    peer = t.peer(message_max=1_000, body_max=5_000)
    # Accepted before the node knows our limits, for an address where nothing answers.
    loop = asyncio.get_running_loop()
    silent, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(LOOPBACK, 0))
    t.stack.callback(silent.close)
    address = f"{peer.identity.text}@{LOOPBACK}:{silent.get_extra_info('sockname')[1]}"
    for size in (500, 1_001, 600, 1_000, 4_999):
        mark = node.mark()
        node.command_line("send", address, 1, size)
        await node.line("sent", since=mark, error=None)
    await peer.connect(node.address)
    await arrived(peer, [numbered(1, size)[0] for size in (500, 600, 1_000)])
    assert await peer.until(lambda: peer.session(node.id).other.taken == 5)
    await node.line("undelivered", first=4)
    lost = node.matching("undelivered")
    numbers = [number for line in lost for number in range(line["first"], line["end"])]
    assert numbers == [1, 4], lost
    assert all(line["reason"].startswith("TooLarge") for line in lost), lost
    entries = [entry for record in peer.records for entry in record.entries]
    assert entries.count(VOID) == 2 and len(entries) == 5, entries
    assert any(record.kind == HEADED for record in peer.records)
    node.command_line("flush", peer.identity.text)
    await node.line("flushed")
    await node.delivered(peer, 3)
    assert (await node.metrics(peer))["outbox_bytes"] == 0


@trial("records: the node keeps to our limits of a body")
async def small_bodies(t):
    node, peer, _ = await t.connected("--mode", "sink", message_max=200, body_max=300)
    node.command_line("send", peer.identity.text, 100, 150)
    await arrived(peer, numbered(100, 150))
    assert max(len(record.entries) for record in peer.records) == 1


@trial("records: the first of a half may have any number")
async def any_first(t):
    node, peer = await t.node(), t.peer()
    own = peer.session(node.id).own
    own.next = own.written = (1 << 62) - 1_000
    await peer.connect(node.address)
    await echo(peer, node)
    await echo(peer, node, b"again")


@trial("records: what was received is dropped one by one")
async def repeated(t):
    node, peer, link = await t.connected("--mode", "sink")
    for message in numbered(10):
        peer.send(node.id, message)
    await node.received(peer, 10)
    for first, count in ((0, 10), (3, 4), (5, 10), (0, 20)):
        link.write_record(Record(first, numbered(count, first=first)))
    peer.session(node.id).own.written = 20
    link.transmit()
    await node.received(peer, 20)


def refuses(name: str, code: Code, head: bytes, body: bytes):
    @trial(f"records: {name}, {code.name}")
    async def run(t):
        node, peer, link = await t.connected("--mode", "echo")
        write(link, head, body)
        await refused(link, code)
        peer.session(node.id).own.written = 0
        again = await peer.connect(node.address)
        assert again.is_confirmed and codec.KNOWN not in again.hello, "something of it was used"
        await echo(peer, node)


def one(kind: int, body: bytes, count: int = 1, first: int = 0, length: int | None = None):
    size = len(body) if length is None else length
    return records.header(size, kind, count, first), body


MALFORMED = {
    "kind 2": one(2, b"\1a"),
    "kind 255": one(255, b"\1a"),
    "no entries": one(PLAIN, b"\1a", count=0),
    "no body": one(PLAIN, b"", count=1),
    "more entries than bytes": one(PLAIN, b"\0\0", count=3),
    "fewer entries than the body has": one(PLAIN, b"\1a\1b", count=1),
    "an entry that is cut off": one(PLAIN, b"\5abcd"),
    "a number beyond 2^62 - 1": one(PLAIN, b"\1a", first=(1 << 62) - 1),
    "entry kind 2": one(HEADED, records.head_with(2, []) + b"\1a"),
    "entry kind 4": one(HEADED, records.head_with(4, []) + b"\0"),
    "a void with a message": one(HEADED, records.head_with(3, []) + b"\1a"),
    "keys of a head out of order": one(HEADED, records.head_with(3, [(4, 1), (2, 1)]) + b"\0"),
    "a key of a head without a value": one(HEADED, b"\2\3\2\0"),
    "a head that is cut off": one(HEADED, b"\x09\3"),
}
for name, (head, body) in MALFORMED.items():
    refuses(name, Code.MALFORMED_RECORD, head, body)
refuses("a body of 1,048,581 bytes", Code.RECORD_TOO_LONG, *one(PLAIN, b"", length=MIB + 5))
refuses("a body of 4 GiB", Code.RECORD_TOO_LONG, *one(PLAIN, b"", length=0xFFFFFFFF))


@trial("records: a message beyond the node's limit, RECORD_TOO_LONG")
async def too_long(t):
    node, peer, link = await t.connected("--message-max", 1_000)
    body = varint(1_001) + bytes(1_001)
    write(link, *one(PLAIN, body))
    await refused(link, Code.RECORD_TOO_LONG)


@trial("records: numbers that are missing, GAP")
async def gap(t):
    node, peer, link = await t.connected("--mode", "echo")
    await echo(peer, node)
    link.write_record(Record(2, [b"three"]))
    link.transmit()
    await refused(link, Code.GAP)
    await peer.connect(node.address)
    await echo(peer, node, b"two")
    assert peer.messages == [b"hello", b"two"]


def spoils(name: str, spoil):
    @trial(f"records: {name}, SEAL_BROKEN")
    async def run(t):
        node, peer, link = await t.connected("--mode", "echo")
        await echo(peer, node)
        sealed = bytearray(records.encode(Record(1, [b"spoilt"]), link.cipher_out))
        spoil(sealed, link)
        link.line_out.write(bytes(sealed))
        link.transmit()
        await refused(link, Code.SEAL_BROKEN)
        await peer.connect(node.address)
        await echo(peer, node, b"whole")
        assert b"spoilt" not in peer.messages


def flip(at: int):
    def spoil(sealed, _):
        sealed[at] ^= 1

    return spoil


def replay(sealed, link):
    link.cipher_out.records -= 2
    sealed[:] = records.encode(Record(1, [b"spoilt"]), link.cipher_out)


spoils("a bit of the tag is wrong", flip(-1))
spoils("a bit of the body is wrong", flip(17))
spoils("a bit of the number is wrong", flip(15))
spoils("a record of another place on the stream", replay)
