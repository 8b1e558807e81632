"""A wall clock that is set while replies arrive: the step is counted, and no time is off by it."""

import threading
import time

import pytest
from tests.arrivals import needs_kernel_timestamps
from tests.faults.driving import assert_good, gather
from tests.servers.misbehaving import Misbehaving, chunk, events, stream_head

from mls.core.units import NS_PER_S
from mls.load.transport import timestamps

pytestmark = [pytest.mark.timeout(60), needs_kernel_timestamps]
HOUR_NS = 3600 * NS_PER_S
LONGER_THAN_A_REFRESH_S = 0.12


@pytest.mark.parametrize("shift_ns", [-HOUR_NS, HOUR_NS], ids=["back", "forward"])
def test_a_wall_clock_set_by_an_hour_in_mid_reply(monkeypatch, shift_ns):
    """The step is put where the offset is measured: tests may not set the host's clock."""
    clock_step = threading.Event()
    true_offset_ns = timestamps._offset_ns
    monkeypatch.setattr(
        timestamps, "_offset_ns", lambda: true_offset_ns() + shift_ns * clock_step.is_set()
    )
    sends = []

    def behave(talk, request):
        talk.send(stream_head())
        for number, event in enumerate(events()):
            if number == 2:
                clock_step.set()
            time.sleep(LONGER_THAN_A_REFRESH_S)
            sends.append(time.monotonic_ns())
            talk.send(chunk(event))
        talk.send(b"0\r\n\r\n")

    with Misbehaving({0: behave}) as server:
        harvest = gather(server.url, inflight=1, iters=2)
    assert [rank["wall_clock_steps"] for rank in harvest.ranks] == [1]
    rows = harvest.table.to_pylist()
    for row in rows:
        assert_good(row)
        assert 0 < row["end_ns"] - row["start_ns"] < 60 * NS_PER_S
    for arrival_ns, send_ns in zip(rows[0]["chunk_ns"], sends, strict=False):
        assert abs(arrival_ns - send_ns) < NS_PER_S
