"""Ranks on three hosts and the server on a fourth, each with an address, a name and a clock.

A relay between them holds each piece of data for a while and records the times. The times that the
ranks measure are compared with the relay's.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.hosts.network import Network, obstacle
from tests.mpi.conftest import OPENMPI, ROOT

from mls.config.config import Mpi
from mls.config.parse import parse_config
from mls.core.units import NS_PER_MS
from mls.host.launch.launchers import command
from mls.host.launch.programs import mpi_environment
from mls.server.weights.models import describe_model

RANKS_ON = ("near", "off", "far")
AHEAD_S = {"off": 1_000, "far": 50_000}  # the clock of `near` is this machine's
DELAY_MS = 30
TOKENS = 8
_WAIT_S = 120

REASON = obstacle()
pytestmark = [
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
    pytest.mark.timeout(300),  # the server waits for requests, even of ranks that have died
]


@pytest.fixture
def network(tmp_path) -> Iterator[Network]:
    with Network([*RANKS_ON, "server"], tmp_path, AHEAD_S) as network:
        yield network
        assert network.survivors() == {}


@pytest.fixture(params=["mpich", "openmpi"])
def family(request) -> str:
    if request.param == "openmpi" and not (OPENMPI / "bin" / "mpirun").exists():
        pytest.skip("Open MPI is not there: make .venv-openmpi/built")
    return request.param


def mpi_of(family: str, network: Network) -> Mpi:
    """The config's section `mpi`, as a user of these hosts would write it."""
    launcher = str(Path(sys.executable).with_name("mpirun"))
    if family == "openmpi":  # not the MPI of this environment
        launcher = f"{OPENMPI / 'bin' / 'mpirun'} -x MPI4PY_LIBMPI -x MPI4PY_MPIABI"
    addresses = [network.address(name) for name in RANKS_ON]
    return Mpi(launcher=launcher, family=family, hosts=addresses, agent=str(network.agent))


