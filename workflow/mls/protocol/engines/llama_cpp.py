"""llama.cpp's llama-server; see its tools/server/README.md."""

from mls.protocol.engines.profile import Profile

LLAMA_CPP = Profile(
    name="llama.cpp",
    prefix="llamacpp:",
    owners=("llamacpp",),
    prompt_tokens=("llamacpp:prompt_tokens_total",),
    counts_cached=False,
    completion_tokens=("llamacpp:tokens_predicted_total",),
    cached_tokens=("llamacpp:prompt_tokens_cached_total",),
    caches_tokens=True,
    drafts=("llamacpp:spec_decode_num_drafts_total",),
    draft_tokens=("llamacpp:spec_decode_num_draft_tokens_total",),
    accepted_tokens=("llamacpp:spec_decode_num_accepted_tokens_total",),
    running=("llamacpp:requests_processing",),
    waiting=("llamacpp:requests_deferred",),
    kv_use=("llamacpp:kv_cache_usage_ratio",),
    means=(
        "llamacpp:n_busy_slots_per_decode",
        "llamacpp:prompt_tokens_seconds",
        "llamacpp:predicted_tokens_seconds",
    ),
)
