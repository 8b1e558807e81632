"""A server that generates on for clients that hung up is found out, by either sign and transport."""

import pytest
from tests.faults.driving import both, gather
from tests.servers.slotted import Slotted

from mls.analysis.repeat.assess import Observation, assess
from mls.config.sections.checks import Checks
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload

pytestmark = pytest.mark.timeout(120)


def judged(server, transport, stream=True, counted=True):
    """(verdict, figures) of a run against it; counted: whether its counters are looked at."""
    options = {"inflight": server.slots, "iters": 24 * server.slots, "max_tokens": 40}
    cancel = {"share": 0.4, "after_s": {"min": 0.02, "max": 0.15}}
    options |= {"transport": transport, "stream": stream, "cancel": cancel}
    before = server.metrics()
    harvest = gather(server.url, **options)
    after = server.metrics()
    observation = Observation(
        table=harvest.table,
        run=Run(ranks=1, warmup=0, **options),
        load=Load(),
        workload=Workload(),
        clock="kernel",
        per_rank=[],
        metrics_before=before if counted else None,
        metrics_after=after if counted else None,
        host={},
        clocks={},
        post=None,
        telemetry=None,
        slots=None if counted else server.slots,
    )
    assessment = assess(observation, Checks())
    by_check = {verdict.check: verdict for verdict in assessment.verdicts}
    assert by_check["books_agree"].status == "unknown"
    return by_check["slots_freed"], assessment.summary.hang_ups


@both
@pytest.mark.parametrize("counts", ["steps", "replies"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_its_counters_tell(transport, counts, goes_on):
    with Slotted(2, goes_on, counts) as server:
        verdict, figures = judged(server, transport)
    assert verdict.status == ("fail" if goes_on else "pass"), verdict
    assert figures.in_reply.freed_ms is None  # as its slots aren't known


@both
def test_a_reply_in_one_piece_is_judged_by_counters_too(transport):
    with Slotted(2, goes_on=True) as server:
        verdict, _ = judged(server, transport, stream=False)
    assert verdict.status == "fail", verdict


@both
@pytest.mark.parametrize("goes_on", [False, True])
def test_whoever_comes_next_tells(transport, goes_on):
    with Slotted(1, goes_on) as server:
        verdict, figures = judged(server, transport, counted=False)
    assert figures.generated_share is None and figures.in_reply.n > 0
    # on a machine that is busy with something else it may be that nothing can be told
    assert verdict.status in (("warn", "fail") if goes_on else ("pass", "unknown")), verdict
