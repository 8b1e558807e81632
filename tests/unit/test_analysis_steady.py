"""Checks of the window, host and clocks: a clean run passes, a planted fault turns each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.unit.synthetic import Load, facts, rows, table, to_table
from tests.unit.verdicts import CLEAN, CLOCK, HOST, IDLE, QUIET, verdicts

from mls.analysis.checks.machine.quiet_host import quiet_host
from mls.analysis.checks.registry import judge
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.summary import summarize
from mls.analysis.sample_size import least_samples
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.units import NS_PER_MS, NS_PER_S

pytestmark = pytest.mark.slow

NOISY = Load(places=4, requests=80, tokens=16, noise=0.3)
WINDOW = ("steady", "warmed_up")


def with_pace(load, pace):
    """The load's records, with job i pace(i) times as long; each place sends again when free."""
    free, records = {}, []
    for job, row in enumerate(rows(load)):
        start = free.get(row["slot"], row["start_ns"])
        duration_ns = round((row["end_ns"] - row["start_ns"]) * pace(job))
        free[row["slot"]] = start + duration_ns
        records.append(
            row | {"scheduled_ns": start, "start_ns": start, "end_ns": start + duration_ns}
        )
    return to_table(records)


def test_noise_alone_is_steady_and_warmed_up():
    by_check = verdicts(table(NOISY))
    assert by_check["steady"].status == by_check["warmed_up"].status == "pass"
    assert "No trend" in by_check["steady"].message


@pytest.mark.parametrize(("last", "word"), [(1.6, "rose"), (0.6, "fell")])
def test_a_server_that_drifts_fails_steady(last, word):
    records = with_pace(NOISY, lambda job: 1 + (last - 1) * job / NOISY.requests)
    verdict = verdicts(records)["steady"]
    assert verdict.status == "fail"
    assert word in verdict.message
    assert verdict.measured == pytest.approx(last - 1, abs=0.25)


def test_a_drift_within_the_tolerance_passes_and_is_told():
    records = with_pace(CLEAN, lambda job: 1 + 0.3 * job / CLEAN.requests)
    wide = Checks(drift=0.5)
    assert verdicts(records)["steady"].status == "fail"
    verdict = verdicts(records, checks=wide)["steady"]
    assert verdict.status == "pass"
    assert "less than 50%" in verdict.message


def test_one_slow_request_is_no_trend():
    records = rows(NOISY)
    records[-6]["end_ns"] += 3000 * NS_PER_MS
    assert verdicts(to_table(records))["steady"].status == "pass"


FULL = Run(inflight=8, iters=8, max_tokens=16)


def in_step(rounds, places=8, between=0.0, drift=0.0, cold=0, seed=1):
    """Records of a full server; requests of a round start within a millisecond and end together."""
    rng = np.random.default_rng(seed)
    records = rows(Load(places=places, requests=rounds * places, tokens=16))
    begin_ns = records[0]["start_ns"]
    for r in range(rounds):
        pace = (1 + drift * r) * (1.3 if r < cold else 1) * (1 + between * rng.standard_normal())
        duration_ns = round(2600 * NS_PER_MS * pace)
        for place, late in enumerate(np.sort(rng.uniform(0, NS_PER_MS, places)).astype(int)):
            start = begin_ns + int(late)
            times = {"scheduled_ns": start, "start_ns": start, "end_ns": begin_ns + duration_ns}
            records[r * places + place] |= times
        begin_ns += duration_ns
    return to_table(records)


def test_requests_that_begin_and_end_together_are_no_trend():
    """The later a request of a round starts, the less it takes.

    Once that made a steady server's latency fall by 101 %.
    """
    verdict = verdicts(in_step(3), run=FULL)["steady"]
    assert (verdict.status, verdict.measured) == ("unknown", None)
    assert "at 2 moments" in verdict.message
    assert verdicts(in_step(12), run=FULL)["steady"].status == "pass"


def queue_records(places, slots=4, requests=32, seed=1):
    """Records of a server with four slots, 300 ms a request; with more places some always wait."""
    rng = np.random.default_rng(seed)
    records = rows(Load(places=places, requests=requests, tokens=16))
    epoch = records[0]["start_ns"]
    place_free, slot_free = np.arange(places) * 1000 + epoch, np.full(slots, epoch)
    for row in records:
        place, slot = place_free.argmin(), slot_free.argmin()
        start = int(place_free[place])
        end = max(start, int(slot_free[slot])) + int(rng.normal(300, 3) * NS_PER_MS)
        row |= {"scheduled_ns": start, "start_ns": start, "end_ns": end}
        place_free[place], slot_free[slot] = end, end
    return to_table(records)


@pytest.mark.parametrize("places", [4, 5, 6, 7, 8])
def test_a_queue_is_neither_unsteady_nor_cold(places):
    """The first request that waits is alone in its batch, and the last may be."""
    full = Run(inflight=places, iters=8, max_tokens=16)
    for seed in range(20):
        by_check = verdicts(queue_records(places, seed=seed), run=full)
        assert {by_check["steady"].status, by_check["warmed_up"].status} <= {"pass", "unknown"}


