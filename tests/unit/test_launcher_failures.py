"""The last lines after a failure: few, and without anything that a terminal would obey."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake_interface_logger_plugins.common import LogEvent

from launcher.failures import Failures
from launcher.handler import snakemake_error
from mls.core.run_folder import write_failure


def job_error(rule, log, output=(), jobid=1):
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, "", None, None)
    record.__dict__.update(
        event=LogEvent.JOB_ERROR,
        rule_name=rule,
        log=[str(log)] if log else [],
        output=list(output),
        jobid=jobid,
    )
    return record


@given(messages=st.lists(st.text(max_size=200), max_size=12))
def test_any_failures_are_at_most_ten_lines(tmp_path_factory, messages):
    folder = tmp_path_factory.mktemp("logs")
    failures = Failures()
    for number, message in enumerate(messages):
        log = folder / f"{number}.log"
        log.write_text(f"noise\n{message}", encoding="utf-8", errors="replace")
        failures.emit(job_error("run", log))
    text = failures.text(measured=1, planned=20, page=None)
    assert len(text.split("\n")) <= 10
    assert all(c.isprintable() for c in text.replace("\n", ""))


def test_the_sentence_of_a_command_comes_last_whatever_is_around_it(tmp_path):
    log = tmp_path / "m.log"
    log.write_text("warning: x\nmls probe: It is down; start it.\nTerminated\n")
    failures = Failures()
    failures.emit(job_error("probe", log))
    failures.emit(job_error("probe", log))  # a job that is tried again
    assert failures.text(0, 12, None).splitlines() == [
        "0 of 12 repeats have a result.",
        f"The probe of m failed; log: {log}",
        "It is down; start it.",
    ]


def test_repeats_that_failed_alike_are_said_once(tmp_path):
    failures = Failures()
    for number in (1, 2, 3):
        folder = tmp_path / "runs" / "name~x" / f"repeat~{number}"
        folder.mkdir(parents=True)
        write_failure(folder, "None of 6 requests succeeded.")
        failures.emit(job_error("run", tmp_path / f"{number}.log", [folder / "run.json"]))
    lines = failures.text(9, 12, tmp_path / "page").splitlines()
    assert lines[0].startswith("9 of 12 repeats have a result: ")
    assert lines[1:] == [
        f"3 repeats failed; log: {tmp_path}/1.log",
        "None of 6 requests succeeded.",
    ]


def test_a_job_without_a_word_is_named(tmp_path):
    failures = Failures()
    failures.emit(job_error("aggregate", tmp_path / "no.log"))
    assert failures.text(1, 1, None).splitlines()[-1] == "It ended without a message."


def test_after_ctrl_c_no_repeat_is_blamed(tmp_path):
    failures = Failures()
    word = "Terminating processes on user request, this might take some time."
    failures.emit(logging.LogRecord("snakemake", logging.INFO, "", 0, word, None, None))
    failures.emit(job_error("run", tmp_path / "no.log"))
    assert failures.text(2, 12, None) == "Interrupted. 2 of 12 repeats have a result."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "Traceback (most recent call last):\n\n  File x\n\n"
            "OSError: [Errno 28] No space left on device: '.snakemake/log/x'",
            ".snakemake/log/x can't be written (No space left on device): free some space",
        ),
        ("OSError: [Errno 28] No space left on device", "No space left on device: free some"),
        ("MissingInputException in rule x:\nMissing input files for rule x:\n y", "Missing input"),
    ],
)
def test_what_stops_snakemake_itself_has_no_traceback(text, sentence):
    said = snakemake_error(text)
    assert sentence in said and "Traceback" not in said
    assert len(said.splitlines()) <= 10


def test_each_failed_repeat_of_a_cell_is_one_with_its_own_log(tmp_path):
    failures, outputs = Failures(), []
    for number, message in ((1, None), (2, "It died."), (3, "Not measured: it died.")):
        folder = tmp_path / "runs" / "name~x" / f"repeat~{number}"
        folder.mkdir(parents=True)
        outputs += [folder / "run.json", folder / "requests.parquet"]
        if message:
            write_failure(folder, message)
    log = tmp_path / "logs" / "repeat~2" / "run.log"
    log.parent.mkdir(parents=True)
    log.touch()
    failures.emit(job_error("cell", tmp_path / "logs" / "cell.log", outputs))
    assert failures.text(1, 3, None).splitlines() == [
        "1 of 3 repeats have a result.",
        f"1 repeat failed; log: {log}",
        "It died.",
        f"1 repeat failed; log: {tmp_path}/logs/cell.log",
        "Not measured: it died.",
    ]
