"""The alarm clock: readable from its moment on, and not before."""

import select
import time

from mls.load.transport.timers import Alarm, Timers


def readable(alarm, timeout_s):
    return bool(select.select([alarm.fileno()], [], [], timeout_s)[0])


def test_goes_off_at_its_moment_and_is_reset_by_the_next():
    alarm = Alarm()
    at = time.monotonic_ns() + 20_000_000
    alarm.set(at)
    assert readable(alarm, 10) and time.monotonic_ns() >= at
    alarm.set(0)
    assert not readable(alarm, 0)
    alarm.set(time.monotonic_ns() - 1)
    assert readable(alarm, 10)
    alarm.close()


def test_timers_are_run_in_their_order_once_each():
    timers, calls = Timers(), []
    assert timers.next_ns is None
    now = time.monotonic_ns()
    for when in (3, 1, 2, 1):
        timers.at(now + when, lambda when=when: calls.append(when))
    timers.at(now + 10**12, lambda: calls.append("later"))
    timers.arm()
    assert readable(timers, 10) and timers.next_ns == now + 1
    timers.run(now + 3)
    assert calls == [1, 1, 2, 3] and timers and timers.next_ns == now + 10**12
    timers.arm()
    assert not readable(timers, 0)
    timers.close()


def test_nobody_has_to_wait_for_optional_timers():
    timers, calls = Timers(), []
    now = time.monotonic_ns()
    timers.optional_at(now + 1, lambda: calls.append("optional"))
    assert not timers and timers.next_ns == now + 1
    timers.at(now + 2, lambda: calls.append("other"))
    assert timers
    timers.run(now + 1)
    assert timers and calls == ["optional"]
    timers.run(now + 2)
    assert not timers and calls == ["optional", "other"]
    timers.close()
