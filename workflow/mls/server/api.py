"""The server's control plane over `requests`: what it is, its state, one completion at a time.

Endpoints: llama.cpp's server README (tools/server) and the OpenAI API reference.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from requests.auth import AuthBase
from requests_unixsocket.adapters import UnixAdapter

from mls.config.sections.server import Server
from mls.core.errors import UserError
from mls.protocol.completion import Reply, read_reply, words_of_error
from mls.protocol.metrics import parse_metrics
from mls.protocol.sse import says_done
from mls.protocol.values import loads, plain
from mls.server.deadline import within

_UNAUTHORIZED = frozenset({401, 403})
_BODY_REFUSED = (400, 422)
_WAITS = 6
"""How many of its waits a whole answer of the control plane may take."""
_QUOTED = 200  # characters of a server's own words in a message


class BodyRefusedError(UserError):
    """The server doesn't take a request's body. `words`: all that it said."""

    def __init__(self, text: str, words: str) -> None:
        super().__init__(text)
        self.words = words


class ServerApi:
    """One server. Endpoints that it doesn't have give None; all methods raise `UserError` when
    it can't be reached or refuses the API key, and no message ever holds the key."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 10,
        *,
        api_key_env: str | None = None,
        proxy: str | None = None,
    ) -> None:
        """url: the server's root. timeout_s: of a connect and of each wait for bytes; six times
        that is the limit of a whole answer (in the main thread, see `deadline`).
        api_key_env: the variable that the key came from, to be named when it is refused."""
        self.url = url.rstrip("/")
        self._key = api_key
        self._key_env = api_key_env
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # always set: with none, requests would look for one in ~/.netrc
        self._session.auth = _Bearer(api_key)
        self._session.mount("http+unix://", UnixAdapter())  # type: ignore[no-untyped-call]
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
            self._session.trust_env = False
        elif (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1"):
            self._session.trust_env = False  # a proxy has no business with loopback

    def health(self) -> str | None:
        """`ok`, `loading` (HTTP 503), or None when there is no `/health`."""
        reply = self._get("/health")
        if reply.status_code == requests.codes.service_unavailable:
            return "loading"
        return "ok" if reply.ok else None

    def models(self) -> list[str] | None:
        """Names and aliases of `/v1/models`, the server's first one first."""
        listed = self._json("/v1/models")
        if not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
            return None
        names: dict[str, None] = {}
        for entry in listed["data"]:
            if isinstance(entry, dict):
                aliases = entry.get("aliases")
                for name in [entry.get("id"), *(aliases if isinstance(aliases, list) else [])]:
                    if isinstance(name, str):
                        names[name] = None
        return list(names)

    def props(self) -> dict[str, Any] | None:
        """llama.cpp's `/props`: slots, context, chat template, model path, build."""
        found = self._json("/props")
        return found if isinstance(found, dict) else None

    def slots(self) -> list[dict[str, Any]] | None:
        """llama.cpp's `/slots`: the state of each."""
        found = self._json("/slots")
        if not isinstance(found, list) or not all(isinstance(slot, dict) for slot in found):
            return None
        return found

    def metrics(self) -> dict[str, float] | None:
        """Samples without labels of `/metrics` (Prometheus text format): name → value."""
        reply = self._get("/metrics")
        found = parse_metrics(reply.content.decode(errors="replace")) if reply.ok else {}
        return found or None

    def tokenize(self, text: str, *, special: bool = False) -> int | None:
        """Number of tokens of a text by llama.cpp's `/tokenize`.

        special: as a whole prompt, with what the model puts around it and special tokens read.
        """
        body: dict[str, Any] = {"content": text}
        if special:
            body |= {"add_special": True, "parse_special": True}
        reply = self._send("POST", "/tokenize", body=body)
        found = self._parsed(reply) if reply.ok else None
        tokens = found.get("tokens") if isinstance(found, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    def apply_template(self, messages: list[dict[str, str]]) -> str | None:
        """The whole prompt that the chat template makes, by llama.cpp's `/apply-template`."""
        reply = self._send("POST", "/apply-template", body={"messages": messages})
        found = self._parsed(reply) if reply.ok else None
        text = found.get("prompt") if isinstance(found, dict) else None
        return text if isinstance(text, str) else None

    def complete(self, endpoint: str, body: dict[str, Any], timeout_s: float = 300) -> Reply:
        """POST one completion request; streamed or not is the body's and the server's choice.

        endpoint: `/v1/chat/completions`, `/v1/completions`, `/completion` or `/v1/embeddings`.
        timeout_s: of the whole reply, as of a measured one. Raises `UserError` also when
        the reply is not a completion (an embedding).
        """
        try:
            with within(timeout_s):
                return self._complete(endpoint, body, timeout_s)
        except requests.Timeout as error:
            raise self._unreachable(error) from None

    def _complete(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> Reply:
        reply = self._send("POST", endpoint, body=body, timeout_s=timeout_s, stream=True)
        where = self.url + endpoint
        with reply:
            if reply.status_code == requests.codes.not_found:
                raise UserError(
                    f"{where} answered HTTP 404 ({self._words(reply)}): not a completion server; "
                    "check the URL (its root, without /v1) and run.endpoint."
                )
            if not reply.ok:
                text = (
                    f"{where} refused a request with HTTP {reply.status_code}: {self._words(reply)}"
                )
                if reply.status_code in _BODY_REFUSED:
                    raise BodyRefusedError(text, reply.text)
                raise UserError(text)
            kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
            try:
                content = self._without_key(_body(reply))
            except requests.RequestException as error:
                raise self._unreachable(error) from None
        labelled = kind.lower() == "text/event-stream"
        found = read_reply(reply.status_code, labelled, [(content, 0)], secret=self._key)
        if found.streamed != labelled:
            found.mislabelled = self._clean(kind) or "no content type"
        if found.error == "server_error":
            raise UserError(
                f"{where} answered with an error: {self._clean(found.error_text or '')}"
            )
        if found.error == "bad_reply":
            raise UserError(
                f"{where} answered with {self._clean(kind) or 'no content type'} and no `choices`: not a "
                "completion server; check the URL (its root, without /v1) and run.endpoint."
            )
        if found.error:
            raise UserError(f"{where} answered, but {self._clean(found.error_text or '')}.")
        return found

    def _get(self, path: str) -> requests.Response:
        return self._send("GET", path)

    def _json(self, path: str) -> Any:
        reply = self._get(path)
        return self._parsed(reply) if reply.ok else None

    def _parsed(self, reply: requests.Response) -> Any:
        return loads(self._without_key(reply.content))

    def _without_key(self, data: bytes) -> bytes:
        """What a server says, should it repeat the key: replies are stored and shown."""
        return data.replace(self._key.encode(), b"***") if self._key else data

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        timeout_s: float | None = None,
        stream: bool = False,
    ) -> requests.Response:
        data = None if body is None else orjson.dumps(body)
        headers = {"X-Request-Id": str(uuid.uuid4())}
        if body is not None:
            headers["Content-Type"] = "application/json"
        wait = (self._timeout_s, timeout_s or self._timeout_s)
        whole = contextlib.nullcontext() if stream else within(_WAITS * self._timeout_s)
        try:
            with whole:
                reply = self._session.request(
                    method, self.url + path, data=data, headers=headers, timeout=wait, stream=stream
                )
        except requests.RequestException as error:
            raise self._unreachable(error) from None
        if reply.status_code in _UNAUTHORIZED:
            raise self._refused(reply)
        return reply

    def _unreachable(self, error: requests.RequestException) -> UserError:
        if isinstance(error, requests.exceptions.SSLError):
            why, advice = (
                "its TLS certificate was not accepted",
                "check the URL and the certificate",
            )
        elif isinstance(error, requests.Timeout):
            why, advice = "it didn't answer in time", "check that it is not overloaded"
        elif isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
            why, advice = "not a URL of a server", "give one such as http://127.0.0.1:8090"
        elif "Name or service not known" in str(error) or "resolve" in str(error):
            why, advice = "its host name is not known", "check the URL"
        elif "refused" in str(error):
            why, advice = "connection refused", "start it, or check host and port"
        else:
            why, advice = (
                "it closed the connection",
                "check that it is running; its log may say more",
            )
        return UserError(f"Server {self.url} can't be reached: {why}; {advice}.")

    def _refused(self, reply: requests.Response) -> UserError:
        status = f"Server {self.url} answered HTTP {reply.status_code}"
        if self._key is None:
            return UserError(
                f"{status}: it wants an API key; set server.api_key_env to the name of the "
                "environment variable that holds it."
            )
        variable = f" in {self._key_env}" if self._key_env else " of server.api_key_env"
        return UserError(f"{status}: it doesn't accept the API key{variable}; set the right one.")

    def _words(self, reply: requests.Response) -> str:
        try:
            text = words_of_error(self._without_key(reply.content))
            return self._clean(text or reply.reason or "no message")
        except requests.RequestException:
            return "no message"

    def _clean(self, text: str) -> str:
        """A server's words on one line: short, and without the key should it repeat it."""
        if self._key:
            text = text.replace(self._key, "***")
        text = plain(re.sub(r"<[^>]*>", " ", text))
        return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _body(reply: requests.Response) -> bytes:
    """Up to the end, or to `[DONE]`: some servers hold the reply open after that."""
    pieces = []
    for piece in reply.iter_content(None):
        pieces.append(piece)
        if says_done(piece):
            break
    return b"".join(pieces)


class _Bearer(AuthBase):
    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def api_key(server: Server) -> str | None:
    """The key from the variable that `server.api_key_env` names; None when none is named.

    Raises `UserError` when the variable is unset or what it holds can't be sent.
    """
    name = server.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(
            f"server.api_key_env: the environment variable {name} is not set; "
            f"export {name}=… before starting."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"The API key in {name} has characters that can't be sent in a header.")
    return key
