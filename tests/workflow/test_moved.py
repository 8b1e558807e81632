"""A folder that is moved or copied keeps its results, and gets a new environment.

The run environment of a checkout stays when a second folder uses it.
"""

import copy
import json
import shutil
import subprocess

from tests.workflow.checkout import BUILT

ONLY_THE_ENVIRONMENT = {"environment_here": 1}
ONLY_WHAT_IS_NEW = {"probe": 1, "run": 1, "aggregate": 1, "page": 1, "latest": 1}


def at(checkout, folder):
    """The same checkout in another folder."""
    other = copy.copy(checkout)
    other.folder = folder
    return other


def with_one_more_value(checkout):
    config = copy.deepcopy(BUILT)
    config["sweep"]["inflight"] = [1, 2, 3]
    checkout.write(config)


def runs(checkout):
    paths = (checkout.results / "runs").rglob("run.json")
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_nothing_that_decides_on_a_rerun_names_the_place(complete_built_checkout):
    metadata = list((complete_built_checkout.folder / ".snakemake" / "metadata").iterdir())
    assert len(metadata) > 5
    assert [
        path for path in metadata if str(complete_built_checkout.folder) in path.read_text()
    ] == []
    description = json.loads(
        (complete_built_checkout.results / "models" / "smollm2.json").read_text()
    )
    assert description["path"] == "results/models/smollm2.gguf"


def test_a_renamed_folder_has_nothing_to_do_but_its_environment(complete_built_checkout):
    other = at(
        complete_built_checkout,
        complete_built_checkout.folder.rename(complete_built_checkout.folder.with_name("renamed")),
    )
    try:
        assert other.plan() == ONLY_THE_ENVIRONMENT
        with_one_more_value(other)
        assert other.plan() == ONLY_THE_ENVIRONMENT | ONLY_WHAT_IS_NEW
    finally:
        other.folder.rename(complete_built_checkout.folder)
        complete_built_checkout.reset()
    assert complete_built_checkout.plan() == {}


def test_a_lost_environment_measures_nothing_again(complete_built_checkout):
    environment = complete_built_checkout.folder / ".venv-run"
    aside = environment.rename(complete_built_checkout.folder / "aside")
    try:
        assert complete_built_checkout.plan() == ONLY_THE_ENVIRONMENT
    finally:
        aside.rename(environment)


def test_a_copy_works_by_itself_and_measures_only_what_is_new(complete_built_checkout, tmp_path):
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-a", complete_built_checkout.folder, folder], check=True)
    second = at(complete_built_checkout, folder)
    before = runs(second)
    assert second.plan() == ONLY_THE_ENVIRONMENT

    process = second.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    assert runs(second) == before
    assert second.plan() == {}
    command = [folder / ".venv-run" / "bin" / "mls", "environment", "--config", "config.yaml"]
    process = subprocess.run([*command, "--output", "description.json"], cwd=folder, check=False)
    assert process.returncode == 0
    description = json.loads((second.results / "environment" / "environment.json").read_text())
    assert description == json.loads((folder / "description.json").read_text())
    assert description["python"]["executable"].startswith(f"{folder}/.venv-run/")

    with_one_more_value(second)
    assert second.plan() == ONLY_WHAT_IS_NEW
    process = second.snakemake()
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path: runs(second)[path] for path in before} == before
    assert complete_built_checkout.plan() == {}


def test_a_second_folder_leaves_the_run_environment_as_it_is(complete_built_checkout, tmp_path):
    """Once it was deleted and built anew, though a run could be using it."""
    mark = complete_built_checkout.folder / ".venv-run" / "mark"
    mark.touch()
    shutil.copy2(complete_built_checkout.folder / "config.yaml", tmp_path / "config.yaml")
    target = "results/environment/environment.json"
    command = complete_built_checkout.command(
        "--snakefile", complete_built_checkout.folder / "Snakefile", target
    )
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / target).exists()
    assert mark.exists() and not (tmp_path / ".venv-run").exists()
    mark.unlink()
