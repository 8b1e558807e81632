"""Hand-out of jobs on a single rank; for several ranks see tests/mpi."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from mls.config.sections.run import Run
from mls.load.mpi import dispatch
from mls.load.mpi.dispatch import Counter, Static
from mls.load.mpi.roles import Role, assign
from mls.load.rank import UntilTime, starts


def draw_all(source):
    jobs = []
    while (job := source.draw()) is not None:
        jobs.append(job)
    assert source.exhausted
    return jobs


@given(st.integers(1, 20), st.integers(0, 200))
def test_shares_are_every_job_exactly_once(workers, limit):
    shares = [draw_all(Static(worker, workers, limit)) for worker in range(workers)]
    assert sorted(itertools.chain(*shares)) == list(range(limit))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_static_counts_what_it_hands_out_and_stops():
    source = Static(1, 3, None)
    assert [source.draw() for _ in range(3)] == [1, 4, 7] and source.handed_out() == 3
    source.stop()
    assert source.draw() is None and source.exhausted


@pytest.mark.parametrize("kind", ["auto", "static", "counter", "messages"])
def test_one_rank_draws_all_jobs_itself(kind):
    source = dispatch.make(kind, MPI.COMM_SELF, 5, 2, assign(MPI.COMM_SELF, Run()))
    assert draw_all(source) == [0, 1, 2, 3, 4]
    source.close()


def test_counter_hands_out_each_job_once_then_nothing():
    source = Counter(MPI.COMM_SELF, 5)
    assert draw_all(source) == [0, 1, 2, 3, 4] and source.handed_out() == 5
    source.close()


def test_counter_stands_any_number_of_stops():
    """Each rank that gives up on the server stops the counter; the sum must not wrap around."""
    source = Counter(MPI.COMM_SELF, None)
    assert [source.draw(), source.draw()] == [0, 1]
    for _ in range(1000):
        source.stop()
    source.exhausted = False  # as on another rank, which doesn't know yet
    assert source.draw() is None and source.exhausted
    assert source.handed_out() >= 2
    source.close()


def test_until_time_ends_the_drawing_and_not_before():
    source = Static(0, 1, None)
    assert UntilTime(source, 2**62).draw() == 0
    over = UntilTime(source, 0)
    assert over.draw() is None and over.exhausted and not source.exhausted


def test_until_time_passes_on_the_end_and_the_stop():
    source = UntilTime(Static(0, 1, 1), 2**62)
    assert source.draw() == 0 and not source.exhausted
    assert source.draw() is None and source.exhausted
    other = UntilTime(Static(0, 1, None), 2**62)
    other.stop()
    assert other.exhausted


@given(st.integers(0, 300), st.integers(1, 20))
def test_places_and_warm_up_are_spread_without_loss(total, workers):
    shares = [Role(worker, workers, []).share(total) for worker in range(workers)]
    assert sum(shares) == total and max(shares) - min(shares) <= 1
    assert Role(-1, workers, []).share(total) == 0  # the scheduling rank


@given(st.integers(1, 6), st.integers(0, 20))
def test_ramp_starts_are_even_over_all_ranks(workers, more):
    run = Run(inflight=workers + more, ranks=workers + 1, ramp_s=3)
    moments = []
    for worker in range(workers):
        role = Role(worker, workers, [])
        moments += starts(1000, run, role, role.share(run.inflight))
    moments.sort()
    step = 3_000_000_000 / run.inflight
    assert moments == [1000 + int(step * i) for i in range(run.inflight)]
