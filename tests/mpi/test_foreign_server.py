"""A server that mls didn't start: its CPU time counts as its own, and other work is noticed."""

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
REQUESTS = 20
SPIN = "while True: pass"
TICKS_S = 0.1


@contextlib.contextmanager
def child(*words, program=sys.executable):
    """A process of the test's own, which is killed at the end."""
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
def burning_server(arrangement):
    with child("-m", "tests.mpi.burning", arrangement) as process:
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
    near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    for ends in ((near, far), (far, near)):
        threading.Thread(target=pipe, args=ends, daemon=True).start()
"""


@contextlib.contextmanager
def forwarder(folder, url, name="socat"):
    """The URL of a forwarder to `url` that has the name of a known one."""
    program = folder / name
    program.symlink_to(sys.executable)
    with child("-c", FORWARD, url.rpartition(":")[2], program=program) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"


def measure(mpirun, folder, url, ranks=1, **server):
    """(the host's record, the verdict of `quiet_host`) of a run against `url`.

    server: further settings of the server.
    """
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": url, **server},
        "run": {"ranks": ranks, "inflight": 2, "iters": REQUESTS, "warmup": 2, "max_tokens": 2},
        "checks": {"other_cpu": 0.3 / (os.cpu_count() or 1)},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = mpirun.run(ranks, "--config", path, "--output", folder / "out")
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((folder / "out" / "run.json").read_text())
    (verdict,) = (one for one in result["verdicts"] if one["check"] == "quiet_host")
    return result["host"], verdict


def increase(host, key):
    return host["after"][key] - host["before"][key]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS[1:])
def test_all_of_its_cpu_time_is_the_servers(mpich, tmp_path, arrangement):
    count_its_cpu_time(mpich, tmp_path, arrangement, ranks=1)


def test_the_processes_of_each_mpi_are_not_the_servers(mpirun, tmp_path):
    count_its_cpu_time(mpirun, tmp_path, "alone", ranks=2)


def count_its_cpu_time(mpirun, folder, arrangement, ranks):
    with burning_server(arrangement) as (url, process):
        host, verdict = measure(mpirun, folder, url, ranks)
        (listener,) = host["listeners"]
        assert listener["url"] == url and listener["hidden"] is None
        if arrangement != "shared port":
            assert str(process.pid) in listener["processes"][0]
    assert host["server"] == "local"
    assert increase(host, "servers_s") >= REQUESTS * BURN_S - TICKS_S
    assert increase(host, "perhaps_s") == 0
    # other work of this machine does not count as the server's
    others = (
        increase(host, "busy_s") - increase(host, "ours_s") - increase(host, "servers_s")
    ) / increase(host, "all_s")
    assert verdict["measured"] == pytest.approx(max(0.0, others))
    assert verdict["status"] != "unknown"


@pytest.mark.parametrize("arrangement", ["alone", "shared port"])
def test_other_work_beside_it_fails(mpich, tmp_path, arrangement):
    with burning_server(arrangement) as (url, _), child("-c", SPIN):
        host, verdict = measure(mpich, tmp_path, url)
    assert verdict["status"] == "fail" and "Other processes used" in verdict["message"]
    assert increase(host, "servers_s") >= REQUESTS * BURN_S - TICKS_S


def test_a_server_behind_a_tunnel_is_unknown_or_quiet(mpich, tmp_path):
    """The program at the port is not the server: `ssh -L`, a container's proxy."""
    with burning_server("alone") as (server_url, _), forwarder(tmp_path, server_url) as url:
        host, verdict = measure(mpich, tmp_path, url)
    assert host["listeners"][0]["hidden"] == "passed on" and host["listeners"][0]["who"] == "socat"
    assert host["after"]["perhaps_s"] is None
    if verdict["status"] != "pass":  # the server took too much of this host's time
        assert verdict["status"] == "unknown" and "passes requests on" in verdict["message"]


def test_an_engine_behind_a_gateway_is_known_by_its_page_of_metrics(mpich, tmp_path):
    with (
        burning_server("alone") as (server_url, _),
        forwarder(tmp_path, server_url, "litellm") as url,
    ):
        page = f"{server_url}/health"  # any page of the engine's
        host, verdict = measure(mpich, tmp_path, url, metrics_url=page)
    assert [one["hidden"] for one in host["listeners"]] == ["passed on", None]
    assert increase(host, "servers_s") >= REQUESTS * BURN_S - TICKS_S
    assert verdict["status"] != "fail"
