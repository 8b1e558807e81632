"""TensorRT-LLM's trtllm-serve, by its docs and metrics/collector.py; not run against one."""

from mls.protocol.engines.profile import Histogram, Profile

TENSORRT_LLM = Profile(
    name="TensorRT-LLM",
    prefix="trtllm_",
    owners=("tensorrt_llm",),
    metrics_path="/prometheus/metrics",
    prompt_tokens=("trtllm_prompt_tokens_total",),
    completion_tokens=("trtllm_generation_tokens_total",),
    cached_tokens=("trtllm_prompt_cached_tokens_total",),
    running=("trtllm_num_requests_running",),
    waiting=("trtllm_num_requests_waiting",),
    kv_use=("trtllm_kv_cache_utilization",),
    means=("trtllm_kv_cache_hit_rate",),
    histograms={
        "ttft_ms": Histogram(("trtllm_time_to_first_token_seconds",)),
        "tpot_ms": Histogram(("trtllm_time_per_output_token_seconds",)),
        "latency_ms": Histogram(("trtllm_e2e_request_latency_seconds",)),
        "queue_ms": Histogram(("trtllm_request_queue_time_seconds",)),
        "prefill_ms": Histogram(("trtllm_request_prefill_time_seconds",)),
        "decode_ms": Histogram(("trtllm_request_decode_time_seconds",)),
    },
    info_paths=("/version",),
    build=("version",),
)
