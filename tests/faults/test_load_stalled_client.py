"""A client that is stopped on purpose knows the arrival of each token, by the kernel's times."""

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
        self._ready = threading.Event()

    def start(self, url, table):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, url, table],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        )
        self._ready.set()

    def stop(self):
        assert self._ready.wait(10)
        self.process.send_signal(signal.SIGSTOP)
        while psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.001)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)


def unread(sock):
    """Unread bytes at the other end of a connection within this host; see proc_net_tcp.rst."""
    here, there = sock.getsockname()[1], sock.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if (int(local.split(":")[1], 16), int(remote.split(":")[1], 16)) == (there, here):
            return int(queues.split(":")[1], 16)
    raise AssertionError("the client has hung up")


def measure(tmp_path, in_the_stall):
    """Send two tokens, then `in_the_stall` tokens while the client is stopped, then the rest.

    Returns (row, (before, after) of each token's `send`, moment of the client's waking), in ns.
    """
    client, sends, wake_ns = Client(), [], []

    def behave(talk, request):
        talk.send(stream_head())
        tokens = events()

        def send(event):
            before = time.monotonic_ns()
            talk.send(chunk(event))
            sends.append((before, time.monotonic_ns()))

        def send_apart(events_):
            """Send each event once the client has read all before it: each gets its own read."""
            for event in events_:
                wait_until(lambda: not unread(talk.sock))
                send(event)
            wait_until(lambda: not unread(talk.sock))

        send_apart(tokens[:2])
        client.stop()
        for event in tokens[2 : 2 + in_the_stall]:
            send(event)
        time.sleep(STALL_S)
        wake_ns.append(time.monotonic_ns())
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
    return row, sends[:4], wake_ns[0]


def test_arrival_is_true_and_only_the_users_time_shows_the_stall(tmp_path):
    row, sends, wake_ns = measure(tmp_path, 1)
    assert row["chunk_merged"] == [False] * 4
    for arrival_ns, send_ns in zip(row["chunk_ns"], sends, strict=True):
        assert_arrival(arrival_ns, send_ns)
    assert row["chunk_ns"][2] + row["chunk_lag_ns"][2] >= wake_ns


def test_tokens_that_came_together_are_marked_and_the_newest_is_true(tmp_path):
    row, sends, wake_ns = measure(tmp_path, 2)
    assert row["chunk_merged"] == [False, False, True, False]
    assert row["chunk_ns"][2] == row["chunk_ns"][3]
    assert_arrival(row["chunk_ns"][3], sends[3])
    assert row["chunk_ns"][3] + row["chunk_lag_ns"][3] >= wake_ns
