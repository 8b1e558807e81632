"""The exchange of a request and its reply: times and raw bytes, not parsed."""

from __future__ import annotations

from typing import Literal, Protocol

from mls.core.units import MIB

Clock = Literal["kernel", "user"]

Read = tuple[bytes, bytes, int, int]
"""One read: its bytes, the kernel's raw timestamp (b"" without one), the time at which the client
had them (`CLOCK_MONOTONIC`, ns), and the offset in ns of the wall clock to that clock then."""

MOST_BYTES = 256 * MIB
"""The most bytes of a reply, which is kept until the load is over."""

TOO_LONG = f"the reply is longer than {MOST_BYTES // MIB} MiB"


class Exchange:
    """One request and its reply, as seen on the wire.

    Times are `CLOCK_MONOTONIC` in ns, 0 for an event that did not happen. While load is running a
    transport may fill `reads` only; `unframe` makes the other fields of them. `arrived_ns[i]` is
    when the newest byte of the i-th read reached the host, `read_ns[i]` when the client had it.
    `pieces` has (bytes of the body, index of the read).
    """

    __slots__ = (
        "arrived_ns",
        "attempts",
        "cancel_after_ns",
        "connected_ns",
        "end_ns",
        "error",
        "error_text",
        "event_stream",
        "has_content",
        "held_ns",
        "job",
        "location",
        "pieces",
        "read_ns",
        "reads",
        "reconnects",
        "scheduled_ns",
        "server",
        "size",
        "slot",
        "start_ns",
        "status",
    )

    def __init__(self, job: int, slot: int, scheduled_ns: int) -> None:
        self.job = job
        self.slot = slot
        self.scheduled_ns = scheduled_ns
        self.server: int | None = None  # where there are several
        self.cancel_after_ns: int | None = (
            None  # from start to the client's hanging up, if it is to
        )
        self.start_ns = 0
        self.connected_ns = 0
        self.end_ns = 0
        self.attempts = 0
        self.reconnects = 0
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Forget the reply of an earlier attempt. The request keeps its first start."""
        self.attempts += 1
        self.status = 0
        self.event_stream = False
        self.location: str | None = None  # of a redirect
        self.held_ns = 0  # when the client hung up on a reply that was complete
        self.has_content = False  # Set by `limits`: whether a content-bearing chunk has come
        self.error: str | None = None
        self.error_text: str | None = None
        self.reads: list[Read] = []
        self.size = 0  # of the reads, in bytes
        self.arrived_ns: list[int] = []
        self.read_ns: list[int] = []
        self.pieces: list[tuple[bytes, int]] = []

    def fail(self, kind: str, text: str, now_ns: int) -> None:
        """End the request with an error of this kind."""
        self.error = kind
        self.error_text = text
        self.end_ns = now_ns


class JobSource(Protocol):
    """The source of a transport's jobs."""

    @property
    def exhausted(self) -> bool:
        """Whether no job will come any more."""
        ...

    def draw(self) -> int | None:
        """The next job; None when there is none at present."""
        ...

    def stop(self) -> None:
        """Hand out no more jobs, to any rank."""
        ...
