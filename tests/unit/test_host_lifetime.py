"""Processes that end with their parent, and trees of processes that end as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
from tests.living import living

from mls.host.processes.descendants import adopting_orphans, end_children, end_tree
from mls.host.processes.lifetime import LAUNCHER_PID
from mls.host.processes.signals import SignalWait

_DEADLINE_S = 30

_CHILD_TIED_TO_ITS_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import time; from mls.host.processes.lifetime import die_with_parent; die_with_parent();"
    "print('tied', flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""

_TIED_TOO_LATE = """
import os, time
from mls.host.processes.lifetime import die_with_parent
die_with_parent(parent=2**22)
print("still here")
"""


_LOADED_LATE = """
import sys, time
from mls.host.processes.lifetime import die_with_launcher
die_with_launcher()
print("still here")
"""


_LAUNCHER = """
import os, subprocess, sys, time
child_code = "import time; from mls.host.processes.lifetime import die_with_workflow as tie; tie(); print(1, flush=True); time.sleep(600)"
below = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
command = [sys.executable, "-c", child_code] if sys.argv[1:] == ["direct"] else [sys.executable, "-c", below, child_code]
os.environ["MLS_LAUNCHER_PID"] = str(os.getpid())
child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def has_ended(process: psutil.Process) -> bool:
    return living([process], within_s=0) == []


def wait_until_ended(*processes: psutil.Process) -> None:
    assert living(processes, _DEADLINE_S) == []


def start(script: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """(process of the script, process whose id the script prints)."""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def test_child_dies_with_its_parent() -> None:
    parent, child = start(_CHILD_TIED_TO_ITS_PARENT)
    parent.kill()
    parent.wait()
    wait_until_ended(child)


def test_parent_that_died_before_the_call() -> None:
    process = subprocess.run([sys.executable, "-c", _TIED_TOO_LATE], capture_output=True, text=True)
    assert process.returncode == -signal.SIGTERM
    assert process.stdout == ""


def test_tree_is_ended_whole() -> None:
    root, child = start(
        "import subprocess, time; p = subprocess.Popen(['sleep', '600']);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    assert end_tree(root.pid) == []
    root.wait()
    assert has_ended(child)


def test_what_ignores_sigterm_is_killed() -> None:
    root, _ = start(
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(os.getpid(), flush=True); time.sleep(600)"
    )
    assert end_tree(root.pid, grace_s=0.1) == [root.pid]
    assert not psutil.pid_exists(root.pid)
    root.wait()


def test_a_process_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert end_tree(process.pid) == []


def test_orphans_are_adopted_and_ended(tmp_path: Path) -> None:
    others = {child.pid for child in psutil.Process().children()}
    with adopting_orphans():
        # the shell starts a sleep in a session of its own, and ends
        subprocess.run(["sh", "-c", f"setsid sleep 600 & echo $! > {tmp_path}/id"], check=True)
        orphan = psutil.Process(int((tmp_path / "id").read_text()))
        assert orphan.ppid() == os.getpid()
        end_children(keep=others)
        assert has_ended(orphan)


def test_signals_are_waited_for_and_children_noticed() -> None:
    with SignalWait() as signals:
        assert signals.wait(0) is None
        subprocess.Popen(["true"]).wait()
        assert signals.wait(_DEADLINE_S) is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.wait(_DEADLINE_S) == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGINT)  # the end of the block discards a late signal


def test_a_signal_is_waited_for_whatever_threads_a_library_has_started() -> None:
    go = threading.Event()
    other = threading.Thread(target=go.wait)  # a mask set later doesn't cover this thread
    other.start()
    try:
        with SignalWait() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.wait(_DEADLINE_S) == signal.SIGTERM
    finally:
        go.set()
        other.join()


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalWait() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.wait(0.05) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_whose_launcher_was_killed_while_it_was_being_loaded_ends() -> None:
    with subprocess.Popen(["sleep", "600"]) as launcher:
        environment = os.environ | {LAUNCHER_PID: str(launcher.pid)}
        command = [sys.executable, "-c", _LOADED_LATE]
        alive = subprocess.run(command, env=environment, capture_output=True, text=True)
        launcher.kill()  # a zombie until it is waited for
        wait_until_ended(psutil.Process(launcher.pid))
        zombie = subprocess.run(command, env=environment, capture_output=True, text=True)
    orphan = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (alive.returncode, alive.stdout) == (0, "still here\n")
    for process in (zombie, orphan):
        assert (process.returncode, process.stdout) == (-signal.SIGTERM, "")


def test_what_snakemake_started_ends_with_it_and_what_is_below_that_has_its_own_parent() -> None:
    processes = []
    for how in ("direct", "below"):
        command = [sys.executable, "-c", _LAUNCHER, how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
            assert launcher.stdout
            child = psutil.Process(int(launcher.stdout.readline()))
            processes.append((child, child.children()))
            launcher.kill()
    (direct, _), (between, below) = processes
    wait_until_ended(direct)
    assert not has_ended(between) and not any(map(has_ended, below))
    for process in [*below, between]:
        process.kill()