def test_rounds_that_differ_by_chance_are_seldom_unsteady():
    for rounds in (6, 12):
        runs = [
            verdicts(in_step(rounds, between=0.15, seed=s), run=FULL, names=WINDOW)
            for s in range(200)
        ]
        assert sum(by_check["steady"].status == "fail" for by_check in runs) <= 8
        assert sum(by_check["warmed_up"].status == "fail" for by_check in runs) <= 8


@pytest.mark.parametrize("rounds", [6, 12, 40])
def test_first_rounds_that_take_longer_are_a_cold_start(rounds):
    cold = max(1, (rounds - 1) // 4)
    verdict = verdicts(in_step(rounds, between=0.02, cold=cold), run=FULL)["warmed_up"]
    assert (verdict.status, verdict.measured) == ("fail", pytest.approx(0.3, abs=0.1))
    assert verdicts(in_step(rounds, between=0.02), run=FULL)["warmed_up"].status == "pass"


@pytest.mark.parametrize("rounds", [6, 12, 40])
def test_rounds_that_take_longer_and_longer_are_unsteady(rounds):
    verdict = verdicts(in_step(rounds, drift=0.5 / rounds), run=FULL)["steady"]
    assert (verdict.status, "rose" in verdict.message) == ("fail", True)


def test_a_cold_start_within_the_window_fails_warmed_up():
    records = with_pace(NOISY, lambda job: 1.8 if job < 20 else 1.0)
    verdict = verdicts(records)["warmed_up"]
    assert verdict.status == "fail"
    assert "run.warmup" in verdict.message
    assert verdict.measured > 0.4


def test_too_few_requests_leave_both_unknown():
    by_check = verdicts(table(Load(places=4, requests=8, tokens=16)))
    assert by_check["steady"].status == by_check["warmed_up"].status == "unknown"
    assert "measure about 10 rounds (run.rounds" in by_check["steady"].message


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 1000.0]))
def test_verdicts_on_the_window_do_not_depend_on_the_unit_of_latency(seed, scale):
    load = Load(places=2, requests=24, tokens=4, noise=0.5, seed=seed)
    slow = Load(places=2, requests=24, tokens=4, noise=0.5, seed=seed,
                ttft_ms=50 * scale, itl_ms=10 * scale)  # fmt: skip
    one, other = verdicts(table(load)), verdicts(table(slow))
    for check in ("steady", "warmed_up"):
        assert one[check].status == other[check].status
        assert one[check].measured == pytest.approx(other[check].measured, abs=1e-3)


def test_more_time_at_the_server_than_for_the_client_fails():
    records = rows(CLEAN)
    records[7]["server_predicted_ms"] *= 2
    verdict = verdicts(to_table(records))["server_time_fits"]
    assert verdict.status == "fail"
    assert "1 of 40" in verdict.message


def test_a_server_without_times_of_its_own_is_unknown():
    silent = to_table([row | {"server_prompt_ms": None} for row in rows(CLEAN)])
    assert verdicts(silent)["server_time_fits"].status == "unknown"


def test_prompts_that_the_server_cut_fail():
    records = [row | {"prompt_tokens": 20} for row in rows(CLEAN)]
    verdict = verdicts(to_table(records), before=None)["work_as_asked"]
    assert (verdict.status, verdict.measured, verdict.threshold) == ("fail", 20, 48)
    assert "did not read them whole" in verdict.message


def test_an_early_stop_says_what_ended_it():
    records = rows(CLEAN)
    records[3] |= {"completion_tokens": 5, "finish_reason": "stop"}
    assert "ended by stop" in verdicts(to_table(records))["work_as_asked"].message


def host(server="managed", **after):
    return HOST | {"server": server, "after": QUIET | after}


HOUR_NS = 3600 * NS_PER_S


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"busy_s": 120.0}, "Other processes used 25.0%"),
        ({"steal_s": 2.0}, "hypervisor took 5.0%"),
        ({"swapped_bytes": 4096 + 2**20}, "swapped (1.0 MiB)"),
        ({"throttled": 5}, "slowed down for heat 2 times"),
        ({"boottime_ns": QUIET["boottime_ns"] + HOUR_NS}, "suspended for 3,600.0 s"),
    ],
    ids=["other processes", "steal", "swap", "heat", "suspended"],
)
def test_a_disturbed_host_fails(after, words):
    verdict = verdicts(table(CLEAN), host=host(**after))["quiet_host"]
    assert verdict.status == "fail"
    assert words in verdict.message


def test_clocks_that_are_read_one_after_the_other_are_no_suspension():
    later = QUIET["boottime_ns"] + NS_PER_MS
    assert verdicts(table(CLEAN), host=host(boottime_ns=later))["quiet_host"].status == "pass"


def test_results_that_know_no_time_since_boot_are_not_called_suspended():
    before, after = ({k: v for k, v in s.items() if k != "boottime_ns"} for s in (IDLE, QUIET))
    host_record = {"server": "managed", "before": before, "after": after}
    assert verdicts(table(CLEAN), host=host_record)["quiet_host"].status == "pass"


