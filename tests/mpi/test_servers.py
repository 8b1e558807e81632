"""Several servers under real mpirun: each rank sends to all of them, and the run is one."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml
from tests.servers.honest import HonestServer

from mls.analysis.tables import aggregate
from mls.config.parse import load_config, parse_config
from mls.config.sections.pin import read_cpus
from mls.host.machine import cores
from mls.report.pages.page import render
from mls.server.weights.models import describe_model


def serve(mpirun, options, *of_serve):
    """`mls serve` of a cell with two ranks, as the workflow starts it."""
    command = [sys.executable, "-m", "mls", "serve", *options, *of_serve, "--"]
    return subprocess.run(
        [*map(str, command), *mpirun.command(2, *options)],
        env=mpirun.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def describe(config, results):
    """What `mls model m` writes."""
    folder = results / "models"
    folder.mkdir()
    (folder / "m.json").write_text(json.dumps(describe_model("m", parse_config(config), folder)))


def test_all_ranks_serve_themselves_from_all_servers(mpirun, server, tmp_path):
    with HonestServer() as second:
        urls = [server.url, second.url]
        config = {
            "models": {"m": {"served_as": "honest"}},
            "server": {"urls": urls},
            "run": {"ranks": 3, "inflight": 4, "iters": 40, "warmup": 4, "max_tokens": 5},
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        process = mpirun.run(3, "--config", path, "--output", tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    table = pq.read_table(tmp_path / "requests.parquet")
    request_ids = {0: set(), 1: set()}
    for row in table.select(["request_id", "server", "job"]).to_pylist():
        assert row["server"] == row["job"] % 2
        request_ids[row["server"]].add(row["request_id"])
    assert len(request_ids[0]) == len(request_ids[1]) == 20
    assert request_ids[0] < set(server.replies) and request_ids[1] < set(second.replies)
    result = json.loads((tmp_path / "run.json").read_text())
    assert [each["url"] for each in result["server"]["each"]] == urls
    assert result["server"]["url"] == urls[0]
    assert not any("error" in each["before"] for each in result["server"]["each"])
    assert result["summary"]["inflight"]["max"] == 4  # over all servers
    checks = {verdict["check"]: verdict for verdict in result["verdicts"]}
    assert "50%, 50%" in checks["fair_servers"]["message"]


@pytest.mark.skipif(
    len(cores(os.sched_getaffinity(0))) < 2, reason="needs a core for each of two servers"
)
def test_a_fleet_of_managed_servers_is_measured_as_one(mpich, shallow_smollm2, tmp_path):
    path = tmp_path / "config.yaml"
    config = {
        "results": str(tmp_path),
        "models": {"m": {"path": str(shallow_smollm2)}},
        "server": {"fleet": 2, "parallel": 2, "ctx": 1024, "policy": "least_outstanding"},
        "run": {"ranks": 2, "inflight": 4, "iters": 12, "warmup": 2, "max_tokens": 8}
        | {"prompt_words": 8},
    }
    path.write_text(yaml.safe_dump(config))
    describe(config, tmp_path)
    options = ("--config", path, "--cell", "model=m", "--output", tmp_path)
    process = serve(mpich, options, "--at-once", "--log", tmp_path / "server.log")
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((tmp_path / "run.json").read_text())
    assert result["summary"]["requests"]["ok"] == 12
    cpus = [read_cpus(each["engine"]["cpus"]) for each in result["server"]["each"]]
    assert len(cpus) == 2 and not cpus[0] & cpus[1]
    assert result["server"]["before"]["slots"] == 4
    checks = {verdict["check"]: verdict for verdict in result["verdicts"]}
    # by the counters of both servers
    assert checks["books_agree"]["status"] == "pass", checks["books_agree"]["message"]


def test_ranks_that_wait_for_a_server_which_dies_end_without_a_word(
    mpirun, shallow_smollm2, tmp_path
):
    path = tmp_path / "config.yaml"
    config = {
        "results": str(tmp_path),
        "models": {"m": {"path": str(shallow_smollm2)}},
        "server": {"engine": "command", "command": ["sh", "-c", "sleep 2; exit 3", "{port}"]},
        "run": {"ranks": 2, "iters": 1},
    }
    path.write_text(yaml.safe_dump(config))
    describe(config, tmp_path)
    options = ("--config", path, "--cell", "model=m", "--output", tmp_path)
    process = serve(mpirun, options, "--at-once", "--log", tmp_path / "server.log")
    assert (process.returncode, process.stdout) == (1, "")
    (sentence,) = process.stderr.splitlines()
    assert sentence.startswith("mls serve: The server died while starting")
    assert json.loads((tmp_path / "failure.json").read_text())["message"] in sentence


def test_serve_and_page_know_all_of_them(mpich, server, tmp_path):
    """The steps of the workflow for one cell."""
    results, path = tmp_path / "results", tmp_path / "config.yaml"
    folder = results / "runs/name~two/model~m/inflight~2/ranks~2/policy~least_outstanding/repeat~1"
    with HonestServer() as second:
        config = {
            "name": "two",
            "results": str(results),
            "models": {"m": {"served_as": "honest"}},
            "server": {"urls": [server.url, second.url]},
            "run": {"ranks": 2, "inflight": 2, "iters": 10, "warmup": 0, "max_tokens": 5},
            "sweep": {"policy": ["least_outstanding"]},
            "repeats": 1,
        }
        path.write_text(yaml.safe_dump(config))
        options = ("--config", path, "--cell", "model=m", "--output", folder)
        process = serve(mpich, options)
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((folder / "run.json").read_text())
    assert [each["url"] for each in result["server"]["each"]] == config["server"]["urls"]
    assert result["host"]["pinned"]["why"] == "the server is not ours to pin"
    study = load_config(path)
    aggregate(study, results)
    render(study, results, results / "report.html")
    page = (results / "report.html").read_text()
    assert "Stages, turns, prefixes, adapters and servers" in page
    assert ">server 1<" in page and ">server 2<" in page
