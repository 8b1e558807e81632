"""Sources of a transport's jobs, besides the hand-out of rank 0."""

from __future__ import annotations

import time

from mls.load.transport.exchange import JobSource


class WarmUp:
    """Jobs −1, −2, … of the warm-up. They have prompts of their own and no records."""

    def __init__(self, first: int, count: int) -> None:
        self._jobs = iter(range(-1 - first, -1 - first - count, -1))
        self.exhausted = count == 0

    def draw(self) -> int | None:
        job = next(self._jobs, None)
        self.exhausted = job is None
        return job

    def stop(self) -> None:
        self._jobs = iter(())


class UntilTime:
    """A source that ends at a moment of the monotonic clock."""

    def __init__(self, source: JobSource, end_ns: int) -> None:
        self._source = source
        self._end_ns = end_ns

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted or time.monotonic_ns() >= self._end_ns

    def draw(self) -> int | None:
        return self._source.draw() if time.monotonic_ns() < self._end_ns else None

    def stop(self) -> None:
        self._source.stop()


class Sessions:
    """A source of conversations: each job is the first of `turns` turns."""

    def __init__(self, source: JobSource, turns: int) -> None:
        self._source = source
        self._turns = turns

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted

    def draw(self) -> int | None:
        number = self._source.draw()
        return None if number is None else number * self._turns

    def stop(self) -> None:
        self._source.stop()
