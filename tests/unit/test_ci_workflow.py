"""The workflow of docs/CI.md: it parses, its commands exist, and its steps do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.unit.comparisons import folder_of
from tests.unit.synthetic import config
from typer.main import get_command

from mls.cli import app
from mls.config.cells import cells
from mls.config.parse import load_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "CI.md").read_text()
WORKFLOW = yaml.safe_load(re.search(r"^```yml\n(.*?)^```$", TEXT, re.S | re.M)[1])
SWEEP = re.search(r"^```yaml\n(.*?)^```$", TEXT, re.S | re.M)[1]
STEPS = WORKFLOW["jobs"]["compare"]["steps"]
ON = True  # `on` is a boolean in YAML 1.1


def script(name):
    return next(step["run"] for step in STEPS if step["name"] == name)


def run(name, folder):
    """Run a step as the runner does."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script(name)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_runs_for_pull_requests_and_measures_before_it_compares():
    assert WORKFLOW[ON] == "pull_request"
    names = [step["name"] for step in STEPS]
    order = ["Measure the base", "Measure the pull request", "Compare"]
    assert sorted(order, key=names.index) == order
    assert all("run" in step or "uses" in step for step in STEPS)


def test_its_commands_exist():
    scripts = "\n".join(step["run"] for step in STEPS if "run" in step)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert {*re.findall(r"make ([a-z]+)", scripts)} == {"report"} <= {*targets}
    ((subcommand, options),) = re.findall(r"bin/mls ([a-z]+) (.*)", scripts)
    known = {name for p in get_command(app).commands[subcommand].params for name in p.opts}
    assert {*re.findall(r"--[a-z-]+", options)} == {"--fail-if-worse", "--format"} <= known


def test_each_side_has_a_config_with_its_own_server_and_results(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "mls").mkdir()
    (tmp_path / "new" / "bench.yaml").write_text(SWEEP)
    assert run("Write a config for each side", tmp_path).returncode == 0
    for side in ("base", "new"):
        one = load_config(tmp_path / "mls" / f"{side}.yaml")
        assert one.results == f"results/{side}"
        assert one.server.binary == f"../{side}/build/bin/llama-server"
        assert len(cells(one)) == 2


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of mls after both sides were measured: the pull request is 20 % slower."""
    root = tmp_path_factory.mktemp("mls")
    sweep = config(repeats=4, sweep={"inflight": [1, 4]})
    folder_of(sweep, root / "results" / "base")
    folder_of(sweep, root / "results" / "new", 1.2)
    program = root / ".venv-run" / "bin" / "mls"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mls "$@"\n')
    program.chmod(0o755)
    return root


def test_a_pull_request_that_is_slower_fails_and_the_comment_says_why(checkout):
    process = run("Compare", checkout)
    assert process.returncode == 2, process.stderr
    comment = (checkout / "comment.md").read_text()
    assert comment.startswith("### Benchmark: 2 ✗ worse\n")
    assert "| `inflight 4 · " in comment or "`smollm2 · inflight 4 · ranks 2`" in comment
    assert (checkout / "compare.html").exists()


def test_one_that_is_as_fast_passes(checkout, tmp_path):
    for side in ("base", "new"):
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / side).symlink_to(checkout / "results" / "base")
    (tmp_path / ".venv-run").symlink_to(checkout / ".venv-run")
    assert run("Compare", tmp_path).returncode == 0
    assert "2 = same" in (tmp_path / "comment.md").read_text()
