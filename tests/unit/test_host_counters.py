"""The host's real counters, under load from this test."""

import os
import socket
import subprocess
import sys
import time

import psutil

from mls.host.usage import counters

SPIN = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass"
KEYS = {"monotonic_ns", "boottime_ns", "busy_s", "all_s", "steal_s", "ours_s", "swapped_bytes", "throttled", "governor"}  # fmt: skip


def test_counters_only_grow():
    noise = counters.Noise([])
    before = noise.sample()
    time.sleep(0.05)
    after = noise.sample()
    assert set(before) == KEYS
    for key in ("monotonic_ns", "boottime_ns", "busy_s", "all_s", "ours_s"):
        assert after[key] >= before[key]
    assert before["busy_s"] <= before["all_s"]


def test_work_of_our_own_children_is_ours(monkeypatch):
    monkeypatch.setattr(counters, "_root", lambda: psutil.Process())
    noise = counters.Noise([])
    before = noise.sample()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    cpu_s = noise.sample()["ours_s"] - before["ours_s"]
    assert cpu_s > 0.28  # the kernel counts in ticks of 10 ms


def test_only_a_serve_that_we_are_below_counts(monkeypatch):
    monkeypatch.delenv(counters.SERVE_PID, raising=False)
    assert not counters.serves_here()
    monkeypatch.setenv(counters.SERVE_PID, str(os.getpid()))  # not a parent
    assert not counters.serves_here()
    monkeypatch.setenv(counters.SERVE_PID, str(os.getppid()))
    assert counters.serves_here()


def test_a_rank_without_a_launcher_owns_nothing_of_its_shell(monkeypatch):
    for name in (counters.SERVE_PID, *counters._LAUNCHER_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    assert counters._root().pid == os.getpid()
    monkeypatch.setenv("PMI_RANK", "0")
    assert counters._root().pid == os.getppid()


def test_a_server_in_this_process_is_not_ours(monkeypatch):
    """The threads of this process serve, and its child is the run."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as run:
        monkeypatch.setattr(counters, "_root", lambda: psutil.Process(run.pid))
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            noise = counters.Noise([url])
            before = noise.sample()
            deadline = time.process_time() + 0.3
            while time.process_time() < deadline:
                pass
            after = noise.sample()
        run.communicate(b"\n")
    assert set(after) == KEYS | {"servers_s", "perhaps_s"}
    assert after["servers_s"] - before["servers_s"] > 0.28
    assert after["ours_s"] - before["ours_s"] < 0.1
    assert noise.listeners[0]["hidden"] is None
    assert str(os.getpid()) in noise.listeners[0]["processes"][0]
