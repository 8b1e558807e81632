"""A client that is stopped on purpose still knows when each token arrived: the kernel saw it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from tests.faults.misbehaving import Misbehaving, chunk, events, stream_head

from mls.load import arrival
from mls.model.units import NS_PER_S

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not arrival.supported(), reason="no kernel receive timestamps on this host"),
]
ROOT = Path(__file__).parents[2]
STALL_S = 0.4
STALL_NS = int(STALL_S * NS_PER_S)

CLIENT = """
import sys
import pyarrow.parquet as pq
from tests.faults.driving import gather
pq.write_table(gather(sys.argv[1], inflight=1, iters=1).table, sys.argv[2])
"""


class Client:
    """The load generator in a process that the server can stop and wake."""

    def __init__(self):
        self._started = threading.Event()

    def start(self, url, table):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, table],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        )
        self._started.set()

    def stop(self):
        assert self._started.wait(10)
        self.process.send_signal(signal.SIGSTOP)
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)


def measure(tmp_path, in_the_stall):
    """(row, send times): two tokens, then `in_the_stall` tokens while the client is stopped, the rest."""
    client, sent = Client(), []

    def behave(talk, asked):
        talk.send(stream_head())
        tokens = events()

        def send(event):
            time.sleep(0.02)
            sent.append(time.monotonic_ns())
            talk.send(chunk(event))

        for event in tokens[:2]:
            send(event)
        time.sleep(0.05)
        client.stop()
        for event in tokens[2 : 2 + in_the_stall]:
            send(event)
        time.sleep(STALL_S)
        client.wake()
        time.sleep(0.05)
        for event in tokens[2 + in_the_stall :]:
            send(event)
        talk.send(b"0\r\n\r\n")

    table = tmp_path / "requests.parquet"
    with Misbehaving({0: behave}) as server:
        client.start(server.url, str(table))
        try:
            assert client.process.wait(30) == 0
        finally:
            client.process.kill()
            client.process.wait()
    (row,) = pq.read_table(table).to_pylist()
    assert row["error"] is None and row["chunks"] == 4
    return row, sent[:4]


def test_arrival_is_true_and_only_the_users_time_shows_the_stall(tmp_path):
    row, sent = measure(tmp_path, 1)
    assert row["chunk_merged"][2] is False
    for came, truth in zip(row["chunk_ns"], sent, strict=True):
        assert -STALL_NS / 4 < came - truth < STALL_NS / 4
    seen = [came + lag for came, lag in zip(row["chunk_ns"], row["chunk_lag_ns"], strict=True)]
    assert seen[2] - sent[2] > 0.9 * STALL_NS


def test_tokens_that_came_together_are_marked_and_the_newest_is_true(tmp_path):
    row, sent = measure(tmp_path, 2)
    assert row["chunk_merged"][2:] == [True, False]
    assert row["chunk_ns"][2] == row["chunk_ns"][3]
    assert abs(row["chunk_ns"][3] - sent[3]) < STALL_NS / 4
    assert row["chunk_lag_ns"][3] > 0.9 * STALL_NS
