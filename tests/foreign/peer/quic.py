"""What the wire needs and aioquic does not offer: the TLS exporter, certificates of clients, reasons as bytes,
and an acceptor that makes connections of the class below."""

import ssl

from aioquic import tls
from aioquic.asyncio import server
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives import hashes

from .identity import Identity

ALPN = "quicpool/1-d1"
CONNECTION_CLOSE_APPLICATION = 0x1D


class Tls(tls.Context):
    """TLS with both ends authenticated, that keeps the secret of the exporter (RFC 8446 section 7.5)."""

    exporter_secret: bytes

    def _setup_traffic_protection(self, direction, epoch, label):
        # Both ends call this for their first direction of 1-RTT when the transcript ends with the Finished
        # of the server, which is where the secret of the exporter is derived.
        if epoch == tls.Epoch.ONE_RTT:
            self.exporter_secret = self.key_schedule.derive_secret(b"exp master")
        super()._setup_traffic_protection(direction, epoch, label)

    def _server_handle_hello(self, *arguments):
        super()._server_handle_hello(*arguments)
        # With a ticket there is no CertificateRequest, and aioquic waits for a certificate nevertheless.
        if self.session_resumed and self.state == tls.State.SERVER_EXPECT_CERTIFICATE:
            self._server_expect_finished()

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        algorithm = self.key_schedule.algorithm

        def expand(secret, label, data, length):
            digest = hashes.Hash(algorithm)
            digest.update(data)
            return tls.hkdf_expand_label(algorithm, secret, label, digest.finalize(), length)

        secret = expand(self.exporter_secret, label, b"", algorithm.digest_size)
        return expand(secret, b"exporter", context, length)


def allow_streams(quic: QuicConnection, count: int):
    """Sets the transport parameters for streams, before the handshake."""
    quic._local_max_streams_uni.value = quic._local_max_streams_uni.sent = count
    quic._local_max_streams_bidi.value = quic._local_max_streams_bidi.sent = 0


class ReasonBytes(str):
    """A reason that aioquic encodes to any bytes."""

    raw = b""

    def encode(self, *_):
        return self.raw


class Quic(QuicConnection):
    """A QUIC connection with the TLS above."""

    close_type: int | None = None
    close_code: int | None = None
    close_reason = b""

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        self.tls.__class__ = Tls
        self.tls._request_client_certificate = not self._is_client
        self.tls._signature_algorithms = [tls.SignatureAlgorithm.ED25519]
        self.tls._max_early_data = None

    def _handle_connection_close_frame(self, context, frame_type, buf):
        start = buf.tell()
        self.close_type, self.close_code = frame_type, buf.pull_uint_var()
        if frame_type != CONNECTION_CLOSE_APPLICATION:
            buf.pull_uint_var()
        self.close_reason = buf.pull_bytes(buf.pull_uint_var())
        buf.seek(start)
        super()._handle_connection_close_frame(context, frame_type, buf)

    def close_with(self, code: int, reason: bytes = b""):
        text = ReasonBytes("x" * len(reason))
        text.raw = reason
        self.close(error_code=code, reason_phrase=text)


def configuration(identity: Identity, is_client: bool, **changes) -> QuicConfiguration:
    """Builds the configuration of one end."""
    result = QuicConfiguration(is_client=is_client, alpn_protocols=[ALPN], supported_versions=[1])
    result.max_data, result.max_stream_data = 6 << 20, 4 << 20
    result.idle_timeout = 20.0
    # What loopback carries; aioquic does not look for it.
    result.max_datagram_size = 1440
    result.max_datagram_frame_size = 65535
    result.private_key, result.certificate = identity.key, identity.certificate
    result.verify_mode = ssl.CERT_NONE
    for name, value in changes.items():
        setattr(result, name, value)
    return result


# The acceptor of aioquic names the class of its connections itself.
server.QuicConnection = Quic
