"""A finished folder that is moved or copied keeps its results, and gets its environment anew.

And the run environment of a checkout stays when it is used from a second folder.
"""

import copy
import json
import shutil
import subprocess

from tests.workflow.checkout import SMALL

ONLY_THE_ENVIRONMENT = {"environment_here": 1}
ONLY_WHAT_IS_NEW = {"probe": 1, "run": 1, "aggregate": 1, "page": 1}


def at(checkout, folder):
    """The same checkout in another place."""
    other = copy.copy(checkout)
    other.folder = folder
    return other


def with_one_more_value(checkout):
    config = copy.deepcopy(SMALL)
    config["sweep"]["inflight"] = [1, 2, 3]
    checkout.write(config)


def runs(checkout):
    paths = (checkout.results / "runs").rglob("run.json")
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_nothing_that_decides_on_a_rerun_names_the_place(finished):
    metadata = list((finished.folder / ".snakemake" / "metadata").iterdir())
    assert len(metadata) > 5
    assert [path for path in metadata if str(finished.folder) in path.read_text()] == []
    described = json.loads((finished.results / "models" / "smollm2.json").read_text())
    assert described["path"] == "results/models/smollm2.gguf"


def test_a_renamed_folder_has_nothing_to_do_but_its_environment(finished):
    renamed = at(finished, finished.folder.rename(finished.folder.with_name("renamed")))
    try:
        assert renamed.planned() == ONLY_THE_ENVIRONMENT
        with_one_more_value(renamed)
        assert renamed.planned() == ONLY_THE_ENVIRONMENT | ONLY_WHAT_IS_NEW
    finally:
        renamed.folder.rename(finished.folder)
        finished.write(SMALL)
    assert finished.planned() == {}


def test_a_lost_environment_measures_nothing_again(finished):
    environment = finished.folder / ".venv-run"
    aside = environment.rename(finished.folder / "aside")
    try:
        assert finished.planned() == ONLY_THE_ENVIRONMENT
    finally:
        aside.rename(environment)


def test_a_copy_works_by_itself_and_measures_only_what_is_new(finished, tmp_path):
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-a", finished.folder, folder], check=True)
    copied = at(finished, folder)
    before = runs(copied)
    assert copied.planned() == ONLY_THE_ENVIRONMENT

    done = copied.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(copied) == before
    assert copied.planned() == {}
    called = [folder / ".venv-run" / "bin" / "mls", "environment", "--config", "config.yaml"]
    told = subprocess.run([*called, "--output", "told.json"], cwd=folder, check=False)
    assert told.returncode == 0
    described = json.loads((copied.results / "environment" / "environment.json").read_text())
    assert described == json.loads((folder / "told.json").read_text())
    assert described["python"]["executable"].startswith(f"{folder}/.venv-run/")

    with_one_more_value(copied)
    assert copied.planned() == ONLY_WHAT_IS_NEW
    done = copied.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: runs(copied)[path] for path in before} == before
    assert finished.planned() == {}


def test_a_second_folder_leaves_the_run_environment_as_it_is(finished, tmp_path):
    """It was deleted and built anew, under a run that may be at work."""
    mark = finished.folder / ".venv-run" / "mark"
    mark.touch()
    shutil.copy2(finished.folder / "config.yaml", tmp_path / "config.yaml")
    described = "results/environment/environment.json"
    command = finished.command("--snakefile", finished.folder / "Snakefile", described)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / described).exists()
    assert mark.exists() and not (tmp_path / ".venv-run").exists()
    mark.unlink()
