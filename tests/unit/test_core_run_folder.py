"""The files of a run's folder before, during and after the run, however it ends."""

import json
import subprocess
import sys

import pytest

from mls.core.errors import UserError
from mls.core.run_folder import begin, clear, discard_kept, end, keep, restore_kept, write_failure


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "name~n" / "model~m" / "inflight~2" / "repeat~3"
    path.mkdir(parents=True)
    return path


def failure(folder):
    return json.loads((folder / "failure.json").read_text())


def test_what_an_earlier_try_left_is_cleared_away(folder):
    for name in ("requests.partial.parquet", "run.damaged.json", ".run.json.4711.part", "run.json"):
        (folder / name).write_text("{")
    begin(folder)
    assert {path.name for path in folder.iterdir()} == {"failure.json", "run.json"}


def test_a_run_that_is_killed_has_its_failure_there_already(folder):
    begin(folder)
    assert "was cut off" in failure(folder)["message"]
    assert (failure(folder)["cell"], failure(folder)["repeat"]) == (
        {"model": "m", "inflight": "2"},
        3,
    )


@pytest.mark.parametrize("message", [None, "The server has gone."])
def test_the_exit_status_is_only_told_when_nothing_better_is_known(folder, message):
    begin(folder)
    if message:
        write_failure(folder, message)
    end(folder, "The run ended with exit status 9.")
    assert failure(folder)["message"] == (message or "The run ended with exit status 9.")


def test_a_result_of_a_run_that_failed_after_all_is_set_aside(folder):
    begin(folder)
    (folder / "run.json").write_text("{}")
    (folder / "failure.json").unlink()  # as a run does that ends well
    end(folder, "The run ended with exit status 1.")
    assert {path.name for path in folder.iterdir()} == {"run.damaged.json", "failure.json"}


def test_a_good_end_leaves_no_failure(folder):
    begin(folder)
    end(folder, None)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before_the_load(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        begin(tmp_path / "file" / "repeat~1")


def test_mls_serve_needs_no_mpi() -> None:
    """`mls serve` runs beside the launcher; only the ranks have the launcher's MPI library."""
    program = "import sys, mls.commands.serve; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def write_result(folder):
    for name in ("run.json", "requests.parquet", "telemetry.parquet"):
        (folder / name).write_text(name)


def test_a_result_that_is_kept_outlives_its_names(folder):
    write_result(folder)
    keep(folder)
    for name in ("run.json", "requests.parquet"):  # as Snakemake does after a job that failed
        (folder / name).unlink()
    restore_kept(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: name for name in ("run.json", "requests.parquet", "telemetry.parquet")
    }
    restore_kept(folder)
    assert (folder / "run.json").exists()


@pytest.mark.parametrize("forget", [begin, clear, discard_kept])
def test_nothing_is_restored_of_an_earlier_attempt(folder, forget):
    write_result(folder)
    keep(folder)
    forget(folder)
    (folder / "run.json").unlink(missing_ok=True)
    restore_kept(folder)
    assert not (folder / "run.json").exists()


def test_a_cleared_folder_has_neither_result_nor_failure(folder):
    write_result(folder)
    write_failure(folder, "It failed.")
    clear(folder)
    clear(folder.with_name("repeat~4"))  # which isn't there
    assert not [*folder.iterdir()]
