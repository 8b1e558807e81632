"""A server that mls didn't start: its CPU time is its own, and other work beside it is seen."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from tests.mpi.burning import ARRANGEMENTS, BURN_S

ROOT = Path(__file__).parents[2]
REQUESTS = 30
SPIN = "while True: pass"
TICKS_S = 0.1


@contextlib.contextmanager
def started(*words, program=sys.executable):
    """A process of the test's own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [program, *words],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def burning(arrangement):
    with started("-m", "tests.mpi.burning", arrangement) as process:
        url = process.stdout.readline().strip()
        for _ in range(100):
            with contextlib.suppress(requests.ConnectionError):
                requests.get(f"{url}/health", timeout=10)
                break
        yield url, process


FORWARD = """
import socket, sys, threading
def pipe(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    asker, _ = listener.accept()
    behind = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for ends in ((asker, behind), (behind, asker)):
        threading.Thread(target=pipe, args=ends, daemon=True).start()
"""


@contextlib.contextmanager
def passing_on(folder, url):
    """A program that has the name of one that passes on what it gets, and does so."""
    program = folder / "socat"
    program.symlink_to(sys.executable)
    with started("-c", FORWARD, url.rpartition(":")[2], program=program) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"


def measured(mpirun, folder, url):
    """(host's record, the verdict on it)."""
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": url},
        "run": {"ranks": 2, "inflight": 2, "iters": REQUESTS, "warmup": 2, "max_tokens": 2},
        "checks": {"other_cpu": 0.3 / (os.cpu_count() or 1)},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = mpirun.run(2, "--config", path, "--output", folder / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((folder / "out" / "run.json").read_text())
    (verdict,) = (one for one in result["verdicts"] if one["check"] == "quiet_host")
    return result["host"], verdict


def spent(host, key):
    return host["after"][key] - host["before"][key]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_all_of_its_cpu_time_is_the_servers(mpirun, tmp_path, arrangement):
    with burning(arrangement) as (url, process):
        host, verdict = measured(mpirun, tmp_path, url)
        (listener,) = host["listeners"]
        assert listener["url"] == url and listener["hidden"] is None
        if arrangement != "shared port":
            assert str(process.pid) in listener["processes"][0]
    assert host["server"] == "local"
    assert spent(host, "servers_s") >= REQUESTS * BURN_S - TICKS_S
    assert spent(host, "perhaps_s") == 0
    # whatever else this machine did, none of that is the server's
    others = (spent(host, "busy_s") - spent(host, "ours_s") - spent(host, "servers_s")) / spent(
        host, "all_s"
    )
    assert verdict["measured"] == pytest.approx(max(0.0, others))
    assert verdict["status"] != "unknown"


@pytest.mark.parametrize("arrangement", ["alone", "shared port"])
def test_other_work_beside_it_fails(mpirun, tmp_path, arrangement):
    with burning(arrangement) as (url, _), started("-c", SPIN):
        host, verdict = measured(mpirun, tmp_path, url)
    assert verdict["status"] == "fail" and "Other processes used" in verdict["message"]
    assert spent(host, "servers_s") >= REQUESTS * BURN_S - TICKS_S


def test_a_server_behind_a_tunnel_is_unknown_or_quiet(mpirun, tmp_path):
    """The program at the port is not the server: `ssh -L`, a container's proxy."""
    with burning("alone") as (behind, _), passing_on(tmp_path, behind) as url:
        host, verdict = measured(mpirun, tmp_path, url)
    assert host["listeners"][0]["hidden"] == "passed on" and host["listeners"][0]["who"] == "socat"
    assert host["after"]["perhaps_s"] is None
    if verdict["status"] != "pass":  # the server took too much of this host's time
        assert verdict["status"] == "unknown" and "passes requests on" in verdict["message"]
