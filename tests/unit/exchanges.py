"""Exchanges as a transport returns them."""

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
    """One exchange: its i-th read is `reads[i]` of the body, 10 ms after the read before."""
    exchange = Exchange(job, 0, START_NS)
    exchange.start_ns = START_NS
    exchange.status = status
    exchange.event_stream = event_stream
    for i, data in enumerate(reads):
        exchange.arrived_ns.append(START_NS + (i + 1) * STEP_NS)
        exchange.read_ns.append(exchange.arrived_ns[-1] + LAG_NS)
        exchange.pieces.append((data, i))
    exchange.end_ns = exchange.arrived_ns[-1] if reads else START_NS + STEP_NS
    return exchange
