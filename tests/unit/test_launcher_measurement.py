"""A job that measures all repeats of a cell: which of them is being measured, by its log."""

from pathlib import Path

from launcher.measurement import Measurement
from launcher.sweep import Sweep


def job_of(folder, repeats, log):
    sweep = Sweep("x", Path("page"), Path("latest"), Path("answer"))
    numbers = range(1, repeats + 1)
    return Measurement([sweep.add({"model": "m"}, n, folder / f"repeat~{n}") for n in numbers], log)


def test_a_single_repeat_ends_with_its_job(tmp_path):
    job = job_of(tmp_path, 1, tmp_path / "run.log")
    assert job.log == tmp_path / "run.log" and not job.has_moved_on()
    repeat = job.end_repeat(job_failed=True)
    assert (repeat.state, job.is_over) == ("failed", True)


def test_repeats_end_as_the_log_names_the_next(tmp_path):
    log = tmp_path / "cell.log"
    job = job_of(tmp_path, 3, log)
    first = job.repeat
    assert not job.has_moved_on()  # there is no log yet
    log.write_text("mls cell: repeat 1 of 3\n")
    assert not job.has_moved_on()
    (tmp_path / "repeat~1").mkdir()
    (tmp_path / "repeat~1" / "run.json").write_text("{}")
    log.write_text(log.read_text() + "mls cell: repeat 2 of 3\n")
    assert job.has_moved_on()
    assert job.end_repeat() is first
    assert (first.state, job.repeat.number, job.repeat.state) == ("ok", 2, "running")
    assert job.log == tmp_path / "repeat~2" / "run.log"
    assert not job.has_moved_on()
    log.write_text(log.read_text() + "mls cell: repeat 2: It died.\nmls cell: repeat 3 of 3\n")
    assert job.has_moved_on()
    assert job.end_repeat().state == "failed"
    assert not job.is_over
    assert (job.end_repeat(job_failed=True).state, job.is_over) == ("failed", True)
