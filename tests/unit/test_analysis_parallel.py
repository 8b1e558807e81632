"""Work spread over processes: results in order, and the error of any process."""

import os
import signal
from functools import partial

import pytest
from tests.unit.synthetic import config, write_results

from mls.analysis import parallel
from mls.analysis.parallel import on_cores
from mls.analysis.study import read_study
from mls.core.errors import UserError

pytestmark = pytest.mark.slow

MANY = range(2 * parallel.LEAST_EACH)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)


def number_and_pid(number):
    return number, os.getpid()


def refuse(worst, number):
    if number == worst:
        raise UserError(f"{number} is too many.")


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_many_things_are_done_by_other_processes_in_order_and_these_end():
    numbers, processes = zip(*on_cores(number_and_pid, MANY), strict=True)
    assert numbers == tuple(MANY)
    assert os.getpid() not in processes
    for process in set(processes):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_few_things_are_done_here():
    assert on_cores(number_and_pid, MANY[:-1]) == [(number, os.getpid()) for number in MANY[:-1]]


def test_a_users_error_comes_through():
    with pytest.raises(UserError, match="7 is too many"):
        on_cores(partial(refuse, 7), MANY)


def test_a_process_that_is_killed_is_one_sentence():
    with pytest.raises(UserError, match="want of memory"):
        on_cores(die, MANY)


def test_a_study_is_the_same_on_one_core_and_on_two(tmp_path, monkeypatch):
    sweep = config(repeats=2, sweep={"inflight": [*MANY[1:], 64]}, run={"iters": 8})
    write_results(sweep, tmp_path)
    two = read_study(sweep, tmp_path)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    one = read_study(sweep, tmp_path)
    assert len(two.cells) == len(MANY)
    for cell, other in zip(one.cells, two.cells, strict=True):
        assert (cell.cell, cell.estimates, cell.verdicts) == (
            other.cell, other.estimates, other.verdicts)  # fmt: skip
        assert cell.repeats == other.repeats
