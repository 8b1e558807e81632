"""SGLang with `--enable-metrics`; see its docs on production metrics and metrics/collector.py."""

from mls.protocol.engines.profile import Histogram, Profile

SGLANG = Profile(
    name="SGLang",
    prefix="sglang:",
    owners=("sglang",),
    prompt_tokens=("sglang:prompt_tokens_total",),
    completion_tokens=("sglang:generation_tokens_total",),
    cached_tokens=("sglang:cached_tokens_total",),
    preemptions=("sglang:num_retracted_requests_total",),
    running=("sglang:num_running_reqs",),
    waiting=("sglang:num_queue_reqs",),
    kv_use=("sglang:token_usage",),
    means=("sglang:cache_hit_rate", "sglang:new_token_ratio"),
    histograms={
        "ttft_ms": Histogram(("sglang:time_to_first_token_seconds",)),
        "itl_ms": Histogram(
            ("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds")
        ),
        "latency_ms": Histogram(("sglang:e2e_request_latency_seconds",)),
        "queue_ms": Histogram(("sglang:queue_time_seconds",)),
    },
    info_paths=("/server_info", "/get_server_info"),
    build=("version",),
    context=("context_length", "max_context_len"),
    slots=("max_running_requests",),
    tokenizes=True,
    resets_cache="/flush_cache",
)
