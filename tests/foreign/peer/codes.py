"""Close codes (section 9 of the document), and the exception that carries one."""

import enum


class Code(enum.IntEnum):
    """The application error codes of CONNECTION_CLOSE."""

    GOODBYE = 0x00
    IDLE = 0x01
    EVICTED = 0x02
    REPLACED = 0x03
    BUSY = 0x04
    WRONG_PEER = 0x05
    VERSION_MISMATCH = 0x06
    SEALING_MISMATCH = 0x07
    NOT_ACCEPTED = 0x08
    IDENTITY_IN_USE = 0x09
    CALLED_OFF = 0x0A
    HANDSHAKE_TIMEOUT = 0x0B
    FORGOTTEN = 0x0C
    MALFORMED_FRAME = 0x11
    FRAME_TOO_LONG = 0x12
    UNEXPECTED_HELLO = 0x13
    UNEXPECTED_STREAM = 0x14
    MALFORMED_RECORD = 0x15
    RECORD_TOO_LONG = 0x16
    SEAL_BROKEN = 0x17
    GAP = 0x18
    BAD_ACKNOWLEDGEMENT = 0x19
    BAD_LINE = 0x1A
    OVER_CREDIT = 0x1B
    EXCESSIVE = 0x1C
    OVER_BUDGET = 0x1D

    @property
    def is_deliberate(self) -> bool:
        """Whether the reason may carry a final acknowledgement."""
        return self <= Code.REPLACED


class Refused(Exception):
    """The other end did what the document forbids, or is not to be talked to: close with `code`."""

    def __init__(self, code: Code, why: str = ""):
        super().__init__(f"{code.name}: {why}" if why else code.name)
        self.code = code


def name_of(code: int) -> str:
    """Names a code, known or not."""
    try:
        return Code(code).name
    except ValueError:
        return f"code {code:#x}"
