"""What a run prints of its figures."""

from __future__ import annotations

from mls.core.summary import Summary


def seed_block(summary: Summary, llama_cpp: bool) -> str:
    """The printed block; for llama.cpp's server it is that of the seed's script to the letter."""
    latency = summary.latency_ms
    return (
        f"=== {'llama-server ' if llama_cpp else ''}latency (ms) ===\n"
        f"mean={_ms(latency.mean)} p50={_ms(latency.p50)} p95={_ms(latency.p95)} "
        f"p99={_ms(latency.p99)} (n={latency.n})\n\n"
        "=== throughput ===\n"
        f"wall={summary.wall_s:.3f}s tokens={_or_dash(summary.tokens.completion, 'd')} "
        f"tokens/sec={_or_dash(summary.overall.completion_tokens_per_s, '.2f')} "
        f"ok={summary.requests.ok} err={summary.requests.error}"
    ) + (f" cancelled={summary.requests.cancelled}" if summary.requests.cancelled else "")


def first_tokens(summary: Summary) -> str:
    """A line on the first token and the first answer; empty where that is the first token."""
    first, answer = summary.ttft_ms, summary.ttfa_ms
    if not summary.unanswered and answer.mean in (None, first.mean):
        return ""
    line = (
        f"first token (ms): mean={_ms(first.mean)} p95={_ms(first.p95)} (n={first.n}); "
        f"first answer (ms): mean={_ms(answer.mean)} p95={_ms(answer.p95)} (n={answer.n})"
    )
    return f"{line}; without an answer: {summary.unanswered:.1%}" if summary.unanswered else line


def _or_dash(value: float | None, form: str) -> str:
    """A figure; a dash where it is unknown."""
    return "–" if value is None else format(value, form)


def _ms(value: float | None) -> str:
    return _or_dash(value, ".3f")
