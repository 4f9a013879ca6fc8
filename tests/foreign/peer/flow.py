"""The streams of line 0 on one connection, with credit and passage on both sides."""

from .codec import Reader, Short, varints
from .codes import Code, Refused
from .habits import Habits
from .records import Records

LINE = 0x01
LINE_HEADER = varints(LINE, 0)


class LineOut:
    """Writes the stream of line 0 within credit and passage. `send` takes bytes for QUIC."""

    def __init__(self, send, credit: int, passage: int):
        self.send, self.credit, self.passage = send, credit, passage
        self.written = 0
        self.waiting = b""

    @property
    def allowed(self) -> int:
        """Bytes that may be written at this moment."""
        return max(0, min(self.credit, self.passage) - self.written)

    def raise_to(self, credit: int, passage: int):
        self.credit, self.passage = max(self.credit, credit), max(self.passage, passage)

    def write(self, data: bytes = b""):
        """Writes what waits and then `data`, as far as it is allowed; the rest waits."""
        if data and not self.written and not self.waiting:
            self.waiting = LINE_HEADER
        self.waiting += data
        part = self.waiting[: self.allowed]
        if part:
            self.send(part)
            self.written += len(part)
            self.waiting = self.waiting[len(part) :]


class LineIn:
    """Reads the stream of line 0, and grants credit and passage."""

    def __init__(self, habits: Habits):
        self.habits = habits
        self.read = 0
        self.credit = habits.credit if habits.credit_step is None else habits.credit_step
        self.passage = habits.passage if habits.passage_step is None else habits.passage_step
        # What was stated to the other end.
        self.stated_credit, self.stated_passage = self.credit, self.passage

    def count(self, size: int):
        """Counts bytes that have arrived, the header of the stream included."""
        self.read += size
        if self.read > min(self.stated_credit, self.stated_passage):
            raise Refused(Code.OVER_CREDIT, f"{self.read} bytes")

    def grant(self, waiting: int):
        """Grants more, with so many bytes of messages waiting for the application."""
        habits = self.habits
        if habits.credit_step is None:
            self.credit = max(self.credit, self.read + habits.credit - waiting)
        elif self.read == self.credit:
            self.credit += habits.credit_step
        if habits.passage_step is None:
            self.passage = max(self.passage, self.read + habits.passage)
        elif self.read == self.passage:
            self.passage += habits.passage_step

    @property
    def is_urgent(self) -> bool:
        """Whether the other end waits for credit or passage."""
        return self.read >= min(self.stated_credit, self.stated_passage)

    @property
    def is_due(self) -> bool:
        """Whether a quarter of what is granted at most is due."""
        quarter = min(self.habits.credit, self.habits.passage) // 4
        grown = max(self.credit - self.stated_credit, self.passage - self.stated_passage)
        return grown >= quarter or (self.is_urgent and grown > 0)

    def state(self):
        self.stated_credit, self.stated_passage = self.credit, self.passage


class StreamIn:
    """A stream of the other end but its control stream: of line 0, or of an unknown type."""

    def __init__(self, stream_id: int):
        self.stream_id = stream_id
        self.waiting = b""
        self.arrived = self.counted = self.dropped = 0
        self.kind: int | None = None
        self.index: int | None = None
        self.is_finished = False
        self.records: Records | None = None

    def add(self, data: bytes, is_end: bool):
        self.waiting += data
        self.arrived += len(data)
        self.is_finished |= is_end

    def open(self):
        """Reads as much of the header as has arrived, and takes it off once it is complete."""
        reader = Reader(self.waiting)
        try:
            self.kind = reader.varint()
            self.index = reader.varint() if self.kind == LINE else None
        except Short:
            return
        self.waiting = self.waiting[reader.at :]

    @property
    def is_opened(self) -> bool:
        return self.kind is not None and (self.kind != LINE or self.index is not None)

    def drop(self):
        """Drops what has arrived of an unknown type."""
        self.dropped += len(self.waiting)
        self.waiting = b""

    def uncounted(self) -> int:
        """Returns the bytes that credit has not been charged for, and charges them."""
        size, self.counted = self.arrived - self.counted, self.arrived
        return size
