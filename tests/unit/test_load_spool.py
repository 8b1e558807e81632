"""Exchanges come back from the spool unchanged, in the order of jobs, whatever the disk does."""

import errno
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.exchanges import exchange

from mls.load.transport import spool as module
from mls.load.transport.exchange import Exchange
from mls.load.transport.spool import ExchangeSpool

times = st.integers(0, 2**63 - 1)
reads = st.lists(st.tuples(st.binary(max_size=99), st.binary(max_size=16), times, times))


def fields(reply):
    return {name: getattr(reply, name) for name in Exchange.__slots__}


def raw(job, reads=(), error=None):
    reply = Exchange(job, job % 7, 5)
    reply.reads = list(reads)
    reply.size = sum(len(data) for data, *_ in reply.reads)
    if error:
        reply.fail("reset", error, 9)
    return reply


@given(st.permutations(range(6)), st.integers(0, 2000), reads, st.text() | st.none())
def test_the_same_comes_back_in_the_order_of_jobs(order, most_bytes, read, error):
    spool = ExchangeSpool(most_bytes)
    for job in order:
        spool.add(raw(job, read, error))
    assert len(spool) == 6
    assert [fields(reply) for reply in spool] == [fields(raw(j, read, error)) for j in range(6)]
    spool.close()
    assert list(spool) == []


def test_a_reply_that_was_taken_apart_comes_back_as_well():
    spool = ExchangeSpool(most_bytes=0)
    reply = exchange(b"a", b"b", job=3)
    spool.add(reply)
    (copy,) = spool
    assert copy is not reply and fields(copy) == fields(reply)
    spool.close()


def test_only_what_is_too_much_leaves_memory():
    spool = ExchangeSpool(most_bytes=2000)
    replies = [raw(job, [(b"x" * 250, b"", 1, 2)]) for job in range(7)]  # each costs 500 bytes
    for reply in replies:
        spool.add(reply)
    assert [copy is reply for copy, reply in zip(spool, replies, strict=True)] == [False] * 3 + [
        True
    ] * 4
    spool.close()


def test_nothing_is_left_in_the_folder_nor_of_the_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = ExchangeSpool(most_bytes=0)
    spool.add(raw(0, [(b"x", b"", 1, 2)]))
    assert len(spool) == 1
    assert list(tmp_path.iterdir()) == []
    assert "spool" not in {thread.name for thread in threading.enumerate()}
    spool.close()


@pytest.mark.parametrize("short", [False, True], ids=["refused", "written in part"])
def test_a_full_disk_loses_nothing(monkeypatch, short):
    real, room = os.pwritev, 2

    def full(file, data, at):
        nonlocal room
        room -= 1
        if room >= 0:
            return real(file, data, at)
        if short:
            return real(file, [data[0][:10]], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    monkeypatch.setattr(module, "_BATCH", 1)
    spool = ExchangeSpool(most_bytes=0)
    for job in (4, 3, 2, 1, 0):
        spool.add(raw(job, [(b"x" * 50, b"", 1, 2)]))
    assert [reply.job for reply in spool] == [0, 1, 2, 3, 4]
    assert room == -1  # one write failed, and there was no other
    assert all(reply.reads == [(b"x" * 50, b"", 1, 2)] for reply in spool)
    spool.close()
