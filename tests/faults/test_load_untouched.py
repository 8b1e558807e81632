"""Whatever a server does to one request, the times of the request beside it stay true.

The truth is the server's own: the kernel stamps a token between the moment just before the
server's `send` and the moment just after it. No bound on how long anything takes, and a client
that is slow on purpose: by its own clock it would be wrong.
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


def paced(sent):
    """The honest reply with pauses; `sent[job]`: (before, after) each token's `send`."""

    def behave(talk, asked):
        talk.send(stream_head())
        for event in events():
            talk.server.over.wait(0.01)
            before = time.monotonic_ns()
            talk.send(chunk(event))
            sent.setdefault(asked.job, []).append((before, time.monotonic_ns()))
        talk.send(b"0\r\n\r\n")

    return behave


@pytest.fixture
def slow_client(monkeypatch):
    """Each turn of the client's loop takes it longer than the clocks can be apart."""
    refresh = timestamps.WallClock.refresh

    def slowly(self, now_ns):
        time.sleep(3 * CLOCKS_NS / NS_PER_S)
        refresh(self, now_ns)

    monkeypatch.setattr(timestamps.WallClock, "refresh", slowly)


@pytest.mark.parametrize("name", BAD)
def test_times_beside_a_bad_request_are_the_servers_own(name, slow_client):
    sent = {}
    with Misbehaving({0: BAD[name]}, default=paced(sent)) as server:
        found = gather(server.url, inflight=2, iters=8, timeout_s=1).table.to_pylist()
    assert [row["job"] for row in found] == list(range(8))
    sure = 0
    for row in found[1:]:
        assert_good(row)
        for arrived_ns, merged, sent_ns in zip(
            row["chunk_ns"], row["chunk_merged"], sent[row["job"]], strict=False
        ):
            if not merged:  # else its own arrival is unknown, and said to be
                assert_arrival(arrived_ns, sent_ns)
                sure += 1
    assert sure
