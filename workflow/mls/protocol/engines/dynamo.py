"""NVIDIA Dynamo's HTTP frontend, by its docs (observability/metrics); not run against one."""

from mls.protocol.engines.profile import Histogram, Profile

DYNAMO = Profile(
    name="Dynamo",
    prefix="dynamo_frontend_",
    prompt_tokens=("dynamo_frontend_input_sequence_tokens_sum",),
    completion_tokens=(
        "dynamo_frontend_output_tokens_total",
        "dynamo_frontend_output_sequence_tokens_sum",
    ),
    cached_tokens=("dynamo_frontend_cached_tokens_sum",),
    running=("dynamo_frontend_active_requests", "dynamo_frontend_inflight_requests"),
    waiting=("dynamo_frontend_queued_requests",),
    means=("dynamo_frontend_model_context_length",),
    histograms={
        "ttft_ms": Histogram(("dynamo_frontend_time_to_first_token_seconds",)),
        "itl_ms": Histogram(("dynamo_frontend_inter_token_latency_seconds",)),
        "latency_ms": Histogram(("dynamo_frontend_request_duration_seconds",)),
    },
)