def variables(mpi: Mpi) -> dict[str, str]:
    environment = os.environ | mpi_environment(command(mpi))
    path = [str(ROOT), str(ROOT / "workflow"), os.environ.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    if mpi.family == "openmpi":
        library = next(OPENMPI.rglob("libmpi.so*"))
        environment |= {"MPI4PY_LIBMPI": str(library), "MPI4PY_MPIABI": "openmpi"}
        environment["PATH"] = f"{environment['PATH']}{os.pathsep}{OPENMPI / 'bin'}"
    return environment


def start(network: Network, mpi: Mpi, ranks: int, *options: object, before: tuple = ()):
    """Start the load generator, which runs on the three hosts, on the first of them."""
    launch = [*shlex.split(command(mpi)), "-n", ranks, sys.executable, "-m", "mpi4py"]
    return subprocess.Popen(
        network.on("near", *before, *launch, "-m", "mls.worker", *options),
        env=variables(mpi),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    try:
        output, _ = process.communicate(timeout=_WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


class FarServer:
    """The honest server and its relay, on the host `server`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __enter__(self) -> FarServer:
        address = self._network.address("server")
        program = (sys.executable, "-m", "tests.servers.far", address, DELAY_MS)
        self._process = subprocess.Popen(
            self._network.on("server", *program),
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'workflow'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.url = f"http://{address}:{self._process.stdout.readline().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for(self, requests: int) -> None:
        """Return after so many more requests have come."""
        assert self._process.stdout
        for _ in range(requests):
            self._process.stdout.readline()

    def journal(self) -> dict[str, dict]:
        """End the relay; returns its times by request id."""
        output, _ = self._process.communicate(timeout=_WAIT_S)
        return json.loads(output.splitlines()[-1])


def measure(network: Network, mpi: Mpi, folder: Path) -> tuple[dict, list[dict], dict[str, dict]]:
    """(run.json, records, the relay's times) of a load on 3 hosts against the server on a 4th."""
    options = ("--inflight", 6, "--iters", 48, "--max-tokens", TOKENS, "--warmup", 6)
    options += ("--scheduler", "apart")  # the machine has fewer cores than there are ranks
    with FarServer(network) as server:
        finish(start(network, mpi, 6, "--server", server.url, *options, "--output", folder))
        journal = server.journal()
    rows = pq.read_table(folder / "requests.parquet").to_pylist()
    return json.loads((folder / "run.json").read_text()), rows, journal


def test_times_on_the_wire_are_those_of_the_relay(network, family, tmp_path):
    result, rows, journal = measure(network, mpi_of(family, network), tmp_path / "run")
    ranks = {rank["rank"]: rank for rank in result["clock"]["ranks"]}
    hosts = {rank["rank"]: rank["host"] for rank in result["summary"]["client"]["per_rank"]}
    assert [hosts[rank] for rank in range(6)] == [*RANKS_ON, *RANKS_ON]

    # each clock's offset is right to within its uncertainty and the rounding of time namespaces
    for number, rank in ranks.items():
        ahead_ns = AHEAD_S.get(hosts[number], 0) * 1_000_000_000
        for when in ("before_ns", "after_ns"):
            offset, uncertainty = rank["offset"][when]
            assert abs(offset + ahead_ns) <= uncertainty
            assert bool(uncertainty) == (hosts[number] in AHEAD_S)
    (agree,) = (v for v in result["verdicts"] if v["check"] == "clocks_agree")
    print(f"{family}: {agree['message']}")

    assert sorted(row["job"] for row in rows) == list(range(48))
    assert {row["rank"] for row in rows} == {1, 2, 3, 4, 5}
    errors_ms: dict[str, list[float]] = {"TTFT": [], "latency": [], "gaps": []}
    for row in rows:
        relay, offset = journal[row["request_id"]], ranks[row["rank"]]["offset"]
        # kernel stamps are of the wall clock, so they include its slew between two readings
        within = max(offset["before_ns"][1], offset["after_ns"][1]) + 50_000
        # nothing arrives before it was sent, on rank 0's clock
        assert row["error"] is None and len(row["chunk_ns"]) == len(relay["token_ns"]) == TOKENS
        assert row["start_ns"] <= relay["came_ns"] + within
        for send_ns, arrival_ns in zip(relay["token_ns"], row["chunk_ns"], strict=True):
            assert send_ns <= arrival_ns + within
        assert relay["end_ns"] <= row["end_ns"] + within
        # TTFT and latency include the delay of both directions
        ttft, latency = row["first_chunk_ns"] - row["start_ns"], row["end_ns"] - row["start_ns"]
        # they are equal where a busy machine let the client read the whole reply at once
        assert latency >= ttft > 2 * DELAY_MS * NS_PER_MS
        errors_ms["TTFT"].append(ttft - relay["token_ns"][0] + relay["came_ns"])
        errors_ms["latency"].append(latency - relay["end_ns"] + relay["came_ns"])
        gaps = zip(row["chunk_ns"], row["chunk_ns"][1:], strict=False)
        sent_gaps = zip(relay["token_ns"], relay["token_ns"][1:], strict=False)
        for (a, b), (c, d) in zip(gaps, sent_gaps, strict=True):
            errors_ms["gaps"].append((b - a) - (d - c))
    for what, errors in errors_ms.items():
        magnitudes = sorted(abs(error) / NS_PER_MS for error in errors)
        p99 = magnitudes[int(0.99 * len(magnitudes))]
        median = statistics.median(magnitudes)
        print(f"{family}: {what} differs by {median:.3f} ms (median), {p99:.3f} ms (p99)")
        assert median < DELAY_MS / 10, what


def test_the_environment_is_checked_on_every_host(network, family):
    mpi = mpi_of(family, network)
    program = f"import mls.host.launch.programs as m; print(m.hello({command(mpi)!r}, ranks=3))"
    process = subprocess.run(
        network.on("near", sys.executable, "-c", program),
        env=variables(mpi),
        capture_output=True,
        text=True,
        timeout=_WAIT_S,
    )
    assert process.returncode == 0, process.stderr
    assert f"'hosts': {sorted(RANKS_ON)}" in process.stdout


def test_ranks_on_several_hosts_wait_asleep(network, tmp_path):
    options = ("--inflight", 3, "--iters", 4, "--max-tokens", 150, "--warmup", 0)
    with FarServer(network) as server:
        mpi = mpi_of("mpich", network)
        finish(start(network, mpi, 4, "--server", server.url, *options, "--output", tmp_path))
    ranks = json.loads((tmp_path / "run.json").read_text())["summary"]["client"]["per_rank"]
    assert len({rank["host"] for rank in ranks}) == 3
    assert max(rank["cpu_fraction"] for rank in ranks) < 0.2


@pytest.mark.parametrize("victim", ["launcher", "way to a host"])
def test_a_killed_launcher_leaves_nobody_on_any_host(network, family, victim):
    options = ("--inflight", 6, "--duration", 600, "--max-tokens", 20)
    with FarServer(network) as server:
        ranks = len(RANKS_ON)
        process = start(network, mpi_of(family, network), ranks, "--server", server.url, *options)
        server.wait_for(requests=2 + 6)  # the warm-up is over, the load has begun
        assert len(process_ids(network, "-m mls.worker")) >= ranks
        if victim == "launcher":
            process.kill()
        else:  # the process that sshd would have started on another host
            os.kill(process_ids(network, "hydra_pmi_proxy", "prted")[-1], signal.SIGKILL)
        output, _ = process.communicate(timeout=_WAIT_S)
        # Open MPI's launcher says that it lost a host, and still exits with status 0
        complaint = "lost communication with a remote daemon" in output
        assert process.returncode != 0 or complaint, output
    assert network.survivors() == {}


def process_ids(network: Network, *words: str) -> list[int]:
    """Ids of the processes on any host whose command line has one of the words."""
    command_lines = network.processes().items()
    return sorted(pid for pid, line in command_lines if any(word in line for word in words))


def test_a_real_server_on_the_first_host_is_reached_from_all(network, shallow_smollm2, tmp_path):
    mpi = mpi_of("mpich", network)
    data = {
        "name": "hosts",
        "results": str(tmp_path / "results"),
        "mpi": mpi.model_dump(),
        "models": {"smollm2": {"path": str(shallow_smollm2)}},
        "server": {"parallel": 2, "ctx": 1024, "threads": 1},
        "run": {"iters": 4, "inflight": 2, "ranks": 3, "max_tokens": 4, "warmup": 2}
        | {"prompt_words": 8, "scheduler": "apart"},
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps(data))
    models = tmp_path / "results" / "models"
    models.mkdir(parents=True)
    description = describe_model("smollm2", parse_config(data), models)
    (models / "smollm2.json").write_text(json.dumps(description))
    folder, options = tmp_path / "run", ("--config", config, "--cell", "model=smollm2")
    serve = (sys.executable, "-m", "mls", "serve", *options, "--output", folder)
    process = start(
        network, mpi, 3, *options, "--output", folder,
        before=(*serve, "--log", tmp_path / "server.log", "--"),
    )  # fmt: skip
    finish(process)
    result = json.loads((folder / "run.json").read_text())
    assert result["server"]["url"].startswith(f"http://{network.address('near')}:")
    assert result["summary"]["requests"]["ok"] == 4
    per_rank = result["summary"]["client"]["per_rank"]
    assert [rank["host"] for rank in per_rank] == list(RANKS_ON)
    assert [rank["requests"] > 0 for rank in per_rank] == [False, True, True]
    assert "clocks_agree" in {verdict["check"] for verdict in result["verdicts"]}
