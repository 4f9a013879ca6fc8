"""Keys, PeerIds and certificates (section 2 of the document)."""

import hashlib
import os

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_INFO = bytes.fromhex("302a300506032b6570032100")
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PREFIX = "qp"
BECH32M = 0x2BC830A3
GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)

# The parts of the certificate that the document prints, around serial number, key and signature.
SERIAL_AND_MORE = bytes.fromhex("3081e3308196a003020102021001")
NAMES_AND_DATES = bytes.fromhex(
    "300506032b6570"
    "30133111300f06035504030c0871756963706f6f6c"
    "3020170d3730303130313030303030305a180f39393939313233313233353935395a"
    "30133111300f06035504030c0871756963706f6f6c"
)
SIGNATURE = bytes.fromhex("300506032b6570034100")


def _checksum(values: list[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATORS):
            if top >> bit & 1:
                state ^= generator
    return state


def _expanded_prefix() -> list[int]:
    letters = PREFIX.encode()
    return [letter >> 5 for letter in letters] + [0] + [letter & 31 for letter in letters]


def to_text(peer_id: bytes) -> str:
    """Writes a PeerId as bech32m."""
    number = int.from_bytes(peer_id, "big") << 4
    data = [number >> shift & 31 for shift in range(255, -1, -5)]
    check = _checksum(_expanded_prefix() + data + [0] * 6) ^ BECH32M
    data += [check >> shift & 31 for shift in range(25, -1, -5)]
    return PREFIX + "1" + "".join(ALPHABET[value] for value in data)


def from_text(text: str) -> bytes:
    """Reads a PeerId; ValueError if it is none."""
    if text not in (text.lower(), text.upper()) or len(text) != 61:
        raise ValueError("not a PeerId")
    text = text.lower()
    if not text.startswith(PREFIX + "1"):
        raise ValueError("not a PeerId")
    data = [ALPHABET.index(letter) for letter in text[3:]]
    if _checksum(_expanded_prefix() + data) != BECH32M:
        raise ValueError("the checksum does not match")
    number = 0
    for value in data[:52]:
        number = number << 5 | value
    if number & 15:
        raise ValueError("the unused bits are not zero")
    return (number >> 4).to_bytes(32, "big")


def split_address(text: str) -> tuple[bytes, tuple[str, int]]:
    """Splits PEERID@ADDRESS:PORT."""
    peer, _, address = text.partition("@")
    host, _, port = address.rpartition(":")
    return from_text(peer), (host.strip("[]"), int(port))


def peer_id_of(certificate: x509.Certificate) -> bytes:
    """Computes the PeerId from a certificate; ValueError if its key is of another kind."""
    info = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if len(info) != 44 or not info.startswith(KEY_INFO):
        raise ValueError("not an Ed25519 key")
    return hashlib.sha256(info).digest()


class Identity:
    """A key with its PeerId and its certificate."""

    def __init__(self, seed: bytes | None = None):
        self.seed = seed or os.urandom(32)
        self.key = Ed25519PrivateKey.from_private_bytes(self.seed)
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.public = self.key.public_key().public_bytes(*raw)
        self.key_info = KEY_INFO + self.public
        self.peer_id = hashlib.sha256(self.key_info).digest()
        self.certificate = x509.load_der_x509_certificate(self.certificate_bytes())

    @property
    def text(self) -> str:
        return to_text(self.peer_id)

    def certificate_bytes(self) -> bytes:
        """Writes the certificate that quicpool writes for this key."""
        head = SERIAL_AND_MORE + self.public[:15] + NAMES_AND_DATES + self.key_info
        return head + SIGNATURE + self.key.sign(head[3:])
