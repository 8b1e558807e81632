"""vLLM (engine V1); see its docs/design/metrics.md and vllm/v1/metrics/loggers.py."""

from mls.protocol.engines.profile import Histogram, Profile

VLLM = Profile(
    name="vLLM",
    prefix="vllm:",
    owners=("vllm",),
    prompt_tokens=("vllm:prompt_tokens_total",),
    completion_tokens=("vllm:generation_tokens_total",),
    cached_tokens=(
        "vllm:prompt_tokens_cached_total",
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits_total",
    ),
    drafts=("vllm:spec_decode_num_drafts_total",),
    draft_tokens=("vllm:spec_decode_num_draft_tokens_total",),
    accepted_tokens=("vllm:spec_decode_num_accepted_tokens_total",),
    preemptions=("vllm:num_preemptions_total",),
    running=("vllm:num_requests_running",),
    waiting=("vllm:num_requests_waiting",),
    kv_use=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    cache_block=(
        ("vllm:cache_config_info", "cache_hit_alignment_tokens"),
        ("vllm:cache_config_info", "block_size"),
    ),
    histograms={
        "ttft_ms": Histogram(("vllm:time_to_first_token_seconds",)),
        "tpot_ms": Histogram(("vllm:request_time_per_output_token_seconds",)),
        "itl_ms": Histogram(
            ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds")
        ),
        "latency_ms": Histogram(("vllm:e2e_request_latency_seconds",)),
        "queue_ms": Histogram(("vllm:request_queue_time_seconds",)),
        "prefill_ms": Histogram(("vllm:request_prefill_time_seconds",)),
        "decode_ms": Histogram(("vllm:request_decode_time_seconds",)),
    },
    info_paths=("/version",),
    build=("version",),
    tokenizes=True,
    resets_cache="/reset_prefix_cache",
)
