"""The form of an engine's profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Figure = Literal[
    "ttft_ms", "tpot_ms", "itl_ms", "latency_ms", "queue_ms", "prefill_ms", "decode_ms"
]
"""A time that an engine keeps a histogram of, each in the terms of docs/METHODS.md.

`tpot_ms` has one value a request, `itl_ms` one a token (or step); `latency_ms` is of the whole
request, `queue_ms` until it is first worked on, `prefill_ms` from there to its first token, and
`decode_ms` from that to its last one."""


@dataclass(frozen=True)
class Histogram:
    """A histogram of `/metrics`. names: its versions' names, of which a page has one."""

    names: tuple[str, ...]
    ms: float = 1000
    """Milliseconds of its unit; 1000 for seconds."""


@dataclass(frozen=True)
class Profile:
    """What an engine says of itself, and where.

    All names of figures are those of samples in `/metrics`, without labels; several are the names
    of several versions, of which a page has one. Without any the engine doesn't say it.
    """

    name: str
    """For people, and `engine` of a server's state."""
    prefix: str
    """Of the names of its samples."""
    owners: tuple[str, ...] = ()
    """`owned_by` of the models that it lists."""
    metrics_path: str = "/metrics"

    prompt_tokens: tuple[str, ...] = ()
    """Counter of prompt tokens of requests that ended (or whose prompt was read)."""
    counts_cached: bool = True
    """Whether that counter has the tokens, too, that came from the cache."""
    completion_tokens: tuple[str, ...] = ()
    """Counter of generated tokens."""
    cached_tokens: tuple[str, ...] = ()
    """Counter of prompt tokens that came from the cache."""
    drafts: tuple[str, ...] = ()
    """Counter of drafts (speculative decoding), each verified in one step."""
    draft_tokens: tuple[str, ...] = ()
    """Counter of tokens of these drafts."""
    accepted_tokens: tuple[str, ...] = ()
    """Counter of those of them that became part of replies."""
    preemptions: tuple[str, ...] = ()
    """Counter of requests that were put back to make room for others."""
    running: tuple[str, ...] = ()
    """Gauge: requests that are worked on."""
    waiting: tuple[str, ...] = ()
    """Gauge: requests in its queue."""
    kv_use: tuple[str, ...] = ()
    """Gauge: share of the KV cache in use, 0 to 1; a mean over its engines."""
    caches_tokens: bool = False
    """Whether its cache goes by single tokens, not by blocks."""
    cache_block: tuple[tuple[str, str], ...] = ()
    """(sample, label) that has the tokens of a block by which it caches; a label may have none yet."""
    means: tuple[str, ...] = ()
    """Further samples that are averaged over label sets and servers, not added up."""
    histograms: Mapping[Figure, Histogram] = field(default_factory=dict)

    info_paths: tuple[str, ...] = ()
    """Paths below the server's root of which the first that answers has the figures below."""
    build: tuple[str, ...] = ()
    """Keys there (dots for nested ones) of the version, of which the first that is there counts."""
    context: tuple[str, ...] = ()
    """Keys there of the tokens that a request may have, prompt and reply together."""
    slots: tuple[str, ...] = ()
    """Keys there of the number of requests that it works on at once."""

    tokenizes: bool = False
    """Whether `POST /tokenize` counts the tokens of `messages`, template included, or of `prompt`."""
    resets_cache: str | None = None
    """Path that empties its cache of prefixes when POSTed to."""

    @property
    def averaged(self) -> frozenset[str]:
        """Names of those samples that are averaged, not added up."""
        return frozenset((*self.kv_use, *self.cache_blocks, *self.means))

    @property
    def cache_blocks(self) -> tuple[str, ...]:
        """Names of the figures that `cache_block` becomes."""
        return tuple(f"{sample}.{label}" for sample, label in self.cache_block)
