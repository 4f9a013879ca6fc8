"""Hellos and greetings as other implementations may write them, and as none may."""

from harness import Cases, echo, refused, trial
from peer import codec
from peer.codes import Code
from peer.link import hello_pairs, lines_body


def encoded(link, pairs=None, lines: codec.Lines | bytes | None = None) -> bytes:
    """Builds a greeting from other parameters or other LINES."""
    hello = pairs if isinstance(pairs, bytes) else codec.parameters(pairs or hello_pairs(link))
    body = lines or lines_body(link)
    body = body if isinstance(body, bytes) else body.encode()
    return codec.frame(codec.HELLO, hello) + codec.frame(codec.LINES, body)


def edited(edit):
    """Makes habits whose hello is edited: a function of the list of parameters."""
    return {"edit_hello": edit}


def added(*pairs):
    return edited(lambda own: sorted(own + list(pairs)))


def without(*keys):
    return edited(lambda own: [pair for pair in own if pair[0] not in keys])


def changed(key: int, value):
    return edited(lambda own: [(one, value if one == key else old) for one, old in own])


def longest(own):
    """Fills hello up to the longest body."""
    rest = codec.FRAME_BYTES_MAX - len(codec.parameters(own)) - 3
    return own + [(33, bytes(rest))]


def long_forms(link) -> bytes:
    """Builds a greeting whose varints have 8 bytes each."""
    hello = b""
    for key, value in hello_pairs(link):
        hello += codec.varint(key, 8)
        hello += codec.varint(len(value), 8) + value if key % 2 else codec.varint(value, 8)
    head = codec.varint(codec.HELLO, 4) + codec.varint(len(hello), 4)
    return head + hello + codec.frame(codec.LINES, lines_body(link).encode())


def with_lines(*values: int):
    """Makes habits whose LINES has these varints."""
    return {"greeting": lambda link: encoded(link, lines=codec.varints(*values))}


def with_known(*values: int):
    """Makes habits whose hello names a half, and whose LINES ends with these varints."""

    def build(link):
        pairs = sorted(hello_pairs(link) + [(codec.KNOWN, b"another half too")])
        return encoded(link, pairs, codec.varints(0, 1, 1, 0, 0, 0, 1 << 21, *values))

    return {"greeting": build}


ACCEPTED = {
    "unknown keys": added((5, b"five"), (8, 8), (11, b""), (20, 0), (63, b"x"), (64, 1), (4_000, 2)),
    "reserved keys": added((27, b"grease"), (58, 1), (27 + 31 * 1_000, b"")),
    "the largest key": added((codec.VARINT_MAX, b"last")),
    "4,096 bytes": edited(longest),
    "varints in long forms": {"greeting": long_forms},
    "no key 4": without(codec.CAN_DIAL),
    "key 4 is 0": changed(codec.CAN_DIAL, 0),
    "no dial number": without(codec.DIAL),
    "session timeout 2^62 - 1": changed(codec.TIMEOUT, codec.VARINT_MAX),
    "the greatest limits": edited(
        lambda own: [(key, codec.VARINT_MAX if key >= 10 else value) for key, value in own]
    ),
    "reserved and unknown frames": {
        "before_hello": codec.frame(0x21, bytes(4_096)) + codec.frame(0x07, b"") * 3,
        "after_hello": codec.frame(0x21 + 0x1F * 77, b"x") + codec.frame(0x3FFF, b"later"),
    },
    "a known half that is not the node's": with_known(0, 0, 0),
    "a known half that is not the node's, with numbers": with_known(1, 0, 1, 0, 5, 5, 100, 0),
    "LINES with next 5": with_lines(0, 5, 1, 0, 0, 0, 1 << 21, 0, 0, 0),
    "LINES with unknown flags": with_lines(0, 1, 1, 0, 0, 0xFE, 1 << 21, 0, 0, 0),
}

