"""The columns of `requests.parquet`, one row a request, and of `telemetry.parquet`.

All `_ns` columns are `CLOCK_MONOTONIC` of rank 0's host in nanoseconds; null for an event that
did not happen.
"""

from __future__ import annotations

import pyarrow as pa

REQUESTS = pa.schema(
    [
        ("request_id", pa.string()),  # A UUID by run and job, sent as X-Request-Id
        # 0… in the order of the hand-out; warm-up requests are not in the table
        ("job", pa.int64()),
        ("rank", pa.int32()),
        ("slot", pa.int32()),  # Place on its rank, 0…
        ("scheduled_ns", pa.int64()),  # When its place became free; open loop: when it was due
        ("server", pa.int32()),  # Its index in `server.urls`, 0…; null with one server
        ("start_ns", pa.int64()),  # Before the first byte was handed to the kernel (first attempt)
        ("connected_ns", pa.int64()),  # Null on a connection that was open already
        ("first_chunk_ns", pa.int64()),  # Arrival of the first content-bearing chunk
        ("last_chunk_ns", pa.int64()),  # Arrival of the last content-bearing chunk
        # Arrival of the first chunk that isn't reasoning alone (nor blanks after it); null without
        ("first_answer_ns", pa.int64()),
        ("last_reasoning_ns", pa.int64()),  # Arrival of the last chunk with reasoning
        # Arrival of the last chunk of tool calls; null without one, or where one is not whole
        ("tool_call_ns", pa.int64()),
        # Arrival of `[DONE]`, else of the last byte of the response; the moment of a failure
        ("end_ns", pa.int64()),
        # From `[DONE]` to the last byte, or until the client hung up; null without `[DONE]`
        ("after_done_ns", pa.int64()),
        ("chunk_ns", pa.list_(pa.int64())),  # Arrivals of the content-bearing chunks
        # For each chunk: when the client read it − when the host received it
        ("chunk_lag_ns", pa.list_(pa.int64())),
        # Whether a later chunk came in the same read. The chunk's own arrival is unknown then, and
        # chunk_ns has that of the read's newest byte.
        ("chunk_merged", pa.list_(pa.bool_())),
        ("chunks", pa.int32()),
        ("reasoning_chunks", pa.int32()),  # Chunks with text of reasoning
        ("tool_call_chunks", pa.int32()),  # Chunks with names or arguments of tool calls
        # Tokens of reasoning by the server's `completion_tokens_details`; null where it doesn't say
        ("reasoning_tokens", pa.int32()),
        # The same by the share of reasoning in each chunk; null where the server says, or counts none
        ("reasoning_tokens_estimate", pa.float64()),
        ("prompt_tokens", pa.int32()),  # By the server's `usage`; null without one
        ("completion_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        # Those that an ideal cache has; null unless the workload is of blocks
        ("ideal_cached_tokens", pa.int32()),
        ("status", pa.int32()),  # HTTP status; null when none came
        ("error", pa.string()),  # Kind of error; null: ok
        ("error_text", pa.string()),  # The error's message, cut to 200 characters
        # From start to the moment at which the client was to hang up (`run.cancel`); null without
        ("cancel_after_ns", pa.int64()),
        ("attempts", pa.int32()),
        # Times sent again on a new connection, as the server had closed the old one
        ("reconnects", pa.int32()),
        # Completion tokens of the first content-bearing chunk; null where the server doesn't say
        ("first_chunk_tokens", pa.int32()),
        # Tokens that were drafted for the reply (speculative decoding), and those of them that became
        # part of it, by llama.cpp's `timings`; null where these say nothing of drafts
        ("draft_tokens", pa.int32()),
        ("draft_tokens_accepted", pa.int32()),
        ("finish_reason", pa.string()),
        ("server_prompt_ms", pa.float64()),  # llama.cpp's `timings`
        ("server_predicted_ms", pa.float64()),
        # Post-processing on the client's card, by CUDA events; null when there was none
        ("post_ms", pa.float64()),  # From before the copy there to after the checksum's copy back
        ("post_copy_ms", pa.float64()),  # The copy to the card
        ("post_kernel_ms", pa.float64()),  # The kernel
        ("prompt_sha256", pa.string()),
        # Lengths that the workload asked for; null where it doesn't say
        ("prompt_tokens_asked", pa.int32()),  # With the chat template
        ("completion_tokens_asked", pa.int32()),
        ("stage", pa.int32()),  # Stage of the load, 0… (`load.kind: stages`)
        ("session", pa.int64()),  # Number of the conversation, and of its turn, 0…
        ("turn", pa.int32()),
        ("branch", pa.int32()),  # Its branch (a sub-agent's), 0…; null on the main line
        # Job of the turn whose prompt and reply its own prompt goes on from; null of first turns
        ("previous_job", pa.int64()),
        ("prefix_group", pa.int32()),  # Prompts of one group begin alike
        ("category", pa.string()),  # What kind of text the prompt is; null where it has no kind
        ("adapter", pa.int32()),  # That it asks for (`run.adapters`), 0…; null without
        # Images and audio in the prompt, and their bytes, without base64; null without any, the bytes
        # also where one of them is at a URL, which the client doesn't fetch
        ("media_parts", pa.int32()),
        ("media_bytes", pa.int64()),
        ("output_sha256", pa.string()),
        # Figures of the reply's text without the blanks at its ends; null of failed requests and
        # embeddings. docs/METHODS.md defines them.
        ("text_characters", pa.int32()),
        ("garbage_characters", pa.int32()),  # Controls, replacement characters, noncharacters
        ("text_compression", pa.float64()),  # Its bytes over those that zlib makes of them
        # Its longest loop: where that begins (null without one), the length of its unit and its own
        ("loop_start", pa.int32()),
        ("loop_period", pa.int32()),
        ("loop_characters", pa.int32()),  # 0 without a loop
        ("echoes_prompt", pa.bool_()),  # Whether the prompt's first characters are in it
        # Where the request asks for JSON: fits, unfit, whole (without a schema), broken, cut (by
        # `max_tokens`); else null
        ("json_form", pa.string()),
        ("tool_calls", pa.int32()),  # Null where the request has no tools
        ("bad_tool_calls", pa.int32()),  # Of no such tool, or with arguments that are no object
        # Of a canary (`replies.canaries`), else null: its number, and how far its reply is the one
        # that it got alone
        ("canary", pa.int32()),
        (
            "canary_difference",
            pa.string(),
        ),  # none, other, lost or swapped; null of a failed request
        ("canary_tokens", pa.float64()),  # Tokens before the first difference, or all compared
        ("canary_character", pa.int32()),  # Where that is in the text; null without one
        ("output", pa.string()),  # Only with `keep_output`
    ]
)

TEXT_COLUMNS = (
    "text_characters",
    "garbage_characters",
    "text_compression",
    "loop_start",
    "loop_period",
    "loop_characters",
    "echoes_prompt",
    "json_form",
    "tool_calls",
    "bad_tool_calls",
)
"""Columns of what is known of a reply's text and form, without the text."""

CANARY_COLUMNS = ("canary", "canary_difference", "canary_tokens", "canary_character")
"""Columns on the replies to canaries."""

KIND_COLUMNS = (
    "first_answer_ns",
    "last_reasoning_ns",
    "tool_call_ns",
    "reasoning_chunks",
    "tool_call_chunks",
    "reasoning_tokens",
    "reasoning_tokens_estimate",
)
"""Columns of the kinds of a reply's chunks: reasoning, content, tool calls."""

DRAFT_COLUMNS = ("draft_tokens", "draft_tokens_accepted")
"""Columns on speculative decoding."""

LATER_COLUMNS = (
    "first_chunk_tokens",
    "after_done_ns",
    *TEXT_COLUMNS,
    *CANARY_COLUMNS,
    *KIND_COLUMNS,
    "category",
    *DRAFT_COLUMNS,
    "cancel_after_ns",
    "media_parts",
    "media_bytes",
    "adapter",
    "ideal_cached_tokens",
    "branch",
    "previous_job",
)
"""Columns that earlier versions didn't write; null in their records."""

CANCELLED = "cancelled"
"""`error` of a request that the client hung up on (`run.cancel`), which is no failure."""

FINISHED_BY_LENGTH = "length"
"""`finish_reason` of a reply that ended at its token limit."""

TELEMETRY = pa.schema(
    [
        ("at_ns", pa.int64()),  # The same clock
        ("source", pa.string()),  # host, server, ranks, metrics, gpu0, gpu1, …
        ("name", pa.string()),  # Name of the figure; docs/METHODS.md defines it
        ("value", pa.float64()),
    ]
)
"""The columns of `telemetry.parquet`: one row for each sample of one figure, in order of time."""
