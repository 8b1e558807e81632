"""The typed result of one repeat: `run.json`. Times in ms unless the key says otherwise."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mls.core.summary import Part, Summary

SCHEMA_VERSION: Literal[1] = 1


class Verdict(Part):
    check: str
    status: Literal["pass", "warn", "fail", "unknown"]
    measured: float | str | None
    threshold: float | str | None
    message: str


class CanaryReference(Part):
    """The reply to a canary alone, as far as those under load are compared with it."""

    prompt_sha256: str
    prefixes: list[str] = Field(
        description="Digests of its text up to each 16th character, and of all of it."
    )
    characters: int
    tokens: float
    by_tokens: bool = Field(description="Whether the server names tokens, which are compared then.")
    again: Literal["none", "other", "lost", "swapped"] = Field(
        description="First difference of the reply to a second asking, alone as well."
    )
    again_tokens: float = Field(description="Tokens before it, or all compared.")
    text: str | None = Field(None, description="Only with `run.keep_output`.")


class CanaryReport(Part):
    """The canaries of a repeat: greedy prompts that were asked alone, before the load, and in it."""

    why_none: str | None = Field(None, description="Why there are none.")
    ruled_out: bool = Field(
        False, description="Whether the config leaves no room for them; then no verdict is on them."
    )
    every: int | None = Field(None, description="One of so many requests is a canary.")
    requests: int = Field(0, description="Requests before the load, which are in no figure.")
    tokens: int | None = Field(None, description="Completion tokens of these, if counted.")
    wall_s: float = Field(0, description="The time that they took.")
    references: list[CanaryReference] = Field([])


class Template(Part):
    """The model's chat template as the server applies it; null where it can't be asked."""

    tokens: int | None = Field(None, description="That it adds to a user's text.")
    keeps_history: bool | None = Field(
        None,
        description="Whether a conversation's prompt begins with the prompt of the turn before.",
    )


class RunResult(Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    cell: dict[str, Any]
    repeat: int
    config: dict[str, Any] = Field(
        description="`run` and `server` as resolved for this cell, and the seed."
    )
    environment: dict[str, Any] = Field(description="Digest of environment.json, and the host.")
    server: dict[str, Any] = Field(
        description="`url`, `engine` (what a managed one is), `process` (of a managed one that repeats share, "
        "`server.reuse: cell`; else null: `pids`, `ready_utc`, the number of this `run` in it, and `cache`: why it found "
        "no prompt of an earlier one there), `before` and `after`: its state, `cold_load_s`: the time in s that a router took to load the model beforehand. Of several "
        "servers the first's, with slots and counters of all; `each`: `url`, `before` and `after` of each."
    )
    workload: dict[str, Any] = Field(description="Endpoint, prompts and limits of the requests.")
    canaries: CanaryReport | None = Field(
        None, description="Null in results of versions that had no canaries."
    )
    clock: dict[str, Any] = Field(description="Offsets of each rank, start of the run in UTC.")
    host: dict[str, Any] = Field(
        {},
        description="Rank 0's host around the load: `before` and `after` (counters of CPU time, steal, "
        "swap and throttling), `server`: `managed`, `local` or `elsewhere`, `listeners`: who listens at each URL "
        "of this host whose server mls did not start, and `pinned`: the CPUs of "
        "server and ranks (null: not pinned) and why not.",
    )
    summary: Summary
    verdicts: list[Verdict]
    files: dict[str, str] = Field(description="SHA-256 of each file beside this one.")


class Failure(Part):
    """`failure.json`: why a repeat has no result."""

    schema_version: Literal[1] = SCHEMA_VERSION
    cell: dict[str, Any]
    repeat: int
    message: str
    at_utc: str
