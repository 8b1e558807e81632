"""What telemetry and records say of the cards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import Load, facts, rows, to_table
from tests.unit.telemetry import POST, span, telemetry

from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.hardware.cards import PostFacts
from mls.analysis.repeat.summary import summarize
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.units import NS_PER_S

LOAD = Load()
LONG = Load(requests=130)
"""A load of 6 s, so of some 30 samples."""


def summary(figures, post=None, records=None):
    records = records or rows(LOAD)
    samples = telemetry(figures, records) if figures else None
    return summarize(to_table(records), facts(LOAD.places, post=post, telemetry=samples))


def test_without_a_card_and_without_asking_there_is_nothing_to_say():
    assert summary(None).gpu is None
    assert summary({"host": {"cpu": 1.0}}).gpu is None


def test_why_there_was_no_post_processing_is_kept():
    gpu = summary(None, PostFacts("auto", 64, "no CUDA driver", [])).gpu
    assert gpu.post.reason == "no CUDA driver" and gpu.post.total_ms.n == 0
    assert gpu.devices == [] and gpu.power_w is None


def test_times_of_post_processing_come_from_the_records():
    records = rows(LOAD)
    for row in records[1:]:
        row |= {"post_ms": 3.0, "post_copy_ms": 1.0, "post_kernel_ms": 2.0}
    post = summary(None, POST, records).gpu.post
    assert (post.total_ms.n, post.total_ms.p50) == (len(records) - 1, 3.0)
    assert (post.copy_ms.mean, post.kernel_ms.mean) == (1.0, 2.0)


@given(watts=st.floats(1, 1000), base=st.floats(0, 1e9))
def test_energy_of_a_constant_power_is_power_times_time(watts, base):
    records = rows(LOAD)
    begin, end = span(records)
    joule = watts * (end - begin) / NS_PER_S
    by_power = summary({"gpu0": {"power_w": watts}}, records=records)
    assert by_power.gpu.energy_j == pytest.approx(joule, rel=1e-6)
    tokens = by_power.tokens.completion
    assert by_power.gpu.energy_j_per_1000_tokens == pytest.approx(joule / tokens * 1000, rel=1e-6)
    # the card's own counter takes precedence over its power
    counter = {"gpu0": {"power_w": 0.0, "energy_j": lambda s: base + watts * s}}
    assert summary(counter, records=records).gpu.energy_j == pytest.approx(
        joule, rel=1e-4, abs=1e-4
    )


def test_memory_and_power_are_summed_over_the_cards_in_use():
    busy = {
        "memory_used_mib": 100.0,
        "server_memory_mib": 60.0,
        "power_w": 300.0,
        "utilization": 50,
    }
    idle = {"memory_used_mib": 5.0, "power_w": 70.0, "utilization": 0}
    gpu = summary({"gpu0": busy, "gpu1": idle, "gpu2": busy | {"utilization": 100}}).gpu
    assert gpu.devices == ["0", "2"]
    assert (gpu.memory_used_mib.max, gpu.server_memory_mib.max) == (200.0, 120.0)
    assert (gpu.power_w.mean, gpu.utilization.mean) == (600.0, 75.0)


def test_a_card_that_only_post_processes_is_in_use():
    figures = {"gpu0": {"power_w": 70.0}, "gpu1": {"power_w": 80.0}}
    assert summary(figures, PostFacts("on", 64, None, ["1 A card"])).gpu.devices == ["1"]
    assert summary(figures).gpu.devices == ["0", "1"]  # nothing tells them apart


@pytest.mark.parametrize(
    ("reasons", "status", "words"),
    [
        (0x0, "pass", "No sample"),
        (0x1 | 0x2 | 0x100, "pass", "No sample"),  # idle, set clocks, display: nothing is slowed
        (0x4, "warn", "power cap"),
        (0x08, "fail", "hardware slowdown"),
        (0x4 | 0x80, "fail", "power cap, power brake"),
        (0x20 | 0x40, "fail", "temperature (software), temperature (hardware)"),
    ],
)
def test_slowed_clocks_are_a_verdict(reasons, status, words):
    records = rows(LONG)
    run_summary = summary({"gpu0": {"clock_reasons": float(reasons)}}, records=records)
    verdicts = judge(Evidence(run_summary, to_table(records), Run(inflight=4), Checks()))
    assert verdicts[-1].check == "card_at_full_clocks"
    assert verdicts[-1].status == status and words in verdicts[-1].message
    assert run_summary.gpu.throttled_share == (0.0 if status == "pass" else 1.0)


@pytest.mark.parametrize(
    ("clocks", "status", "words"),
    [
        ((1980, 1980), "pass", "100% of its highest"),
        ((1980, 1500), "warn", "76% of its highest, and the card names no reason"),
    ],
)
def test_clocks_that_were_set_low_are_a_warning_though_the_card_names_no_reason(
    clocks, status, words
):
    """A killed profiler once left one of two cards so."""
    records = rows(LONG)
    figures = {"sm_max_mhz": 1980.0, "clock_reasons": 0.0, "server_memory_mib": 1.0}
    run_summary = summary(
        {f"gpu{i}": figures | {"sm_mhz": mhz} for i, mhz in enumerate(clocks)}, records=records
    )
    (verdict,) = judge(Evidence(run_summary, to_table(records), Run(inflight=4), Checks()))[-1:]
    assert (verdict.check, verdict.status) == ("card_at_full_clocks", status)
    assert words in verdict.message


def test_few_samples_of_a_cards_clocks_may_have_missed_slowed_ones():
    records = rows(LOAD)
    card = {"gpu0": {"clock_reasons": 0.0, "sm_mhz": 1980.0, "server_memory_mib": 1.0}}
    (verdict,) = judge(
        Evidence(summary(card, records=records), to_table(records), Run(inflight=4), Checks())
    )[-1:]
    assert (verdict.check, verdict.status) == ("card_at_full_clocks", "unknown")
    assert "29 would tell" in verdict.message


def test_the_clock_of_an_idle_card_says_nothing():
    def idle(s):
        return float(s > 0.1)

    figures = {
        "sm_max_mhz": 1980.0,
        "clock_reasons": idle,
        "sm_mhz": lambda s: 1980.0 - 1600 * idle(s),
    }
    assert summary({"gpu0": figures}).gpu.sm_share_of_max == 1.0
    figures["clock_reasons"] = 1.0
    assert summary({"gpu0": figures}).gpu.sm_share_of_max is None


def test_a_card_that_keeps_its_clocks_to_itself_is_unknown_and_no_card_is_no_verdict():
    records = rows(LOAD)
    table, run = to_table(records), Run(inflight=4)
    with_card = judge(Evidence(summary({"gpu0": {"power_w": 9.0}}), table, run, Checks()))
    without = judge(Evidence(summary({"host": {"cpu": 9.0}}), table, run, Checks()))
    assert with_card[-1].status == "unknown"
    assert "card_at_full_clocks" not in {verdict.check for verdict in without}


def test_what_was_sampled_before_and_after_the_run_does_not_count():
    records = rows(LOAD)
    _, end = span(records)
    begin = span(records)[0]
    seconds = (end - begin) / NS_PER_S

    def power(s: float) -> float:
        return 100.0 if 0 <= s <= seconds else 9999.0

    gpu = summary({"gpu0": {"power_w": power}}, records=records).gpu
    assert gpu.power_w.max == 100.0 and np.isfinite(gpu.energy_j)