def test_a_governor_that_follows_the_load_is_warned_about():
    verdict = verdicts(table(CLEAN), host=host(governor="powersave"))["quiet_host"]
    assert verdict.status == "warn"
    assert "powersave" in verdict.message


def test_a_clock_that_was_set_fails():
    clock = {"ranks": [{"rank": 0, "wall_clock_steps": 2}]}
    assert clock != CLOCK
    clean = Evidence(None, None, None, Checks(), host=HOST, clock=CLOCK)
    assert quiet_host(clean).status == "pass"
    assert quiet_host(Evidence(None, None, None, Checks(), host=HOST, clock=clock)).status == "fail"


def test_a_server_of_somebody_else_on_this_host_leaves_others_unknown():
    verdict = verdicts(table(CLEAN), host=host(server="local"))["quiet_host"]
    assert (verdict.status, verdict.measured) == ("unknown", None)


def test_without_a_record_of_the_host_it_is_unknown():
    verdict = quiet_host(Evidence(None, None, None, Checks()))
    assert verdict.status == "unknown"


@pytest.mark.parametrize(("percentile", "least"), [(50, 5), (90, 29), (95, 59), (99, 299)])
def test_samples_that_a_percentile_needs(percentile, least):
    assert least_samples(percentile) == least
    above = [stats.binom.sf(0, n, 1 - percentile / 100) for n in (least - 1, least)]
    assert above[0] < 0.95 <= above[1]  # chance that at least one sample lies above it


def test_noise_seldom_fails_the_window():
    """Of 200 seeded runs of a server that does not change, at most 4 % fail either check."""
    failures = 0
    for seed in range(200):
        records = table(Load(places=4, requests=40, tokens=4, noise=0.4, seed=seed))
        by_check = verdicts(records, names=WINDOW)
        failures += "fail" in (by_check["steady"].status, by_check["warmed_up"].status)
    assert failures <= np.ceil(0.04 * 200)


@pytest.mark.parametrize("last", [0.39, 1.9])
def test_a_trend_that_few_rounds_cannot_tell_from_chance_is_unknown(last):
    """Of 24 requests at 4 in flight, falls by 61 % and rises by 96 % were once called no trend."""
    statuses = set()
    for seed in range(20):
        load = Load(places=4, requests=24, tokens=16, noise=1.2, seed=seed)
        verdict = verdicts(with_pace(load, lambda job: 1 + (last - 1) * job / 24))["steady"]
        statuses.add(verdict.status)
        if verdict.status == "unknown":
            assert "can't tell" in verdict.message or "are needed" in verdict.message
            assert "run.rounds" in verdict.message
    assert "unknown" in statuses and "pass" not in statuses


def test_a_cold_start_that_may_be_chance_is_unknown():
    """Once a run with 171 % passed, as that "may be chance"."""
    records = in_step(6, between=0.4, cold=1, seed=2)
    verdict = verdicts(records, run=FULL)["warmed_up"]
    assert verdict.status == "unknown"
    assert "rounds" in verdict.message


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([6, 12, 30]), st.sampled_from([-0.2, 0.2]))
def test_what_passes_excludes_twice_the_threshold(seed, count, drift):
    """A pass says that a drift of 20 % would have shown, so the measured one is far smaller."""
    records = in_step(count, between=0.05, drift=drift / count, seed=seed)
    verdict = verdicts(records, run=FULL)["steady"]
    if verdict.status == "pass":
        assert abs(verdict.measured) <= 0.1


def prefix_records(groups, cold, count=80):
    """Records with a shared prefix: each group's first requests take `cold` times as long."""
    load = Load(places=4, requests=count, tokens=16, noise=0.05)
    originals = rows(load)
    records = with_pace(load, lambda job: cold if job < max(groups, load.places) else 1.0)
    return to_table(
        [
            row | {"prefix_group": row["job"] % groups, "first_chunk_ns": row["end_ns"] - 1000}
            for row in (dict(originals[i]) | r for i, r in enumerate(records.to_pylist()))
        ]
    )


def prefix_verdicts(records, cache_prompt=True):
    run = Run(inflight=4, iters=80, max_tokens=16, cache_prompt=cache_prompt)
    workload = Workload(kind="shared_prefix", groups=12, prefix_tokens=64, prompt_tokens=128)
    summary = summarize(records, facts(4))
    evidence = Evidence(summary, records, run, Checks(), None, None, HOST, CLOCK, workload=workload)
    return {verdict.check: verdict for verdict in judge(evidence)}


def test_each_groups_first_requests_are_no_cold_start():
    """They fill the server's cache; a warm-up with other prompts can't."""
    records = prefix_records(12, 3.0)
    assert prefix_verdicts(records)["warmed_up"].status == "pass"
    assert prefix_verdicts(records, cache_prompt=False)["warmed_up"].status == "fail"


def test_a_cold_start_behind_each_groups_first_is_seen_and_no_warmup_advised():
    records = with_pace(
        Load(places=4, requests=80, tokens=16, noise=0.05), lambda job: 1.8 if job < 30 else 1.0
    )
    verdict = prefix_verdicts(records)["warmed_up"]
    assert verdict.status == "fail"
    assert "run.warmup" not in verdict.message and "cache" in verdict.message
