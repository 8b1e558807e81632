"""The bytes of each request, built before they are needed."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

import orjson

from mls import __version__
from mls.config.sections.run import Run
from mls.core.units import MIB
from mls.protocol.address import endpoint_url
from mls.protocol.asked import asked_of
from mls.protocol.body import body_fields, prompt_field
from mls.protocol.prompts import Prompts

_JOBS = 1 << 48
"""Number of jobs that the last part of a UUID tells apart. Warm-up jobs, which are negative, wrap
around to its highest values."""

MOST_AHEAD = 20_000
_BUILD_AHEAD_BYTES = 256 * MIB
OPENING_CHARACTERS = 64
"""Length at which a prompt's opening ends, by which an echo of the prompt is known."""

_AS_IS = "!$%&'()*+,/:;=?@~"
"""What is not percent-encoded in a request's path and query, as in `requests`."""
LEAST_SECRET = 4
"""Least length of a secret, in characters: a shorter one may occur among a reply's own words."""
_ANTHROPIC_VERSION = "2023-06-01"
"""The version of Messages that Anthropic's API wants to be named."""
_SCHEMES = ("basic", "bearer", "token", "apikey")
"""Authentication schemes that may precede a key in a header's value (RFC 9110, 11.1)."""


@dataclass(frozen=True)
class Target:
    """A server as requests reach it.

    url: the server's (see `address.endpoint_url`); `http+unix://%2Fpath` names a Unix socket.
    proxy: its URL, which may hold a password. headers: those with secrets. key_variables: the
    environment variables that hold the API key and these headers.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    proxy: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_variables: tuple[str, ...] = ()

    @property
    def secret_headers(self) -> dict[str, str]:
        """The headers that must not be recorded, the API key's first."""
        bearer = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return bearer | dict(self.headers)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be recorded: secrets in each form in which a server may repeat them."""
        own = (self.api_key, *self.headers.values(), *_secrets_of(self.proxy or ""))
        values = [value for value in own if value]
        for scheme, _, key in [value.partition(" ") for value in values]:
            if key and scheme.lower() in _SCHEMES:
                values.append(key)
        forms = [
            form
            for value in values
            for text in (value, json.dumps(value)[1:-1])
            for form in (text, text.replace("/", "\\/"), quote(text, safe=""))
        ]
        return tuple(dict.fromkeys(forms))

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
    def unix_path(self) -> str | None:
        return unquote(self.parts.netloc) if self.parts.scheme == "http+unix" else None

    @property
    def authority(self) -> str:
        """The `Host` header."""
        return "localhost" if self.unix_path else self.parts.netloc.rpartition("@")[2]

    @property
    def port(self) -> int:
        return self.parts.port or (443 if self.tls else 80)


def _secrets_of(proxy: str) -> list[str]:
    """The password in a proxy's URL, or a user without one, as it stands there and as it is sent.

    One that is too short for a secret may occur among a reply's own words.
    """
    login = proxy.rpartition("//")[2].rpartition("@")[0]
    user, _, password = login.partition(":")
    secret = password or user
    plain = [secret, unquote(secret)] if len(unquote(secret)) >= LEAST_SECRET else []
    sent = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode("latin-1", "replace"))
    return [*plain, sent.decode()] if login else []


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the workload sets for a request, as in its record; None where it sets nothing."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    session: int | None = None
    turn: int | None = None
    branch: int | None = None
    previous: int | None = None
    """The job whose request and reply its own goes on from."""
    group: int | None = None
    category: str | None = None
    media_parts: int | None = None
    media_bytes: int | None = None


class Bodies(Protocol):
    """The JSON bodies of a workload whose requests differ in more than their text."""

    def body(self, job: int) -> bytes: ...

    def prompt_sha256(self, job: int) -> str:
        """SHA-256 of the job's own prompt, in hexadecimal."""
        ...

    def opening(self, job: int) -> str:
        """The first `OPENING_CHARACTERS` of its text."""
        ...

    def attributes(self, job: int) -> Attributes: ...


class Adapters(Protocol):
    """The adapters that requests ask for."""

    def number(self, job: int) -> int | None: ...

    def fields(self, job: int) -> bytes: ...


