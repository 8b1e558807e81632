"""Which figures of repeats are estimated over a cell: means, and percentiles of pooled samples."""

from __future__ import annotations

MEANS = (
    "throughput.requests_per_s",
    "throughput.completion_tokens_per_s",
    "throughput.prompt_tokens_per_s",
    "overall.requests_per_s",
    "overall.completion_tokens_per_s",
    "latency_ms.mean",
    "ttft_ms.mean",
    "ttfa_ms.mean",
    "tool_call_ms.mean",
    "tpot_ms.mean",
    "reasoning_tpot_ms.mean",
    "answer_tpot_ms.mean",
    "itl_ms.mean",
    "queue_ms.mean",
    "cache.share",
    "cache.ideal_share",
    "tokens_per_chunk",
    "unanswered",
    "sessions.duration_ms.mean",
    "sessions.waiting_ms.mean",
    "sessions.cached_share",
    "sessions.anew_tokens",
    "sessions.anew_share",
    "speculation.acceptance",
    "speculation.tokens_per_step",
    "server.speculation.acceptance",
    "server.speculation.tokens_per_step",
    "hang_ups.in_reply.freed_ms",
    "hang_ups.in_prompt.freed_ms",
    "hang_ups.generated_share",
    "server.ttft_ms",
    "server.tpot_ms",
    "server.itl_ms",
    "server.latency_ms",
    "server.queue_ms",
    "server.prefill_ms",
    "server.decode_ms",
    "server.preemptions",
    "server.running_max",
    "server.waiting_max",
    "server.kv_use_max",
    "inflight.achieved_time_weighted",
    "inflight.achieved_littles_law",
    "client.loop_lag_ms.p99",
    "client.busiest_rank_cpu_fraction",
    "wall_s",
    "gpu.utilization.mean",
    "gpu.memory_used_mib.max",
    "gpu.server_memory_mib.max",
    "gpu.power_w.mean",
    "gpu.energy_j_per_1000_tokens",
    "cpu.power_w",
    "cpu.energy_j_per_1000_tokens",
    "gpu.post.total_ms.p50",
    "gpu.post.total_ms.p95",
    "gpu.post.copy_ms.p50",
    "gpu.post.kernel_ms.p50",
)
"""Figures of `Summary` that are averaged over repeats."""

GOODPUT = (
    "good.share",
    "throughput.good_requests_per_s",
    "throughput.good_tokens_per_s",
    "overall.good_requests_per_s",
    "overall.good_tokens_per_s",
)
"""Figures of `goodput`, averaged over repeats. There are none without objectives."""

POOLED = (
    "latency_ms",
    "latency_from_scheduled_ms",
    "ttft_ms",
    "ttfa_ms",
    "tool_call_ms",
    "tpot_ms",
    "reasoning_tpot_ms",
    "answer_tpot_ms",
    "itl_ms",
)
"""Distributions whose percentiles are taken from the raw samples of all repeats together."""

POOLED_PERCENTILES = (50, 90, 95, 99)
