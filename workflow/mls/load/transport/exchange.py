"""What a transport brings back for each request: times and raw bytes, nothing parsed."""

from __future__ import annotations

from typing import Literal, Protocol

from mls.core.units import MIB

Clock = Literal["kernel", "user"]

Read = tuple[bytes, bytes, int, int]
"""One read: bytes, the kernel's timestamp as it came (b"" when none did), when the client had
them (`CLOCK_MONOTONIC`, ns), and the wall clock's offset to that clock then (ns)."""

MOST_BYTES = 256 * MIB
"""Of a reply, which is kept until the load is over."""

TOO_LONG = f"the reply is longer than {MOST_BYTES // MIB} MiB"


class Exchange:
    """One request and its reply, as seen on the wire.

    Times are `CLOCK_MONOTONIC` in ns, 0 where it did not happen. While load is running a
    transport may keep `reads` only; `unframe` makes the rest of them: `arrived_ns[i]` and
    `read_ns[i]` belong to the i-th read (when its newest byte reached the host, and when the
    client had it), `pieces` holds (bytes of the body, index of the read).
    """

    __slots__ = (
        "arrived_ns",
        "attempts",
        "begun",
        "connected_ns",
        "end_ns",
        "error",
        "error_text",
        "event_stream",
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
        self.start_ns = 0
        self.connected_ns = 0
        self.end_ns = 0
        self.attempts = 0
        self.reconnects = 0
        self.begin_attempt()

    def begin_attempt(self) -> None:
        """Forget what an earlier attempt brought; its start stays the request's start."""
        self.attempts += 1
        self.status = 0
        self.event_stream = False
        self.location: str | None = None  # of a redirect
        self.held_ns = 0  # when the client hung up on a reply that was complete
        self.begun = False  # content has come, as far as `limits` has looked
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
    """Where a transport draws its jobs from."""

    @property
    def exhausted(self) -> bool:
        """No job will come any more."""
        ...

    def draw(self) -> int | None:
        """The next job; None when there is none now."""
        ...

    def stop(self) -> None:
        """Hand out no more jobs, to any rank."""
        ...
