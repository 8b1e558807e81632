"""The check on clocks of several hosts: one host has none, and a planted fault turns it."""

import pytest
from tests.unit.synthetic import Load, facts, table
from tests.unit.verdicts import CLEAN

from mls.analysis.checks.machine.clocks import clocks_agree
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.units import NS_PER_MS

RECORDS = table(CLEAN)
SUMMARY = summarize(RECORDS, facts(4))
SAME_CLOCK = {
    "before_ns": [0, 0],
    "after_ns": [0, 0],
    "drift_ppm": None,
    "drift_uncertainty_ppm": None,
}


def far_offset(uncertainty_ms, drift_ppm=3.0, drift_uncertainty_ppm=1.0):
    return {
        "before_ns": [-5_000_000_000, 1000],
        "after_ns": [-5_000_000_300, round(uncertainty_ms * NS_PER_MS)],
        "drift_ppm": drift_ppm,
        "drift_uncertainty_ppm": drift_uncertainty_ppm,
    }


def verdicts_on(*offsets, summary=SUMMARY):
    ranks = [{"rank": rank, "offset": offset} for rank, offset in enumerate(offsets)]
    return list(clocks_agree(Evidence(summary, RECORDS, Run(), Checks(), clock={"ranks": ranks})))


def test_one_clock_needs_no_check():
    assert verdicts_on(SAME_CLOCK, SAME_CLOCK) == []
    assert list(clocks_agree(Evidence(SUMMARY, RECORDS, Run(), Checks()))) == []
    older = {"ranks": [{"rank": 0, "offset_ns": {"before": [0, 0], "after": [0, 0]}}]}
    assert list(clocks_agree(Evidence(SUMMARY, RECORDS, Run(), Checks(), clock=older))) == []


@pytest.mark.parametrize(
    ("share", "status"), [(0.009, "pass"), (0.011, "warn"), (0.019, "warn"), (0.021, "fail")]
)
def test_uncertainty_is_held_against_the_median_ttft(share, status):
    median = SUMMARY.ttft_ms.p50
    (verdict,) = verdicts_on(SAME_CLOCK, far_offset(0.002), far_offset(share * median))
    assert (verdict.check, verdict.status) == ("clocks_agree", status)
    assert verdict.measured == pytest.approx(share, rel=0.01)
    assert "rank 2's host" in verdict.message


@pytest.mark.parametrize("drift", [1500.0, -1500.0])
def test_a_clock_that_stood_still_fails(drift):
    (verdict,) = verdicts_on(SAME_CLOCK, far_offset(0.001, drift))
    assert verdict.status == "fail"
    assert "rank 1's host" in verdict.message and f"{drift / 1e6:+.2%}" in verdict.message


def test_a_short_run_cannot_tell_drift_from_error():
    (verdict,) = verdicts_on(SAME_CLOCK, far_offset(0.001, 1500.0, 600.0))
    assert verdict.status == "pass"


def test_without_a_streamed_reply_the_latency_is_what_counts():
    whole = summarize(table(Load(stream=False)), facts(4))
    (verdict,) = verdicts_on(SAME_CLOCK, far_offset(0.001), summary=whole)
    assert verdict.status == "pass" and "median latency" in verdict.message
    none = whole.model_copy(update={"latency_ms": whole.ttft_ms})
    (verdict,) = verdicts_on(SAME_CLOCK, far_offset(0.001), summary=none)
    assert verdict.status == "unknown"


def test_it_is_among_the_verdicts_of_a_run_on_several_hosts():
    clock = {"ranks": [{"rank": 1, "offset": far_offset(0.001)}]}
    verdicts = judge(Evidence(SUMMARY, RECORDS, Run(inflight=4), Checks(), clock=clock))
    assert [v.status for v in verdicts if v.check == "clocks_agree"] == ["pass"]
