"""Whatever a server does to one request, the times of the request beside it stay true.

The truth is the server's own: the kernel stamps a token between the moment just before the
server's `send` and the moment just after it. No duration is bounded. The client is slow on
purpose: times by its own clock would be wrong.
"""

import time

import pytest
from tests.arrivals import CLOCKS_NS, assert_arrival, needs_kernel_timestamps
from tests.faults.driving import assert_good, gather
from tests.faults.failures import FAILURES
from tests.servers.behaviours import (
    drips_its_head,
    says_nothing,
    sends,
    stalls,
    stalls_with_too_long_a_content_length,
)
from tests.servers.misbehaving import Misbehaving, chunk, chunked, events, stream_head

from mls.core.units import NS_PER_S
from mls.load.transport import timestamps

pytestmark = [pytest.mark.timeout(60), needs_kernel_timestamps]
LINE = b'data: {"choices": [{"delta": {"content": "' + b"x" * 20_000_000 + b'"}}]}\n\n'
SLOW = {
    "says nothing": says_nothing,
    "stalls": stalls,
    "promises more than comes": stalls_with_too_long_a_content_length,
    "drips its head": drips_its_head,
    "a line of 20 MB": sends(chunked(LINE)),
}
BAD = {name: behave for name, (behave, *_) in FAILURES.items()} | SLOW


def steady_reply(moments):
    """The honest reply with pauses; in `moments`: job → (before, after) of each `send`, in ns."""

    def behave(talk, request):
        talk.send(stream_head())
        for event in events():
            talk.server.over.wait(0.01)
            before = time.monotonic_ns()
            talk.send(chunk(event))
            moments.setdefault(request.job, []).append((before, time.monotonic_ns()))
        talk.send(b"0\r\n\r\n")

    return behave


@pytest.fixture
def slow_client(monkeypatch):
    """A client whose loop takes longer for each turn than the clocks can be apart."""
    refresh = timestamps.WallClock.refresh

    def slowly(self, now_ns):
        time.sleep(3 * CLOCKS_NS / NS_PER_S)
        refresh(self, now_ns)

    monkeypatch.setattr(timestamps.WallClock, "refresh", slowly)


@pytest.mark.parametrize("name", BAD)
def test_times_beside_a_bad_request_are_the_servers_own(name, slow_client):
    moments = {}
    with Misbehaving({0: BAD[name]}, default=steady_reply(moments)) as server:
        records = gather(server.url, inflight=2, iters=8, timeout_s=1).table.to_pylist()
    assert [row["job"] for row in records] == list(range(8))
    checks = 0
    for row in records[1:]:
        assert_good(row)
        for arrival_ns, merged, send_ns in zip(
            row["chunk_ns"], row["chunk_merged"], moments[row["job"]], strict=False
        ):
            if not merged:  # a merged chunk has no arrival of its own
                assert_arrival(arrival_ns, send_ns)
                checks += 1
    assert checks
