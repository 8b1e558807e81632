"""Exchanges as a transport would bring them back."""

from __future__ import annotations

from mls.config.sections.run import Run
from mls.load.transport.exchange import Exchange
from mls.protocol.request import RequestBuilder, Target

BUILDER = RequestBuilder(
    [Target("http://127.0.0.1:8090")], Run(), served_as=None, seed=1, run_id="run"
)
START_NS = 1_000_000_000
STEP_NS = 10_000_000
LAG_NS = 50_000


def exchange(
    *reads: bytes,
    job: int = 0,
    status: int = 200,
    event_stream: bool = True,
) -> Exchange:
    """One exchange whose i-th read brought `reads[i]` of the body, 10 ms after the one before."""
    made = Exchange(job, 0, START_NS)
    made.start_ns = START_NS
    made.status = status
    made.event_stream = event_stream
    for i, data in enumerate(reads):
        made.arrived_ns.append(START_NS + (i + 1) * STEP_NS)
        made.read_ns.append(made.arrived_ns[-1] + LAG_NS)
        made.pieces.append((data, i))
    made.end_ns = made.arrived_ns[-1] if reads else START_NS + STEP_NS
    return made
