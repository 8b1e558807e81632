"""A server's own times: records of a known load, and pages of metrics with planted histograms."""

from __future__ import annotations

from tests.unit.synthetic import Load, rows

from mls.protocol.engines.vllm import VLLM

STEADY = Load(places=4, requests=40, tokens=16, ttft_ms=50, itl_ms=10)
TIMES = {
    "ttft_ms": 45.0,
    "tpot_ms": 9.5,
    "itl_ms": 9.25,
    "latency_ms": 190.0,
    "queue_ms": 5.0,
    "prefill_ms": 35.0,
    "decode_ms": 140.0,
}
"""Means in ms by the server's histograms; 10 ms of its latency are none of its parts."""


def silent(load: Load = STEADY) -> list[dict[str, object]]:
    """Records whose replies tell no times."""
    return [row | dict.fromkeys(("server_prompt_ms", "server_predicted_ms")) for row in rows(load)]


def by_histograms(requests: int = 40, **others: int) -> tuple[dict[str, float], dict[str, float]]:
    """vLLM's page around `requests` of `TIMES`. others: figure → samples of requests not ours."""
    before, after = {"vllm:num_requests_waiting": 9.0}, {"vllm:num_requests_waiting": 3.0}
    for figure, ms in TIMES.items():
        name = VLLM.histograms[figure].names[0]  # type: ignore[index]
        samples = requests * (15 if figure == "itl_ms" else 1) + others.get(figure, 0)
        before |= {f"{name}_sum": 70.0, f"{name}_count": 7.0}
        after |= {f"{name}_sum": 70.0 + samples * ms / 1000, f"{name}_count": 7.0 + samples}
    return before | {"vllm:num_preemptions_total": 2.0}, after | {"vllm:num_preemptions_total": 6.0}
