"""Kernel receive timestamps, and the wall clock in which they are given."""

import socket
import struct
import time

import pytest
from tests.arrivals import needs_kernel_timestamps

from mls.core.units import NS_PER_MS, NS_PER_S
from mls.load.transport import timestamps
from mls.load.transport.timestamps import ANCILLARY_BYTES, SO_TIMESTAMPNS, WallClock, arrival_ns


class Clocks:
    """The monotonic clock and the wall clock, both set by the test."""

    def __init__(self, monkeypatch):
        self.monotonic = 5_000 * NS_PER_S
        self.ahead = 1_700_000_000 * NS_PER_S
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.monotonic)
        monkeypatch.setattr(time, "time_ns", lambda: self.monotonic + self.ahead)

    def stamp(self):
        """The kernel's timestamp of bytes that arrive now."""
        wall = self.monotonic + self.ahead
        return struct.pack("@qq", *divmod(wall, NS_PER_S))


@pytest.fixture
def clocks(monkeypatch):
    return Clocks(monkeypatch)


def test_wall_clock_is_brought_to_the_monotonic_clock(clocks):
    wall = WallClock()
    stamp, at_ns = clocks.stamp(), clocks.monotonic
    clocks.monotonic += 20 * NS_PER_MS  # read late
    assert arrival_ns(stamp, wall.offset_ns) == at_ns
    assert wall.steps == 0


def test_slewed_wall_clock_is_followed_and_is_no_step(clocks):
    wall = WallClock()
    for _ in range(1000):
        clocks.monotonic += 60 * NS_PER_MS
        clocks.ahead += 30_000  # 500 ppm
        wall.refresh(clocks.monotonic)
        assert arrival_ns(clocks.stamp(), wall.offset_ns) == clocks.monotonic
    assert wall.steps == 0


@pytest.mark.parametrize("step", [NS_PER_S, -3600 * NS_PER_S, 2 * NS_PER_MS])
def test_stepped_wall_clock_is_counted_and_followed(clocks, step):
    wall = WallClock()
    clocks.ahead += step
    clocks.monotonic += 60 * NS_PER_MS
    wall.refresh(clocks.monotonic)
    assert arrival_ns(clocks.stamp(), wall.offset_ns) == clocks.monotonic
    assert wall.steps == 1
    clocks.monotonic += 60 * NS_PER_MS
    wall.refresh(clocks.monotonic)
    assert wall.steps == 1


def test_offset_is_measured_at_most_every_50_ms(clocks):
    wall = WallClock()
    wall.refresh(clocks.monotonic)
    clocks.ahead += NS_PER_S
    wall.refresh(clocks.monotonic + 49 * NS_PER_MS)
    assert wall.steps == 0
    wall.refresh(clocks.monotonic + 50 * NS_PER_MS)
    assert wall.steps == 1


def test_tightest_bracket_counts(monkeypatch):
    """A reading with an interruption between the two clocks is not used."""
    monotonic = iter([0, 1000, 2000, 2010, 3000, 9000, 10_000, 10_900, 20_000, 20_800])
    walls = iter([777, 100_000 + 2005, 999, 888, 666])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(monotonic))
    monkeypatch.setattr(time, "time_ns", lambda: next(walls))
    assert WallClock().offset_ns == 100_000


@needs_kernel_timestamps
def test_real_bytes_are_stamped_when_they_came_not_when_they_were_read():
    wall = WallClock()
    with (
        timestamps.hold() as hold,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
    ):
        far, _ = listener.accept()
        with far:
            assert hold and timestamps.enable(near)
            assert timestamps.supported()  # waits until the kernel gives timestamps
            before = time.monotonic_ns()
            far.send(b"x")
            after = time.monotonic_ns()
            time.sleep(0.1)
            _, ancillary, _, _ = near.recvmsg(10, ANCILLARY_BYTES)
            read_ns = time.monotonic_ns()
    ((level, kind, stamp),) = ancillary
    assert (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
    at_ns = arrival_ns(stamp, wall.offset_ns)
    assert before - NS_PER_MS < at_ns < after + 50 * NS_PER_MS < read_ns


def test_a_host_that_takes_the_option_but_gives_no_timestamps_is_not_supported(monkeypatch):
    monkeypatch.setattr(timestamps, "enable", lambda sock: True)
    monkeypatch.setattr(timestamps, "_TRY_S", 0)
    assert not timestamps.supported()


def test_sockets_without_the_option():
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        there.close()
        here.close()
        assert timestamps.enable(here) is False
