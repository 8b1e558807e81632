"""The columns of `requests.parquet`, one row a request, and of `telemetry.parquet`.

All `_ns` columns are `CLOCK_MONOTONIC` of rank 0's host in nanoseconds; null where it did not happen.
"""

from __future__ import annotations

import pyarrow as pa

REQUESTS = pa.schema(
    [
        ("request_id", pa.string()),  # `<run>-<job>`, also sent as X-Request-Id
        ("job", pa.int64()),  # 0… in the order handed out; warm-up requests are not in the table
        ("rank", pa.int32()),
        ("slot", pa.int32()),  # place on its rank, 0…
        ("scheduled_ns", pa.int64()),  # when its place became free; open loop: when it was due
        ("server", pa.int32()),  # that it went to, 0… of `server.urls`; null with one server
        ("start_ns", pa.int64()),  # before the first byte was handed to the kernel (first attempt)
        ("connected_ns", pa.int64()),  # null on a connection that was open already
        ("first_chunk_ns", pa.int64()),  # arrival of the first content-bearing chunk
        ("last_chunk_ns", pa.int64()),  # arrival of the last content-bearing chunk
        ("end_ns", pa.int64()),  # arrival of the last byte of the response, or when it failed
        ("chunk_ns", pa.list_(pa.int64())),  # arrivals of the content-bearing chunks
        (
            "chunk_lag_ns",
            pa.list_(pa.int64()),
        ),  # when the client read it − when the host received it
        # true: another chunk came in the same read, after this one, so its own arrival is
        # unknown (chunk_ns holds that of the read's newest byte)
        ("chunk_merged", pa.list_(pa.bool_())),
        ("chunks", pa.int32()),
        ("prompt_tokens", pa.int32()),  # by the server's `usage`; null when it gave none
        ("completion_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("status", pa.int32()),  # HTTP status; null when none came
        ("error", pa.string()),  # kind of error; null: ok
        ("error_text", pa.string()),  # what was said, cut to 200 characters
        ("attempts", pa.int32()),
        (
            "reconnects",
            pa.int32(),
        ),  # sent again on a new connection: the server had closed the old one
        ("finish_reason", pa.string()),
        ("server_prompt_ms", pa.float64()),  # llama.cpp's `timings`
        ("server_predicted_ms", pa.float64()),
        # post-processing on the client's card, by CUDA events; null when there was none
        ("post_ms", pa.float64()),  # from before the copy there to after the checksum's copy back
        ("post_copy_ms", pa.float64()),  # the copy to the card
        ("post_kernel_ms", pa.float64()),  # the kernel
        ("prompt_sha256", pa.string()),
        # what the workload asked for; null where it doesn't say
        ("prompt_tokens_asked", pa.int32()),  # with the chat template
        ("completion_tokens_asked", pa.int32()),
        ("stage", pa.int32()),  # of the load, 0… (`load.kind: stages`)
        ("session", pa.int64()),  # of a conversation, and its turn, 0…
        ("turn", pa.int32()),
        ("prefix_group", pa.int32()),  # prompts of one group begin alike
        ("output_sha256", pa.string()),
        ("output", pa.string()),  # only with `keep_output`
    ]
)

FINISHED_BY_LENGTH = "length"
"""`finish_reason` of a reply that ended at its token limit."""

TELEMETRY = pa.schema(
    [
        ("at_ns", pa.int64()),  # the same clock
        ("source", pa.string()),  # host, server, ranks, metrics, gpu0, gpu1, …
        ("name", pa.string()),  # of the figure; docs/METHODS.md has them
        ("value", pa.float64()),
    ]
)
"""One row a sample of one figure: the columns of `telemetry.parquet`, in the order of time."""
