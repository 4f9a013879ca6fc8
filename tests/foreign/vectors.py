"""Checks the codec against every byte string of docs/wire.md, and that the document has each of them.

    python vectors.py [-v]
"""

import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from peer import codec, identity, records, sealing  # noqa: E402
from peer.codes import Code, Refused  # noqa: E402
from peer.flow import LINE_HEADER  # noqa: E402
from peer.quic import ALPN  # noqa: E402

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "wire.md"

SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
TEXT = "qp1qm3lmr769xakp26e2477v8kmptkdkgc3xjlrpe6mg40cuxme975s5nqyuw"
KEY = bytes(range(32))
OWN_HALF, OTHER_HALF = bytes(range(0xA0, 0xB0)), bytes(range(0xB0, 0xC0))
MESH_KEY = bytes(range(0x40, 0x60))


def span(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


def printed() -> str:
    """Returns the bytes that the blocks of the document show, without labels before and remarks after them."""
    blocks = re.findall(r"```text\n(.*?)```", DOCUMENT.read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    cells = [cell.replace(" ", "") for line in lines for cell in re.split(r"\s{2,}", line.strip())]
    return "".join(cell for cell in cells if re.fullmatch("([0-9a-f]{2})+", cell))


class Case(unittest.TestCase):
    def is_printed(self, data: bytes):
        """Fails unless the document has these bytes, in one line or over several."""
        self.assertTrue(data.hex() in PRINTED, f"the document does not have {data.hex()}")

    def has_text(self, text: str):
        """Fails unless this text is in the document."""
        self.assertTrue(text in DOCUMENT.read_text(), f"the document does not have {text!r}")


class Numbers(Case):
    def test_varints(self):
        for value, form in [
            (37, "25"),
            (15_293, "7bbd"),
            (494_878_333, "9d7f3e7d"),
            (151_288_809_941_952_652, "c2197c5eff14e88c"),
        ]:
            self.assertEqual(codec.varint(value).hex(), form)
            self.assertEqual(codec.Reader(bytes.fromhex(form)).varint(), value)
            self.has_text(f"| {value:,} | `{form}` |")

    def test_longer_forms_are_read(self):
        for size in (2, 4, 8):
            self.assertEqual(codec.Reader(codec.varint(37, size)).varint(), 37)
        with self.assertRaises(codec.Short):
            codec.Reader(b"\x40").varint()


class Identities(Case):
    def test_peer_id(self):
        own = identity.Identity(SECRET)
        self.assertEqual(own.text, TEXT)
        self.assertEqual(identity.from_text(TEXT), own.peer_id)
        self.assertEqual(identity.from_text(TEXT.upper()), own.peer_id)
        self.is_printed(own.key_info)
        self.is_printed(own.peer_id)
        self.has_text(f" {TEXT}\n")

    def test_bad_texts(self):
        for text in (TEXT[:-1] + "q", TEXT[:-1], "QP1" + TEXT[3:], TEXT.replace("qp1", "qq1")):
            with self.assertRaises(ValueError):
                identity.from_text(text)

    def test_certificate(self):
        own = identity.Identity(SECRET)
        self.is_printed(own.certificate_bytes())
        self.assertEqual(identity.peer_id_of(own.certificate), own.peer_id)

    def test_alpn(self):
        self.assertEqual(ALPN.encode().hex(), "71756963706f6f6c2f312d6431")


HELLO_PAIRS = [
    (codec.INCARNATION, (1_700_000_000_000).to_bytes(8, "big") + bytes.fromhex("0123456789abcdef")),
    (codec.DIAL, 1),
    (codec.CHECK, span(0xC0, 0xC7)),
    (codec.CAN_DIAL, 1),
    (codec.TIMEOUT, 300_000),
    (codec.HALF, OWN_HALF),
    (codec.KNOWN, OTHER_HALF),
    (codec.PASSAGE, 2_097_224),
    (codec.BODY_MAX, 1_048_580),
    (codec.MESSAGE_MAX, 1_048_576),
    (codec.CREDIT, 1_048_576),
]


class Frames(Case):
    def test_hello(self):
        encoded = codec.frame(codec.HELLO, codec.parameters(HELLO_PAIRS))
        self.is_printed(encoded)
        [(kind, body)] = codec.Frames().feed(encoded)
        self.assertEqual((kind, codec.read_hello(body)), (codec.HELLO, dict(HELLO_PAIRS)))

    def test_odd_hellos(self):
        for pairs in (
            HELLO_PAIRS[1:],
            HELLO_PAIRS[::-1],
            HELLO_PAIRS + HELLO_PAIRS[-1:],
            [(codec.INCARNATION, b"short")] + HELLO_PAIRS[1:],
        ):
            with self.assertRaises(Refused) as caught:
                codec.read_hello(codec.parameters(pairs))
            self.assertEqual(caught.exception.code, Code.MALFORMED_FRAME)

    def test_lines(self):
        lines = codec.Lines(70_000, 5, 2_097_224, 1, codec.Numbers(200, 150, 1_048_576))
        self.is_printed(codec.frame(codec.LINES, lines.encode()))
        self.assertEqual(codec.read_lines(lines.encode()), lines)
        unknown = codec.Lines(0, 0, 0)
        self.assertEqual(unknown.encode()[-3:].hex(), "000000")
        self.has_text("`000000`")
        self.assertEqual(codec.read_lines(unknown.encode()), unknown)

    def test_ack(self):
        ack = codec.Ack(70_000, 2_097_224, codec.Numbers(200, 150, 1_048_576))
        self.is_printed(codec.frame(codec.ACK, ack.encode()))
        self.assertEqual(codec.read_ack(ack.encode()), ack)

    def test_reasons(self):
        ack = codec.Ack(70_000, 0, codec.Numbers(200, 150, 0))
        self.is_printed(ack.encode())
        self.assertEqual(codec.read_ack(ack.encode()), ack)
        self.assertEqual(codec.varint(1_500).hex(), "45dc")
        self.is_printed(bytes.fromhex("45dc"))

    def test_stream_header(self):
        self.assertEqual(LINE_HEADER.hex(), "0100")
        self.has_text("\n01 00 ")

    def test_reserved_numbers(self):
        self.assertTrue(codec.is_grease(0x21) and codec.is_grease(0x40) and codec.is_grease(27 + 31, 27))
        self.assertFalse(codec.is_grease(0x22) or codec.is_grease(0x02))


PLAIN = records.Record(5, [b"hello", b""])
HEADED = records.Record(5, [b"hello", records.VOID], records.HEADED)


class Records(Case):
    def read(self, data: bytes, cipher=None) -> list[records.Record]:
        return list(records.Records(cipher, 1 << 20, 1 << 20).feed(data))

    def test_plain_and_headed(self):
        for record in (PLAIN, HEADED):
            encoded = records.encode(record, None)
            self.is_printed(encoded)
            self.assertEqual(self.read(encoded), [record])

    def test_sealed(self):
        seal, open_ = (sealing.LineCipher(KEY, OWN_HALF, 6) for _ in range(2))
        first, second, third = (records.encode(one, seal) for one in (PLAIN, PLAIN, HEADED))
        self.is_printed(first + second + third)
        self.assertEqual(self.read(first + second + third, open_), [PLAIN, PLAIN, HEADED])

    def test_sealed_for_another_place(self):
        sealed = records.encode(PLAIN, sealing.LineCipher(KEY, OWN_HALF, 6))
        for cipher in (
            sealing.LineCipher(KEY, OTHER_HALF, 6),
            sealing.LineCipher(KEY, OWN_HALF, 10),
            sealing.LineCipher(KEY[::-1], OWN_HALF, 6),
        ):
            with self.assertRaises(Refused) as caught:
                self.read(sealed, cipher)
            self.assertEqual(caught.exception.code, Code.SEAL_BROKEN)

    def test_contexts(self):
        self.is_printed(sealing.context(0, None))
        self.is_printed(sealing.context(1, MESH_KEY))

    def test_datagrams(self):
        sealer, opener = sealing.DatagramSealer(KEY), sealing.DatagramOpener(KEY)
        sealed = [sealer.seal(payload) for payload in (b"\0hello", b"\0hello", b"\0")]
        self.is_printed(b"".join(sealed))
        self.assertEqual([opener.open(one) for one in sealed], [b"\0hello", b"\0hello", b"\0"])
        self.assertEqual([opener.open(one) for one in sealed], [None] * 3)


PRINTED = printed()

if __name__ == "__main__":
    unittest.main()
