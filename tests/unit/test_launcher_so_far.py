"""When a page of the sweep so far is made: between blocks, beside no measurement, if it is cheap."""

import itertools
import logging
from types import SimpleNamespace

import psutil
import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from launcher import so_far
from launcher.so_far import PageSoFar

LONG_S = 1000.0
"""So long a time of measuring that a page may be made."""


class Workflow:
    """Records of Snakemake, a clock, and a command that counts the pages in a file."""

    def __init__(self, folder, monkeypatch, command="echo page >> pages"):
        monkeypatch.chdir(folder)
        self.now_s = 50.0
        monkeypatch.setattr(so_far, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.folder = folder
        self.stop = folder / "last-stop"
        self.page = PageSoFar(command, folder / "runs", folder / "logs" / "page.log", self.stop)
        self._ids = itertools.count(1)

    def tell(self, event, **fields):
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", (), None)
        record.__dict__.update(fields, event=event)
        assert self.page.filter(record)

    def begin(self, repeat=None, rule="run"):
        job = next(self._ids)
        wildcards = {"inflight": "1"} | ({"repeat": str(repeat)} if repeat else {})
        self.tell(LogEvent.JOB_INFO, jobid=job, rule_name=rule, wildcards=wildcards)
        return job

    def end(self, job, takes_s=LONG_S, result=True):
        self.now_s += takes_s
        if result:
            folder = self.folder / "runs" / "inflight~1" / f"repeat~{job}"
            folder.mkdir(parents=True)
            (folder / "run.json").write_text("{}")
            self.tell(LogEvent.JOB_FINISHED, job_id=job)
        else:
            self.tell(LogEvent.JOB_ERROR, jobid=job, rule_name="run")

    def measure(self, repeat=None, rule="run", **keywords):
        self.end(self.begin(repeat, rule), **keywords)
        return self.pages

    @property
    def pages(self):
        pages = self.folder / "pages"
        return len(pages.read_text().splitlines()) if pages.exists() else 0


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    return Workflow(tmp_path, monkeypatch)


def test_a_page_is_made_before_the_first_repeat_of_the_next_block(workflow):
    assert [workflow.measure(repeat) for repeat in (1, 1, 2, 2, 3, 3)] == [0, 0, 1, 1, 2, 2]


def test_a_sweep_of_one_block_needs_none(workflow):
    assert [workflow.measure(1) for _ in range(3)] == [0, 0, 0]
    assert not workflow.stop.exists()


def test_each_cell_that_shares_a_server_is_a_block(workflow):
    assert [workflow.measure(rule="cell") for _ in range(3)] == [0, 1, 2]


def test_no_page_is_made_beside_a_measurement(workflow):
    workflow.measure(1)
    first = workflow.begin(2)
    workflow.begin(3)
    assert workflow.pages == 1  # of the first block
    workflow.end(first)
    workflow.begin(4)
    assert workflow.pages == 1


def test_a_repeat_that_failed_runs_no_more(workflow):
    workflow.measure(1)
    workflow.measure(1, result=False)
    assert workflow.measure(2) == 1


def test_without_a_result_there_is_no_page(workflow):
    workflow.measure(1, result=False)
    assert workflow.measure(2) == 0


def test_pages_take_no_more_than_their_share_of_the_time(workflow):
    least_s = (so_far._FIRST_S + so_far._EACH_S) / so_far.SHARE
    workflow.measure(1, takes_s=0.9 * least_s)
    assert workflow.measure(2, takes_s=0.3 * least_s) == 0
    assert workflow.measure(3) == 1


def test_what_a_page_took_says_when_the_next_one_is_made(workflow, monkeypatch):
    make = workflow.page._make

    def slow(limit_s):
        make(limit_s)
        workflow.now_s += 20

    monkeypatch.setattr(workflow.page, "_make", slow)
    assert workflow.measure(1) == 0
    assert workflow.measure(2, takes_s=390) == 1
    assert workflow.measure(3, takes_s=900) == 1  # 390 s allow for less than it took
    assert workflow.measure(4) == 2


@pytest.mark.parametrize("command", ["exit 1", "kill -9 $$", "no-such-command"])
def test_a_page_that_fails_is_no_failure(tmp_path, monkeypatch, command):
    workflow = Workflow(tmp_path, monkeypatch, f"echo page >> pages; {command}")
    assert [workflow.measure(repeat) for repeat in (1, 2, 3)] == [0, 1, 2]


def test_a_page_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    workflow = Workflow(tmp_path, monkeypatch, "sleep 600 & echo $! > pages; sleep 600")
    monkeypatch.setattr(so_far, "_FIRST_S", 0.0)
    monkeypatch.setattr(so_far, "SHARE", 0.3 / LONG_S)
    workflow.measure(1)
    assert workflow.measure(2) == 1
    assert "as measuring has to go on" in (tmp_path / "logs" / "page.log").read_text()
    assert not psutil.pid_exists(int((tmp_path / "pages").read_text()))


def test_a_log_that_cannot_be_written_is_no_failure(workflow, caplog):
    (workflow.folder / "logs").write_text("a file")
    assert [workflow.measure(repeat) for repeat in (1, 2)] == [0, 0]
    assert "could not be made" in caplog.text


@pytest.mark.parametrize("before", [None, "an earlier failure"])
def test_tables_and_page_count_as_foreign_until_the_rules_have_made_them(
    tmp_path, monkeypatch, before
):
    if before:
        (tmp_path / "last-stop").write_text(before)
    workflow = Workflow(tmp_path, monkeypatch)
    workflow.measure(1)
    workflow.measure(2)
    foreign = workflow.stop.read_text()
    assert foreign != before
    workflow.page.settle()  # of a call that ended without its page
    assert workflow.stop.read_text() == foreign
    workflow.tell(LogEvent.JOB_INFO, jobid=99, rule_name="latest", wildcards={})
    workflow.page.settle()
    assert (workflow.stop.read_text() if workflow.stop.exists() else None) == before
