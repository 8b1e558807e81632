"""The opening of connections before the load."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mls.config.sections.run import Run
from mls.load.postprocess import Posting
from mls.load.transport.epoll import EpollTransport
from mls.protocol.request import RequestBuilder, Target


@pytest.fixture
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def pauses(url: str, run: Run, places: int) -> list[float]:
    """The seconds between connections. How long a transport tries for timestamps is none of them."""
    targets = [Target(url)]
    builder = RequestBuilder(targets, run, served_as=None, seed=1, run_id="t")
    transport = EpollTransport(targets, builder, run, Posting(run, 0))
    slept: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", slept.append)
        transport.connect(places)
    transport.close()
    return slept


def test_connections_that_are_kept_are_opened_apart(url: str) -> None:
    assert pauses(url, Run(inflight=4, ranks=1), 4) == pytest.approx([0.002] * 3)


def test_all_ranks_together_open_them_as_far_apart(url: str) -> None:
    assert pauses(url, Run(inflight=8, ranks=2), 4) == pytest.approx([0.004] * 3)


def test_opening_many_takes_no_longer_than_two_seconds(url: str) -> None:
    assert sum(pauses(url, Run(inflight=8000, ranks=400), 20)) == pytest.approx(2.0, rel=0.06)


@pytest.mark.parametrize("run, places", [(Run(inflight=64, ranks=1), 1),
                                         (Run(inflight=4, ranks=1, reuse_connections=False), 4)],
                         ids=["the only one", "none is kept"])  # fmt: skip
def test_nothing_waits(url: str, run: Run, places: int) -> None:
    assert sum(pauses(url, run, places)) == 0
