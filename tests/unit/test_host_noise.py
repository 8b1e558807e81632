"""Counters of the host: real ones, under load that this test makes."""

import os
import subprocess
import sys
import time

import psutil

from mls.host import noise

SPIN = "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass"
KEYS = {"monotonic_ns", "boottime_ns", "busy_s", "all_s", "steal_s", "ours_s", "swapped_bytes", "throttled", "governor"}  # fmt: skip


def test_counters_only_grow():
    before = noise.sample()
    time.sleep(0.05)
    after = noise.sample()
    assert set(before) == KEYS
    for key in ("monotonic_ns", "boottime_ns", "busy_s", "all_s", "ours_s"):
        assert after[key] >= before[key]
    assert before["busy_s"] <= before["all_s"]


def test_work_of_our_own_children_is_ours(monkeypatch):
    monkeypatch.setattr(noise, "_root", lambda: psutil.Process())
    before = noise.sample()
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    spent = noise.sample()["ours_s"] - before["ours_s"]
    assert spent > 0.28  # the kernel counts in ticks of 10 ms


def test_only_a_serve_that_we_are_below_counts(monkeypatch):
    monkeypatch.delenv(noise.SERVE_PID, raising=False)
    assert not noise.serves_here()
    monkeypatch.setenv(noise.SERVE_PID, str(os.getpid()))  # not a parent
    assert not noise.serves_here()
    monkeypatch.setenv(noise.SERVE_PID, str(os.getppid()))
    assert noise.serves_here()
