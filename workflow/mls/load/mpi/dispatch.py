"""The hand-out of jobs to ranks. Rank 0 owns the jobs; a free place never waits for a message.

While load is running no rank waits inside a blocking MPI call: a blocked rank uses a whole core
(measured: it left a server 0.07 to 0.34 of its speed).
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI

from mls.load.mpi.collective import POLL_S, wait_all
from mls.load.mpi.roles import Role

_ASK, _GIVE = 11, 12
_STOP = 1 << 40  # added to the counter: every rank finds it past the limit; 2²² may do so
_NO_MORE = 0  # the demand of a worker that stops
_IDLE_S = 0.05
_SLOWEST_POLL_S = 0.005
_MOST_AHEAD = 1024


class Dispatch(Protocol):
    """One rank's side of the hand-out. `exchange.JobSource` describes the worker's part."""

    @property
    def exhausted(self) -> bool: ...

    def draw(self) -> int | None: ...

    def stop(self) -> None: ...

    def handed_out(self) -> int:
        """Jobs handed out so far, as far as this rank knows."""
        ...

    def attend(self) -> float:
        """On rank 0, answer requests for jobs. Returns the seconds to sleep until the next call."""
        ...

    def close(self) -> None: ...


class Static:
    """Fixed shares: worker w of W takes jobs w, w + W, w + 2 W, …"""

    def __init__(self, worker: int, workers: int, limit: int | None) -> None:
        self._next = worker
        self._step = workers
        self._limit = limit
        self._count = 0
        self.exhausted = False

    def draw(self) -> int | None:
        job = self._next
        if self.exhausted or (self._limit is not None and job >= self._limit):
            self.exhausted = True
            return None
        self._next += self._step
        self._count += 1
        return job

    def stop(self) -> None:
        self.exhausted = True

    def handed_out(self) -> int:
        return self._count

    def attend(self) -> float:
        return _IDLE_S

    def close(self) -> None:
        pass


class Counter:
    """A counter in rank 0's memory. Workers draw from it by `Fetch_and_op` while rank 0 sleeps.

    On one host a draw takes about a microsecond. Across hosts MPI doesn't guarantee passive-target
    progress.
    """

    def __init__(self, comm: MPI.Intracomm, limit: int | None) -> None:
        self._window = MPI.Win.Allocate(8 if comm.rank == 0 else 0, 8, comm=comm)
        if comm.rank == 0:
            memory: Any = self._window.tomemory()
            self._memory = np.frombuffer(memory, dtype=np.int64)
            self._memory[0] = 0
        self._limit = _STOP if limit is None else limit
        self._one = np.ones(1, np.int64)
        self._value = np.zeros(1, np.int64)
        self.exhausted = False
        wait_all(comm)
        self._window.Lock_all()

    def draw(self) -> int | None:
        if self.exhausted:
            return None
        job = self._fetch_and_add(self._one)
        if job >= self._limit:
            self.exhausted = True
            return None
        return job

    def stop(self) -> None:
        self._fetch_and_add(np.full(1, _STOP, np.int64))
        self.exhausted = True

    def handed_out(self) -> int:
        """Rank 0 only."""
        self._window.Sync()
        return min(int(self._memory[0]) % _STOP, self._limit)

    def attend(self) -> float:
        return _IDLE_S

    def close(self) -> None:
        self._window.Unlock_all()
        self._memory = np.empty(0, np.int64)  # no view may outlive the window
        self._window.Free()

    def _fetch_and_add(self, value: np.ndarray) -> int:
        self._window.Fetch_and_op(value, self._value, 0)
        self._window.Flush(0)
        return int(self._value[0])


class Messages:
    """The worker's side of messages: it asks rank 0 for more jobs while it still has some.

    The stock doubles each time that a place gets no job. So it comes to outlast the round trip to
    rank 0, however fast the server is.
    """

    def __init__(self, comm: MPI.Intracomm, places: int) -> None:
        self._comm = comm
        self._ahead = max(1, places // 8)
        self._jobs: deque[int] = deque()
        self._at_end = False
        self._no_more = False
        self._answer = np.zeros(2, np.int64)
        self._request: MPI.Request | None = None
        self._demand = np.zeros(1, np.int64)
        self._count = 0
        self._shortage = False
        self._ask(places)

    @property
    def exhausted(self) -> bool:
        return self._at_end and not self._jobs

    def draw(self) -> int | None:
        self._take_answer()
        if not self._at_end and self._request is None and len(self._jobs) <= self._ahead:
            self._ask(self._ahead + 1)
        if not self._jobs:
            self._shortage = True
            return None
        self._count += 1
        return self._jobs.popleft()

    def stop(self) -> None:
        self._no_more = True
        self._jobs.clear()

    def handed_out(self) -> int:
        return self._count

    def attend(self) -> float:
        return _IDLE_S

    def close(self) -> None:
        # rank 0 answers until it has told every worker that there is nothing more
        self._no_more = True
        while not self._at_end:
            if self._request is None:
                self._ask(0)
            self._take_answer()
            time.sleep(POLL_S)

    def _take_answer(self) -> None:
        if self._request is None or not self._request.Test():
            return
        self._request = None
        if self._shortage:
            self._ahead = min(2 * self._ahead, _MOST_AHEAD)
            self._shortage = False
        first, count = (int(value) for value in self._answer)
        self._at_end = count == 0
        if not self._no_more:
            self._jobs.extend(range(first, first + count))

    def _ask(self, count: int) -> None:
        self._demand[0] = _NO_MORE if self._no_more else count
        self._request = self._comm.Irecv(self._answer, source=0, tag=_GIVE)
        self._comm.Isend(self._demand, dest=0, tag=_ASK).Wait()


class MessagesOwner:
    """Rank 0's side of `Messages`: it polls for workers that ask, and gives each the next jobs.

    No worker gets more than an even share of the remaining jobs, so that all end together.
    """

    exhausted = True

    def __init__(self, comm: MPI.Intracomm, limit: int | None) -> None:
        self._comm = comm
        self._limit = _STOP if limit is None else limit
        self._next = 0
        self._dismissals = 0
        self._pause_s = POLL_S

    def draw(self) -> int | None:
        return None

    def stop(self) -> None:
        self._limit = self._next

    def handed_out(self) -> int:
        return self._next

    def attend(self) -> float:
        # often after a worker has asked, as more will ask soon; seldom while all have a stock
        self._pause_s = min(1.5 * self._pause_s, _SLOWEST_POLL_S)
        demand = np.zeros(1, np.int64)
        status = MPI.Status()
        while self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=_ASK, status=status):
            worker = status.Get_source()
            self._comm.Recv(demand, source=worker, tag=_ASK)
            if demand[0] == _NO_MORE:
                self.stop()
            rest = self._limit - self._next
            share = -(-rest // (self._comm.size - 1))
            count = min(int(demand[0]), share)
            self._comm.Isend(np.array([self._next, count], np.int64), dest=worker, tag=_GIVE).Wait()
            self._next += count
            self._dismissals += count == 0
            self._pause_s = POLL_S
        return self._pause_s

    def close(self) -> None:
        while self._dismissals < self._comm.size - 1:
            time.sleep(self.attend())


def make(kind: str, comm: MPI.Intracomm, limit: int | None, places: int, role: Role) -> Dispatch:
    """This rank's dispatch. Collective over `comm`.

    limit: number of jobs, None when time ends the run. places: number of this rank's places.
    """
    if kind == "auto":
        kind = "counter" if role.one_host else "static" if role.scheduler_works else "messages"
    if comm.size == 1:
        return Static(0, 1, limit)
    if kind == "static":
        return Static(role.worker, role.workers, limit) if role.worker >= 0 else Static(0, 1, 0)
    if kind == "counter":
        return Counter(comm, limit)
    return Messages(comm, places) if comm.rank else MessagesOwner(comm, limit)
