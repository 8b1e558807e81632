"""`profiles/slurm` on a real Slurm: two nodes on loopback."""

import json
import os
import subprocess

import pyarrow.parquet as pq
import pytest
from tests.servers.honest import HonestServer
from tests.workflow.checkout import SMALL, Checkout
from tests.workflow.cluster import Cluster, obstacle

REASON = obstacle()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

# options that a user's profile has for a cluster without accounts and with little memory
OPTIONS = (
    *("--workflow-profile", "profiles/slurm", "--slurm-no-account"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "1"),
    *("--default-resources", "runtime=10", "mem_mb=500"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster
    assert cluster.survivors() == []


def submit(cluster: Cluster, checkout: Checkout, config: dict, *options: str) -> str:
    """Run the workflow; returns its output and that of its jobs."""
    checkout.write(config | {"environment": {"manager": "current"}})
    process = subprocess.run(
        ["snakemake", "--configfile", "config.yaml", *OPTIONS, *options],
        cwd=checkout.folder,
        env=os.environ | cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    logs = (checkout.folder / ".snakemake" / "slurm_logs").rglob("*.log")
    output = "\n".join([process.stdout, *(path.read_text() for path in logs)])
    assert process.returncode == 0, output
    return output


def results(checkout: Checkout) -> list[dict]:
    return [json.loads(path.read_text()) for path in checkout.results.rglob("run.json")]


def test_each_repeat_is_a_job_with_its_server_and_as_many_tasks_as_ranks(
    cluster, tmp_path, shallow_smollm2
):
    """And the page so far is made where Snakemake runs, between two jobs."""
    checkout = Checkout(tmp_path)
    checkout.change("workflow/launcher/so_far.py", "SHARE = 0.05", "SHARE = 1000")
    note = " && squeue --noheader > queue && cp results/report.html so-far.html"
    checkout.change("workflow/rules/report.smk", '--so-far"', f'--so-far{note}"')
    checkout.change("workflow/rules/report.smk", "}exec {MLS} rep", "}{MLS} rep")
    model = {"models": {"smollm2": {"path": str(shallow_smollm2)}}}
    sweep = {"sweep": {"model": ["smollm2"], "inflight": [2], "ranks": [2]}}
    submit(cluster, checkout, SMALL | model | sweep | {"repeats": 2})
    jobs = cluster.jobs("run")
    assert sorted(job["NumTasks"] for job in jobs) == ["2", "2"]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    # 4 CPUs for each rank leave some for the server
    assert sorted(job["NumCPUs"] for job in jobs) == ["8", "8"]
    assert {job["NumNodes"] for job in jobs + cluster.jobs("probe")} == {"1"}
    measured = results(checkout)
    assert len(measured) == 2
    for result in measured:
        assert len(result["summary"]["client"]["per_rank"]) == 2
        assert result["summary"]["requests"]["ok"] == SMALL["run"]["iters"]
        assert result["server"]["engine"] is not None
    logs = [path.read_text() for path in (checkout.results / "logs").rglob("run.log")]
    assert len(logs) == 2 and all("=== throughput ===" in log for log in logs)
    assert len(list((checkout.results / "logs").rglob("run.log.server"))) == 2
    assert "1 of 2 repeats so far" in (checkout.folder / "so-far.html").read_text()
    assert (checkout.folder / "queue").read_text() == ""
    assert "so far" not in (checkout.results / "report.html").read_text()


def test_ranks_on_two_nodes_load_a_server_elsewhere(cluster, tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    nodes = ("--set-resources", "run:nodes=2", "run:cpus_per_task=1")
    with HonestServer() as server:
        config = {
            "name": "elsewhere",
            "models": {"smollm2": {}},
            "server": {"url": server.url},
            "mpi": {"launcher": "srun --mpi=pmi2"},
            "run": {"iters": 12, "max_tokens": 4, "warmup": 0},
            "sweep": {"model": ["smollm2"], "inflight": [4], "ranks": [3]},
            "repeats": 1,
        }
        submit(cluster, checkout, config, *nodes, "--", "aggregate")
    (job,) = [job for job in cluster.jobs("run") if job["NumTasks"] == "3"]
    assert (job["NumNodes"], job["JobState"]) == ("2", "COMPLETED")
    (result,) = results(checkout)
    assert len(result["summary"]["client"]["per_rank"]) == 3
    assert result["summary"]["requests"]["ok"] == 12
    (records,) = checkout.results.rglob("requests.parquet")
    assert pq.read_table(records)["job"].to_pylist() == list(range(12))
