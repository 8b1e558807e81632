"""A trial of the load generator for the probe: one request, sent as a run sends it."""

from __future__ import annotations

import time
import uuid

from mls.config.sections.run import Run
from mls.load.postprocess import Posting
from mls.load.replies import parse
from mls.load.sources import WarmUp
from mls.load.transport.epoll import EpollTransport
from mls.load.transport.pacing import ClosedLoop
from mls.load.transport.unframe import unframe
from mls.protocol.replies.reply import Reply
from mls.protocol.request import RequestBuilder, Target

MOST_TOKENS = 16

UNREADABLE = ("bad_http", "bad_encoding")
"""Kinds of errors of replies that a general HTTP library can read, but not the epoll transport."""


def trial(target: Target, run: Run, served_as: str | None) -> Reply:
    """The reply to one short request, by the epoll transport. Raises `UserError` as a run does."""
    short = run.model_copy(
        update={"max_tokens": min(run.max_tokens, MOST_TOKENS), "cuda_post": "off", "retries": 0}
    )
    builder = RequestBuilder(
        [target], short, served_as=served_as, seed=0, run_id=uuid.uuid4().hex, salted=False
    )
    transport = EpollTransport([target], builder, short, Posting(short, 0))
    try:
        transport.connect(1)
        spool = transport.run(ClosedLoop(WarmUp(0, 1), [time.monotonic_ns()]))
        (exchange,) = spool
        if exchange.reads:
            unframe(exchange)
        reply = parse(exchange, target.secrets)
        spool.close()
    finally:
        transport.close()
    return reply
