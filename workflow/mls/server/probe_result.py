"""`probe.json`: a server's properties, and whether it can be benchmarked as the config asks."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Literal[1] = 1


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Reply(Part):
    """One real completion."""

    endpoint: str
    stream: bool = Field(description="Whether a streamed reply was asked for.")
    streamed: bool = Field(description="Whether the reply was streamed.")
    mislabelled: str | None = Field(
        None, description="Its content type, where that says something else than the reply is."
    )
    content: str = Field(description="Its beginning.")
    chunks: int = Field(description="Content-bearing chunks.")
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usage: dict[str, Any]
    timings: dict[str, Any]


class Cache(Part):
    """The same prompt sent twice."""

    cache_prompt: bool = Field(description="As the config asks.")
    cached_tokens: int | None = Field(description="Of the second; null: the server doesn't say.")


class Probe(Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    url: str
    model: str = Field(description="Name in the config.")
    served_as: str | None = Field(description="Name to send in each request; null: none is sent.")
    engine: str = Field("generic", description="By what the server says of itself.")
    health: str | None
    models: list[str] | None = Field(description="Names that the server lists.")
    build: str | None
    model_path: str | None = Field(description="At the server.")
    slots: int | None
    ctx_per_slot: int | None = Field(description="Tokens.")
    chat_template: bool | None
    endpoints: dict[str, bool] = Field(description="Which answer.")
    streaming: bool
    prompt_tokens: dict[int, int] = Field(
        description="By `prompt_words`: tokens of a sample prompt, template included."
    )
    prompt_tokens_measured: bool = Field(description="False: estimated, without `/tokenize`.")
    replies: list[Reply]
    refused: list[str] = Field(
        [], description="Fields of a request that the server refuses, and which are left out."
    )
    cache: Cache
    warnings: list[str]
    others: list[Probe] = Field([], description="Of further servers of `server.urls`.")
