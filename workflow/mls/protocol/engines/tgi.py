"""Hugging Face's text-generation-inference, by its docs (reference/metrics); not run against one."""

from mls.protocol.engines.profile import Histogram, Profile

TGI = Profile(
    name="TGI",
    prefix="tgi_",
    prompt_tokens=("tgi_request_input_length_sum",),
    completion_tokens=("tgi_request_generated_tokens_sum",),
    running=("tgi_batch_current_size",),
    waiting=("tgi_queue_size",),
    histograms={
        "tpot_ms": Histogram(("tgi_request_mean_time_per_token_duration",)),
        "latency_ms": Histogram(("tgi_request_duration",)),
        "queue_ms": Histogram(("tgi_request_queue_duration",)),
    },
    info_paths=("/info",),
    build=("version",),
    context=("max_total_tokens",),
    slots=("max_concurrent_requests",),
)