class RequestBuilder:
    """Builds the request of each job, the same on every rank."""

    def __init__(
        self,
        targets: Sequence[Target],
        run: Run,
        *,
        served_as: str | None,
        seed: int,
        run_id: str,
        bodies: Bodies | None = None,
        salted: bool = False,
        adapters: Adapters | None = None,
    ) -> None:
        """targets: one server or several, all with one key.

        served_as: the model's name in each body; None sends none, as where adapters name models.
        bodies: the workload's; None stands for the built-in prompts, spliced into one body. salted:
        whether each request has a `cache_salt` of its own (see `body.salts`).
        """
        self._bodies = bodies
        self._salted = salted
        self._adapters = adapters
        self._plain = Attributes(output_tokens=None if run.embeds else run.max_tokens)
        self._id_prefix = _id_prefix(run_id)
        self.asked = asked_of(run)
        """The form that replies are to have."""
        self.secret = targets[0].secrets
        """Texts that must not be recorded."""
        self._prompts = Prompts(seed, run.prompt_words)
        self._common = {**fixed_headers(run), **targets[0].secret_headers}
        self._urls = [endpoint_url(target.url, run.endpoint) for target in targets]
        self._heads = [self._head_for(*each) for each in zip(targets, self._urls, strict=True)]
        self._head = self._heads[0]
        self._before, self._after = _around_prompt(body_fields(run, served_as), run)
        self._ready: dict[int, bytes] = {}

    def build_ahead(self, jobs: Sequence[int]) -> None:
        """Build the requests of the first of these jobs, so that few are built under load."""
        room = _BUILD_AHEAD_BYTES
        for job in jobs[:MOST_AHEAD]:
            self._ready[job] = self._build(job)
            room -= len(self._ready[job])
            if room < 0:
                return

    def _head_for(self, target: Target, url: str) -> bytes:
        parts = urlsplit(url)
        path = f"{parts.path}{'?' if parts.query else ''}{parts.query}"
        lines = [
            f"POST {quote(path, safe=_AS_IS)} HTTP/1.1",
            f"Host: {target.authority}",
            *(f"{name}: {value}" for name, value in self._common.items()),
            f"X-Request-Id: {self._id_prefix}",
        ]
        return "\r\n".join(lines).encode()

    def wire(self, job: int, server: int = 0) -> bytes:
        """Head and body of a job's request in one piece; one built ahead is freed with it."""
        wire = self._ready.pop(job, None) or self._build(job)
        return self._heads[server] + wire[len(self._head) :] if server else wire

    def url(self, server: int | None) -> str:
        """The URL that requests to this server are POSTed to; None stands for the only one."""
        return self._urls[server or 0]

    def request_id(self, job: int) -> str:
        """A UUID whose last part is the job. Some servers take no other `X-Request-Id`."""
        return f"{self._id_prefix}{job % _JOBS:012x}"

    def headers(self, job: int) -> dict[str, str]:
        """The headers of a job's request, without those that an HTTP client adds by itself."""
        return self._common | {"X-Request-Id": self.request_id(job)}

    def attributes(self, job: int) -> Attributes:
        return self._bodies.attributes(job) if self._bodies else self._plain

    def body(self, job: int) -> bytes:
        body = self.own_body(job)
        if self._adapters and (fields := self._adapters.fields(job)):
            body = b"{%b,%b" % (fields, body[1:])
        if not self._salted:
            return body
        return b'{"cache_salt":"%b",%b' % (self.request_id(job).encode(), body[1:])

    def own_body(self, job: int) -> bytes:
        """The body without the salt and what asks for an adapter."""
        if self._bodies:
            return self._bodies.body(job)
        return b"%b%b%b" % (self._before, self._prompts.encoded(job), self._after)

    def adapter(self, job: int) -> int | None:
        """The adapter that the job's request asks for, by its place in the config's list."""
        return self._adapters.number(job) if self._adapters else None

    def prompt_sha256(self, job: int) -> str:
        if self._bodies:
            return self._bodies.prompt_sha256(job)
        return hashlib.sha256(self._prompts.encoded(job)).hexdigest()

    def opening(self, job: int) -> str:
        """The first characters of the job's own prompt text."""
        if self._bodies:
            return self._bodies.opening(job)
        return self._prompts.encoded(job)[:OPENING_CHARACTERS].decode("ascii")

    def _build(self, job: int) -> bytes:
        body = self.body(job)
        return b"%b%012x\r\nContent-Length: %d\r\n\r\n%b" % (
            self._head,
            job % _JOBS,
            len(body),
            body,
        )


def fixed_headers(run: Run) -> dict[str, str]:
    """The headers that all requests of a run share, without those with secrets."""
    own = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if run.stream and not run.embeds else "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"mls/{__version__}",
        **({"anthropic-version": _ANTHROPIC_VERSION} if run.api == "messages" else {}),
        "Connection": "keep-alive" if run.reuse_connections else "close",
    }
    users_names = set(map(str.lower, run.request_headers))
    return {k: v for k, v in own.items() if k.lower() not in users_names} | run.request_headers


def sample_headers(run: Run) -> dict[str, str]:
    """The headers, without those with secrets, of a request that precedes the load.

    Its id is a UUID of another version than the load's, so that a log tells them apart.
    """
    return fixed_headers(run) | {"X-Request-Id": str(uuid.uuid4())}


def _id_prefix(run_id: str) -> str:
    """The common beginning of a run's request ids: four parts of a UUID of version 8 (RFC 9562)."""
    digits = hashlib.sha256(run_id.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:18]}-"


def _around_prompt(fields: dict[str, Any], run: Run) -> tuple[bytes, bytes]:
    """The body's bytes before and after the prompt's text."""
    mark = uuid.uuid4().hex
    before, after = orjson.dumps(fields | prompt_field(run, mark)).split(mark.encode())
    return before, after
