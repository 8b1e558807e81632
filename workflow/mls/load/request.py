"""The bytes of each request, built before they are needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import orjson

from mls import __version__
from mls.load.prompts import prompt
from mls.model.config import Run

_BUILD_AHEAD = 20_000
_BUILD_AHEAD_BYTES = 256 * 2**20
_TEXT_ENDPOINTS = ("/v1/completions", "/completions", "/completion")


@dataclass(frozen=True)
class Target:
    """Where requests go. `url` is the server's root, without the endpoint."""

    url: str
    api_key: str | None = None

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def tls(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def host(self) -> str:
        return self.parts.hostname or ""

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.tls else 80)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, ready to send. `wire` is head and body in one piece."""

    request_id: str
    prompt_sha256: str
    headers: dict[str, str]
    body: bytes
    wire: bytes


class RequestBuilder:
    """Builds the request of each job; the same on every rank."""

    def __init__(
        self, target: Target, run: Run, *, served_as: str | None, seed: int, run_id: str
    ) -> None:
        self._run = run
        self._seed = seed
        self._run_id = run_id
        self._path = target.parts.path.rstrip("/") + run.endpoint
        self._host = target.parts.netloc.rpartition("@")[2]
        self._common = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if run.stream else "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"mls/{__version__}",
            "Connection": "keep-alive" if run.reuse_connections else "close",
        }
        if target.api_key:
            self._common["Authorization"] = f"Bearer {target.api_key}"
        self._fields = body_fields(run, served_as)
        self._ready: dict[int, Request] = {}

    def build_ahead(self, jobs: range) -> None:
        """Build the first of these jobs' requests now, so that none is built under load."""
        room = _BUILD_AHEAD_BYTES
        for job in jobs[:_BUILD_AHEAD]:
            self._ready[job] = self._build(job)
            room -= len(self._ready[job].wire)
            if room < 0:
                return

    def request(self, job: int) -> Request:
        """The request of a job, and forget it."""
        return self._ready.pop(job, None) or self._build(job)

    def _build(self, job: int) -> Request:
        text = prompt(self._seed, job, self._run.prompt_words)
        body = orjson.dumps(self._fields | prompt_field(self._run, text))
        request_id = f"{self._run_id}-{job}"
        headers = self._common | {"X-Request-Id": request_id}
        lines = [
            f"POST {self._path} HTTP/1.1",
            f"Host: {self._host}",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {len(body)}",
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Request(request_id, digest, headers, body, head + body)


def body_fields(run: Run, served_as: str | None) -> dict[str, Any]:
    """The JSON fields that all requests of a run share; llama.cpp's and OpenAI's names."""
    fields: dict[str, Any] = {
        "stream": run.stream,
        "temperature": run.temperature,
        "cache_prompt": run.cache_prompt,
        "n_predict" if run.endpoint == "/completion" else "max_tokens": run.max_tokens,
    }
    if served_as:
        fields["model"] = served_as
    if run.ignore_eos:
        fields["ignore_eos"] = True
    if run.stream and run.endpoint != "/completion":
        fields["stream_options"] = {"include_usage": True}
    return fields | run.request_extra


def prompt_field(run: Run, text: str) -> dict[str, Any]:
    """The prompt as the run's endpoint wants it."""
    if run.endpoint in _TEXT_ENDPOINTS:
        return {"prompt": text}
    return {"messages": [{"role": "user", "content": text}]}
