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
from tests.arrivals import assert_arrival, needs_kernel_timestamps
from tests.faults.serving import wait_until
from tests.servers.misbehaving import Misbehaving, chunk, events, stream_head

pytestmark = [pytest.mark.timeout(60), needs_kernel_timestamps]
ROOT = Path(__file__).parents[2]
STALL_S = 0.4

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


def unread(sock):
    """Bytes that wait at the other end of a connection within this host; see proc_net_tcp.rst."""
    here, there = sock.getsockname()[1], sock.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (there, here):
            return int(queues.split(":")[1], 16)
    raise AssertionError("the client has hung up")


def measure(tmp_path, in_the_stall):
    """Two tokens, then `in_the_stall` tokens while the client is stopped, the rest.

    (row, (before, after) each token's `send`, when the client was woken)
    """
    client, sent, woken_ns = Client(), [], []

    def behave(talk, asked):
        talk.send(stream_head())
        tokens = events()

        def send(event):
            before = time.monotonic_ns()
            talk.send(chunk(event))
            sent.append((before, time.monotonic_ns()))

        def send_apart(events_):
            """Each when the client has read all before, so that it reads it alone."""
            for event in events_:
                wait_until(lambda: not unread(talk.sock))
                send(event)
            wait_until(lambda: not unread(talk.sock))

        send_apart(tokens[:2])
        client.stop()
        for event in tokens[2 : 2 + in_the_stall]:
            send(event)
        time.sleep(STALL_S)
        woken_ns.append(time.monotonic_ns())
        client.wake()
        send_apart(tokens[2 + in_the_stall :])
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
    return row, sent[:4], woken_ns[0]


def test_arrival_is_true_and_only_the_users_time_shows_the_stall(tmp_path):
    row, sent, woken_ns = measure(tmp_path, 1)
    assert row["chunk_merged"] == [False] * 4
    for arrived_ns, sent_ns in zip(row["chunk_ns"], sent, strict=True):
        assert_arrival(arrived_ns, sent_ns)
    assert row["chunk_ns"][2] + row["chunk_lag_ns"][2] >= woken_ns


def test_tokens_that_came_together_are_marked_and_the_newest_is_true(tmp_path):
    row, sent, woken_ns = measure(tmp_path, 2)
    assert row["chunk_merged"] == [False, False, True, False]
    assert row["chunk_ns"][2] == row["chunk_ns"][3]
    assert_arrival(row["chunk_ns"][3], sent[3])
    assert row["chunk_ns"][3] + row["chunk_lag_ns"][3] >= woken_ns
