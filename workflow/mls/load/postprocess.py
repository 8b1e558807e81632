"""Post-processing of replies on the rank's card: the interface for transports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mls.config.sections.run import Run
from mls.gpu.device import PostResult
from mls.gpu.queue import PostQueue, open_queue
from mls.load.transport.exchange import Exchange

if TYPE_CHECKING:  # Its import starts MPI, which a probe doesn't need
    from mls.load.mpi.roles import Role

_SUCCESS = 2  # First digit of a status


class Posting:
    """Hands a rank's complete replies to its card, and returns the times at the end.

    `submit` and `poll` return at once, since they are called while load is running.
    """

    def __init__(self, run: Run, local_rank: int) -> None:
        """local_rank: number of this worker on its host. Raises `UserError`, see `open_queue`."""
        self._queue: PostQueue | None
        self._wrong_job: int | None = None
        self._queue, self._facts = open_queue(
            run.cuda_post,
            work=run.cuda_post_work,
            memory_mib=run.cuda_post_memory_mib,
            local_rank=local_rank,
        )

    @property
    def active(self) -> bool:
        """Whether replies are post-processed."""
        return self._queue is not None

    def submit(self, exchange: Exchange) -> None:
        """Hand in the reply of a complete exchange, unless it failed."""
        if self._queue and exchange.error is None and exchange.status // 100 == _SUCCESS:
            # The raw reads of the connection. A transport that unframes by itself has bodies only
            reads = [data for data, *_ in exchange.reads]
            self._queue.submit(exchange.job, reads or [data for data, _ in exchange.pieces])

    def poll(self) -> None:
        """Collect results, and start the next replies that wait."""
        if self._queue:
            self._queue.poll()

    def begin(self) -> None:
        """Forget the replies of the warm-up. Not under load."""
        if self._queue:
            self._queue.forget()

    def conclude(self) -> tuple[Mapping[int, PostResult], dict[str, Any]]:
        """(times by job, facts to record: `{card, name, reason, failed}`). After the load.

        Waits for the remaining replies, checks the first reply's checksum against the reference,
        and frees the card's memory.
        """
        if self._queue is None:
            return {}, self._facts | {"failed": None}
        self._queue.drain()
        self._wrong_job = self._queue.wrong_job()
        self._queue.close()
        return self._queue.results, self._facts | {"failed": self._queue.failure}

    def verify(self, exchanges: Iterable[Exchange]) -> Iterator[Exchange]:
        """The exchanges; one with a wrong checksum becomes an error. After `conclude`."""
        for exchange in exchanges:
            if exchange.job == self._wrong_job:
                text = "the card's checksum of the reply is not the reference's"
                exchange.fail("post_mismatch", text, exchange.end_ns)
            yield exchange


def local_number(rank: int, role: Role) -> int:
    """Number of a worker rank among the workers of its host, from 0."""
    first = 0 if role.scheduler_works else 1
    return sum(role.host_ids[other] == role.host_ids[rank] for other in range(first, rank))