MALFORMED = {
    "keys in another order": edited(lambda own: own[::-1]),
    "two keys exchanged": edited(lambda own: own[:3] + [own[4], own[3]] + own[5:]),
    "a key twice": edited(lambda own: own + own[-1:]),
    "an unknown key twice": added((35, b"x"), (35, b"x")),
    "an unknown key out of order": edited(lambda own: own + [(11, b"x")]),
    "key 4 is 2": changed(codec.CAN_DIAL, 2),
    "incarnation of 15 bytes": changed(codec.INCARNATION, bytes(15)),
    "incarnation of 17 bytes": changed(codec.INCARNATION, bytes(17)),
    "check value of 7 bytes": changed(codec.CHECK, bytes(7)),
    "check value of 9 bytes": changed(codec.CHECK, bytes(9)),
    "half of 15 bytes": changed(codec.HALF, bytes(15)),
    "known half of 17 bytes": added((codec.KNOWN, bytes(17))),
    "known half of 0 bytes": added((codec.KNOWN, b"")),
}
MALFORMED.update({f"no key {key}": without(key) for key in codec.REQUIRED})
MALFORMED["a key without a value"] = {
    "greeting": lambda link: encoded(link, codec.parameters(hello_pairs(link)) + codec.varint(20))
}
MALFORMED["a value that is cut off"] = {
    "greeting": lambda link: encoded(link, codec.parameters(hello_pairs(link)) + b"\x21\x05abcd")
}
MALFORMED["an empty hello"] = {"greeting": lambda link: codec.frame(codec.HELLO, b"")}

OTHER_ORDERS = {
    "the greeting twice": {"greeting": lambda link: encoded(link) * 2},
    "hello, hello, LINES": {
        "greeting": lambda link: codec.frame(1, codec.parameters(hello_pairs(link))) + encoded(link)
    },
    "ACK first": {"before_hello": codec.frame(codec.ACK, codec.varints(0, 0))},
    "LINES first": {"before_hello": codec.frame(codec.LINES, codec.Lines(0, 0, 0).encode())},
    "ACK between hello and LINES": {"after_hello": codec.frame(codec.ACK, codec.varints(0, 0))},
}

BAD_LINES = {
    "next is 0": with_lines(0, 0, 1, 0, 0, 0, 100, 0, 0, 0),
    "no line is open": with_lines(0, 1, 0, 100, 0, 0, 0),
    "line 1 is open, too": with_lines(0, 2, 2, 0, 0, 0, 1, 0, 0, 100, 0, 0, 0),
    "line 1 is open alone": with_lines(0, 2, 1, 1, 0, 0, 100, 0, 0, 0),
    "line 0 is open twice": with_lines(0, 1, 2, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0),
    "line 0 has ended": with_lines(0, 1, 1, 0, 0, 1, 100, 0, 0, 0),
    "line 0 is live and unseen": with_lines(0, 1, 1, 0, 0, 0, 100, 1, 1, 0, 1, 0, 0, 0, 100, 0),
    "a line is seen of no half": with_lines(0, 1, 1, 0, 0, 0, 100, 1, 0, 0),
    "an unseen line": with_lines(0, 1, 1, 0, 0, 0, 100, 2, 1, 1, 0),
    "two lines are seen": with_known(2, 0, 0),
    "line 0 is live and unseen, with its half": with_known(1, 1, 0, 1, 0, 0, 0, 9, 0),
    "line 1 is live, with its half": with_known(2, 0, 1, 1, 0, 0, 9, 0),
    "line 1 is live": with_lines(0, 1, 1, 0, 0, 0, 100, 2, 0, 1, 1, 0, 0, 100, 0),
    "line 0 is live twice": with_lines(0, 1, 1, 0, 0, 0, 100, 1, 0, 2, *(0, 0, 0, 9, 0) * 2),
    "line 0 is live and not below seen": with_lines(0, 1, 1, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 9, 0),
}

MALFORMED_LINES = {
    "LINES is empty": {
        "greeting": lambda link: codec.frame(codec.HELLO, codec.parameters(hello_pairs(link))) + b"\x02\x00"
    },
    "LINES is cut off": with_lines(0, 1, 1, 0, 0, 0, 100, 0, 0),
    "bytes after LINES": with_lines(0, 1, 1, 0, 0, 0, 100, 0, 0, 0, 0),
    "LINES counts more than it has": with_lines(0, 1, 200, 0, 0, 0, 100, 0, 0, 0),
    "LINES counts 2^62 - 1": with_lines(0, 1, codec.VARINT_MAX, 0, 0, 0, 100, 0, 0, 0),
}

