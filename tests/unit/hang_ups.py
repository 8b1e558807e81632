"""Records of a simulated place before one slot, of a server that stops for hang-ups or doesn't."""

import random
from typing import Any

from tests.unit.synthetic import EPOCH_NS, NO_CHUNKS, Load, rows

from mls.config.sections.run import Run
from mls.core.record import CANCELLED
from mls.core.units import NS_PER_MS

TTFT_MS, ITL_MS, TOKENS, PROMPT, REQUESTS = 50, 10, 40, 60, 60
LOAD = Load(
    places=1, requests=REQUESTS, tokens=TOKENS, prompt=PROMPT, ttft_ms=TTFT_MS, itl_ms=ITL_MS
)
RUN = Run(inflight=1, ranks=1, iters=REQUESTS, max_tokens=TOKENS)


def one_slot(
    keeps: float | int,
    after_ms: tuple[float, float] = (60, 400),
    seed: int = 1,
    jitter_ms: float = 0.0,
    share: float = 0.4,
) -> tuple[list[dict[str, Any]], list[int]]:
    """(records of one place before one slot, the tokens that each request's reply got in the end).

    keeps: the share of the rest of a reply that is generated after its client hung up, or a number
    of ms for which the slot is kept. share: of the requests that are hung up on.
    """
    source = random.Random(seed)
    free_ms, now_ms, records, made = 0.0, 0.0, [], []
    for bare in rows(LOAD):
        start_ms = now_ms
        begin_ms = max(start_ms, free_ms) + source.uniform(0, jitter_ms)
        chunks = [begin_ms + TTFT_MS + ITL_MS * token for token in range(TOKENS)]
        hang_up_ms = start_ms + source.uniform(*after_ms) if source.random() < share else None
        row = dict(bare, error=None, scheduled_ns=ns(start_ms), start_ns=ns(start_ms), canary=None)
        if hang_up_ms is not None and hang_up_ms < chunks[-1]:
            seen = [chunk for chunk in chunks if chunk <= hang_up_ms]
            row |= {"cancel_after_ns": ns(hang_up_ms - start_ms) - ns(0), "error": CANCELLED}
            row |= {"prompt_tokens": None, "completion_tokens": None, "finish_reason": None}
            now_ms = hang_up_ms
            kept = isinstance(keeps, float)
            free_ms = hang_up_ms + ((chunks[-1] - hang_up_ms) * keeps if kept else keeps)
        else:
            seen, now_ms, free_ms = chunks, chunks[-1], chunks[-1]
        row |= NO_CHUNKS | times(seen, now_ms)
        records.append(row)
        made.append(sum(chunk <= free_ms for chunk in chunks))
    return records, made


def ns(ms: float) -> int:
    return EPOCH_NS + round(ms * NS_PER_MS)


def times(chunks: list[float], end_ms: float) -> dict[str, Any]:
    at_ns = [ns(chunk) for chunk in chunks]
    return {
        "end_ns": ns(end_ms),
        "chunk_ns": at_ns,
        "chunk_lag_ns": [0] * len(at_ns),
        "chunk_merged": [False] * len(at_ns),
        "chunks": len(at_ns),
        "first_chunk_ns": at_ns[0] if at_ns else None,
        "first_answer_ns": at_ns[0] if at_ns else None,
        "last_chunk_ns": at_ns[-1] if at_ns else None,
    }


def counters(tokens: int, prompts: int = REQUESTS) -> tuple[dict[str, float], dict[str, float]]:
    """A server's counters before and after that many tokens and prompts."""
    samples = {"vllm:generation_tokens_total": tokens, "vllm:prompt_tokens_total": PROMPT * prompts}
    return dict.fromkeys(samples, 0.0), {name: float(value) for name, value in samples.items()}
