"""Times of other hosts' clocks, brought to rank 0's by measurements before and after the run."""

from hypothesis import given
from hypothesis import strategies as st

from mls.core.units import NS_PER_S
from mls.load.mpi.clock_sync import Offset, ToRank0

YEAR_NS = 365 * 24 * 3600 * NS_PER_S
PPM = 1_000_000


def on_rank0(theirs_ns, start_ns, ahead_ns, drift_ppm):
    """Rank 0's time at the moment `theirs_ns` of another clock.

    Rank 0's clock is ahead of it by `ahead_ns` at its `start_ns`, and faster by `drift_ppm`.
    """
    return theirs_ns + ahead_ns + (theirs_ns - start_ns) * drift_ppm // PPM


@given(
    start_ns=st.integers(0, YEAR_NS),
    ahead_ns=st.integers(-YEAR_NS, YEAR_NS),
    drift_ppm=st.integers(-900, 900),
    span_ns=st.integers(1, 24 * 3600 * NS_PER_S),
    share=st.floats(0, 1),
    errors_ns=st.tuples(st.integers(-100_000, 100_000), st.integers(-100_000, 100_000)),
)
def test_a_clock_of_any_offset_and_rate_is_right_to_within_the_uncertainty(
    start_ns, ahead_ns, drift_ppm, span_ns, share, errors_ns
):
    def offset_at(at_ns, error_ns):
        truth = on_rank0(at_ns, start_ns, ahead_ns, drift_ppm) - at_ns
        return Offset(at_ns, truth + error_ns, abs(error_ns) + 1)

    to_rank0 = ToRank0(
        offset_at(start_ns, errors_ns[0]), offset_at(start_ns + span_ns, errors_ns[1])
    )
    moment = start_ns + int(share * span_ns)
    error = abs(to_rank0(moment) - on_rank0(moment, start_ns, ahead_ns, drift_ppm))
    assert error <= max(map(abs, errors_ns)) + 2  # whole nanoseconds
    facts = to_rank0.facts
    rounding_ppm = 2 / span_ns * PPM
    assert abs(facts["drift_ppm"] - drift_ppm) <= facts["drift_uncertainty_ppm"] + rounding_ppm


@given(times=st.lists(st.integers(0, YEAR_NS), min_size=1))
def test_rank_0s_own_clock_is_left_alone(times):
    to_rank0 = ToRank0(Offset(times[0], 0, 0), Offset(times[-1], 0, 0))
    assert [to_rank0(time) for time in times] == times
    assert to_rank0.facts["drift_ppm"] is None