FRAME_TOO_LONG = {
    "hello of 4,097 bytes": edited(lambda own: own + [(33, bytes(4_097))]),
    "an unknown frame of 4,097 bytes": {"before_hello": codec.varints(0x21, 4_097)},
    "a frame of 2^62 - 1 bytes": {"before_hello": codec.varints(0x21, codec.VARINT_MAX)},
}


@trial("hellos: odd ones that must be accepted", 30)
async def accepted(t):
    node, cases = await t.node(), Cases()

    async def case(name: str, habits: dict):
        peer = t.peer(**habits)
        link = await peer.connect(node.address)
        assert link.is_confirmed, link.closed
        await echo(peer, node, name.encode(), 4)

    for name, habits in ACCEPTED.items():
        await cases.run(name, case(name, habits))
    cases.finish(t)


def refuses(what: str, kinds: dict, *codes: Code):
    @trial(f"hellos: {what}, {codes[0].name}", 30)
    async def run(t):
        node, cases = await t.node(), Cases()
        for name, habits in kinds.items():
            link = await t.peer(**habits).dial(node.address)
            await cases.run(name, refused(link, *codes, seconds=2))
        # None of them has disturbed the node.
        honest = t.peer()
        assert (await honest.connect(node.address)).is_confirmed
        await echo(honest, node)
        cases.finish(t)


refuses("a hello that cannot be read", MALFORMED, Code.MALFORMED_FRAME)
refuses("another order of frames", OTHER_ORDERS, Code.UNEXPECTED_HELLO)
refuses("LINES that contradicts itself", BAD_LINES, Code.BAD_LINE)
refuses("LINES that cannot be read", MALFORMED_LINES, Code.MALFORMED_FRAME, Code.BAD_LINE)
refuses("frames beyond 4,096 bytes", FRAME_TOO_LONG, Code.FRAME_TOO_LONG)


@trial("hellos: the node's violations are the same when it has dialled")
async def refused_by_the_dialler(t):
    cases = Cases()

    async def case(habits: dict, code: Code):
        node, peer = await t.node(), t.peer(**habits)
        node.command_line("send", await peer.listen(), 1, 10)
        assert await peer.until(lambda: peer.links), "the node does not dial"
        await refused(peer.links[0], code)

    for name, habits, code in (
        ("no half", without(codec.HALF), Code.MALFORMED_FRAME),
        ("another order of keys", edited(lambda own: own[::-1]), Code.MALFORMED_FRAME),
        ("ACK first", OTHER_ORDERS["ACK first"], Code.UNEXPECTED_HELLO),
        ("line 0 has ended", BAD_LINES["line 0 has ended"], Code.BAD_LINE),
        ("a long frame", FRAME_TOO_LONG["a frame of 2^62 - 1 bytes"], Code.FRAME_TOO_LONG),
    ):
        await cases.run(name, case(habits, code))
    cases.finish(t)


@trial("hellos: none within 5 s, HANDSHAKE_TIMEOUT")
async def silent(t):
    node = await t.node("--handshake-timeout", 700)
    peer = t.peer(greeting=lambda link: b"")
    link = await peer.dial(node.address)
    await refused(link, Code.HANDSHAKE_TIMEOUT, seconds=4)


def wait(link):
    link.is_waiting = True


@trial("hellos: of five that wait, the oldest is called off")
async def many_wait(t):
    node = await t.node()
    peer = t.peer(greeting=lambda link: b"", on_hello=wait)
    links = []
    for _ in range(5):
        links.append(await peer.dial(node.address))
        assert await peer.until(lambda: links[-1].keys), "no handshake"
    await refused(links[0], Code.CALLED_OFF, seconds=2)
    assert not any(link.closed for link in links[1:])


@trial("hellos: numbers of LINES that contradict themselves, BAD_ACKNOWLEDGEMENT")
async def bad_acknowledgement(t):
    node, cases = await t.node(), Cases()

    async def case(numbers: codec.Numbers):
        link = await t.peer().connect(node.address)
        # A later LINES is read as an acknowledgement.
        lines = codec.Lines(0, 0, 1 << 21, 1, numbers)
        link.send_control(codec.frame(codec.LINES, lines.encode()))
        await refused(link, Code.BAD_ACKNOWLEDGEMENT)

    await cases.run("taken above received", case(codec.Numbers(0, 1, 100)))
    await cases.run("received above what was written", case(codec.Numbers(1, 0, 100)))
    cases.finish(t)
