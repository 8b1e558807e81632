"""The pipeline killed at random moments, with damaged files, and twice at once in one folder."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from benchmarks.striking import ROOT, SIGNALS, VICTIMS, Arena, contents
from tests.mounts import fill, mounted
from tests.workflow import forked

pytestmark = pytest.mark.timeout(1800)
TRIALS = 3
"""Strikes at each process, one with each signal; benchmarks/chaos.py takes any number of them."""


@pytest.fixture(scope="module")
def repeat(tmp_path_factory, shallow_smollm2):
    """A folder for one repeat, started as Snakemake starts it."""
    return Arena(tmp_path_factory.mktemp("repeat") / "arena", shallow_smollm2, whole=False)


@pytest.fixture(scope="module")
def workflow(tmp_path_factory, shallow_smollm2):
    return Arena(tmp_path_factory.mktemp("workflow") / "arena", shallow_smollm2, whole=True)


def strike(arena, target):
    for number in range(TRIALS):
        sig = SIGNALS[number % len(SIGNALS)]
        trial = arena.strike(target, sig, random.Random(f"{target}/{number}"))
        assert (trial.orphans, trial.lost, trial.wrong) == ([], [], []), trial
    assert arena.again() == []


@pytest.mark.parametrize("target", VICTIMS)
def test_a_repeat_struck_at_random_moments(repeat, target):
    strike(repeat, target)


def test_snakemake_struck_at_random_moments(workflow):
    strike(workflow, "snakemake")


SIGTERM_WHILE_LOCKED = """
import os, signal
from snakemake.cli import main
from snakemake.scheduling.job_scheduler import JobScheduler

finish_jobs = JobScheduler._finish_jobs

def finish_jobs_after_sigterm(self):
    assert self._lock.locked()
    os.kill(os.getpid(), signal.SIGTERM)
    finish_jobs(self)

JobScheduler._finish_jobs = finish_jobs_after_sigterm
main()
"""


def test_snakemake_told_to_end_while_its_scheduler_holds_its_lock_ends(tmp_path, shallow_smollm2):
    """Snakemake's handler takes the scheduler's lock.

    Called in the thread that holds the lock, it would wait for ever.
    """
    config = {
        "models": {"smollm2": {"path": str(shallow_smollm2)}},
        "environment": {"manager": "current"},
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    places = ["--snakefile", f"{ROOT}/Snakefile", "--directory", tmp_path]
    options = ["--cores", "1", "--configfile", tmp_path / "config.yaml"]
    target = "results/environment/environment.json"
    process = subprocess.run(
        [sys.executable, "-c", SIGTERM_WHILE_LOCKED, *places, *options, "--", target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    assert "Will exit after finishing currently running jobs" in process.stderr


def call(arena, *options):
    """Exit status and output of a call that measures nothing, as `Arena.call` returns them."""
    process = forked.snakemake(arena.folder, [*arena.command(2)[1:], *options], timeout_s=120)
    return process.returncode, process.stdout + process.stderr


def dry_run(arena):
    """(number of runs that are planned, output of the dry run)."""
    status, output = call(arena, "--dry-run", "--quiet", "reason")
    assert status == 0, output
    counts = [line.split()[1] for line in output.splitlines() if re.fullmatch(r"run +\d+", line)]
    return int(counts[0]) if counts else 0, output  # Snakemake prints the table twice


def test_a_second_call_is_told_so_and_a_killed_first_one_needs_no_unlocking(workflow):
    assert workflow.again() == []
    records = workflow.second / "requests.parquet"
    records.write_bytes(records.read_bytes()[:-100])
    with workflow.running(2) as (first, mark):
        lock = workflow.folder / ".snakemake" / "mls" / "lock"
        deadline = time.monotonic() + 300
        log = workflow.folder / f"{mark}.log"
        while not (
            lock.exists()
            and lock.read_text() == f"{first.pid}\n"
            and "is not what run.json was made from" in log.read_text()
        ):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)  # else it may have ended before the second one asks
        status, output = call(workflow)
        assert status == 1
        last = output.strip().splitlines()[-1]
        assert last.startswith(f"Another `make report` or snakemake (process {first.pid})")
        assert "Traceback" not in output and first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert "requests.parquet is not what run.json was made from" in log.read_text()
    assert workflow.again() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [("size=64k", "No space left on device"), ("ro", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_results_that_cannot_be_written_are_one_sentence(workflow, tmp_path, options, message):
    small = tmp_path / "small"
    with mounted(small, options):
        fill(small)
        status, output = call(workflow, "--config", f"results={small}/results")
    assert status == 1 and "Traceback" not in output
    sentences = [line for line in output.splitlines() if message in line]
    assert len(sentences) == 1 and sentences[0].startswith(f"{small}/results")


def older(folder):
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 0}))


def cut(folder):
    path = folder / "run.json"
    path.write_text(path.read_text()[:1000])


def test_what_is_damaged_is_measured_again_and_nothing_else(workflow):
    first = workflow.runs / "repeat~1"
    result = workflow.second / "run.json"
    intact = result.read_text()
    for damage, message in ((older, "has schema version 0"), (cut, "is corrupt (not JSON)")):
        result.write_text(intact)
        damage(workflow.second)
        runs, output = dry_run(workflow)
        assert runs == 1 and output.count(f"run.json {message}") == 1
        assert (workflow.second / "run.damaged.json").exists()
    before = contents(first)
    assert workflow.again() == []
    assert contents(first) == before
