"""Keys from the exporter, sealed records and sealed datagrams (sections 7 and 11)."""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .codes import Code, Refused

TAG = 16
DIALLER, ACCEPTOR = 0, 1
COUNTER_END = 1 << 48
WINDOW = 960


def context(direction: int, mesh_key: bytes | None) -> bytes:
    """Builds the context of the exporter."""
    return struct.pack(">HBB32s", 1, direction, mesh_key is not None, mesh_key or bytes(32))


class Keys:
    """Everything that one connection exports. `export` takes label, context and length."""

    def __init__(self, export, mesh_key: bytes | None, is_dialler: bool):
        mine, other = (DIALLER, ACCEPTOR) if is_dialler else (ACCEPTOR, DIALLER)

        def derive(label: str, direction: int, size: int) -> bytes:
            return export(f"EXPORTER-quicpool-{label}".encode(), context(direction, mesh_key), size)

        self.my_check, self.other_check = derive("check", mine, 8), derive("check", other, 8)
        self.seal, self.open = derive("seal", mine, 32), derive("seal", other, 32)
        self.datagram_out = derive("datagram", mine, 32)
        self.datagram_in = derive("datagram", other, 32)


class LineCipher:
    """Seals or opens the records of one stream of a line."""

    def __init__(self, key: bytes, half: bytes, stream_id: int, index: int = 0):
        self.cipher = ChaCha20Poly1305(key)
        self.ordinal = stream_id // 4
        self.prefix = half + index.to_bytes(8, "big")
        self.records = 0

    def _next_nonce(self) -> bytes:
        self.records += 1
        return struct.pack(">IQ", self.ordinal, self.records - 1)

    def seal(self, header: bytes, body: bytes) -> bytes:
        return self.cipher.encrypt(self._next_nonce(), body, self.prefix + header)

    def open(self, header: bytes, sealed: bytes) -> bytes:
        try:
            return self.cipher.decrypt(self._next_nonce(), sealed, self.prefix + header)
        except InvalidTag:
            raise Refused(Code.SEAL_BROKEN) from None


class DatagramSealer:
    """Seals datagrams, counted from 0."""

    def __init__(self, key: bytes):
        self.cipher, self.count = ChaCha20Poly1305(key), 0

    def seal(self, payload: bytes) -> bytes:
        counter = self.count.to_bytes(8, "big")
        self.count += 1
        return counter + self.cipher.encrypt(bytes(4) + counter, payload, counter)


class DatagramOpener:
    """Opens datagrams, each once."""

    def __init__(self, key: bytes):
        self.cipher, self.greatest, self.seen = ChaCha20Poly1305(key), -1, set()

    def open(self, datagram: bytes) -> bytes | None:
        """Returns the payload, or None if the datagram is to be dropped."""
        counter = int.from_bytes(datagram[:8], "big")
        if len(datagram) < 24 or counter >= COUNTER_END:
            return None
        if counter in self.seen or counter <= self.greatest - WINDOW:
            return None
        try:
            nonce = bytes(4) + datagram[:8]
            payload = self.cipher.decrypt(nonce, datagram[8:], datagram[:8])
        except InvalidTag:
            return None
        self.greatest = max(self.greatest, counter)
        self.seen = {one for one in self.seen | {counter} if one > self.greatest - WINDOW}
        return payload
