"""The server's control plane over `requests`: its identity, its state, single completions.

Endpoints: llama.cpp's server README (tools/server) and the OpenAI API reference.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import requests
from requests_unixsocket.adapters import UnixAdapter
from urllib3.exceptions import MaxRetryError, ProtocolError

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.address import endpoint_url, redirection, root_url
from mls.protocol.completion import Reply, read_reply, words_of_error
from mls.protocol.metrics import parse_metrics
from mls.protocol.request import Target, sample_headers
from mls.protocol.sse import says_done
from mls.protocol.values import loads, plain
from mls.server.access import key_advice, without_password
from mls.server.deadline import within
from mls.server.model_list import ListedModel, read_list
from mls.server.trust import TrustingAdapter, tls_context

_KEY_STATUSES = frozenset({401, 403})
_BODY_STATUSES = (400, 422)
_ABSENT_AFTER_S = 3
"""A path that hasn't answered once counts as absent when it doesn't answer within this time."""
_WAITS = 6
"""Limit of a whole answer of the control plane, in time limits of a single wait."""
_NO_CONNECTION = (
    requests.exceptions.ConnectTimeout,
    requests.exceptions.SSLError,
    requests.exceptions.ProxyError,
    ValueError,  # Of the URL or a header
)
_LOADING = "Loading model"
"""llama.cpp's words, with HTTP 503, until its model is loaded."""
_PROPS = ("default_generation_settings", "total_slots", "model_path", "chat_template", "build_info")
"""Keys of llama.cpp's `/props`. An answer without any of them is another server's."""
_WORDS_LENGTH = 200  # Characters of a server's own words in a message


class RefusedError(UserError):
    """The server refuses a completion, and would refuse any like it."""


class BodyRefusedError(RefusedError):
    """The server refuses a request's body. `words`: the text of its reply."""

    def __init__(self, text: str, words: str) -> None:
        super().__init__(text)
        self.words = words


class ServerApi:
    """One server.

    An endpoint that the server lacks, forbids or leaves unanswered gives None: only a completion
    decides whether the server can be used. All methods raise `UserError` when the server can't be
    reached, is still loading, or refuses the key of a completion. No message holds a key.
    """

    def __init__(
        self,
        target: Target | str,
        timeout_s: float = 10,
        *,
        run: Run | None = None,
    ) -> None:
        """target: a bare URL stands for a server without key and proxy. timeout_s: limit of a
        connect and of each wait for bytes; a whole answer may take six times as long (in the main
        thread, see `deadline`; elsewhere without limit). run: its endpoint locates the server's
        root, and its headers go with all requests. Raises `UserError` as `address.endpoint_url`
        and `trust.tls_context` do.
        """
        self._run = run or Run()
        self.target = target if isinstance(target, Target) else Target(target)
        self.url = self.target.url.rstrip("/")
        self._root = root_url(self.url, self._run.endpoint)
        self._secrets = self.target.secrets
        self._timeout_s = timeout_s
        self._answering: set[str] = set()
        self._silent: set[str] = set()
        self._session = requests.Session()
        # `access` chooses proxies, and the config names keys: neither comes from the environment
        self._session.trust_env = False
        if proxy := self.target.proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        self._session.headers.update(self._run.request_headers | self.target.secret_headers)
        self._session.mount("http+unix://", UnixAdapter())  # type: ignore[no-untyped-call]
        if self.target.tls:
            self._session.mount("https://", TrustingAdapter(tls_context()))

    def health(self) -> str | None:
        """`ok`; None when `/health` isn't. For llama.cpp only: a gateway's may cost money."""
        reply = self._optional("/health")
        return None if reply is None else "ok"

    def models(self) -> list[ListedModel] | None:
        """The models that `/v1/models` lists, in its order."""
        return read_list(self._json("/v1/models"))

    def props(self) -> dict[str, Any] | None:
        """llama.cpp's `/props`: slots, context, chat template, model path, build."""
        props = self._json("/props")
        if not isinstance(props, dict) or not any(key in props for key in _PROPS):
            return None
        return props

    def slots(self) -> list[dict[str, Any]] | None:
        """llama.cpp's `/slots`: the state of each slot."""
        slots = self._json("/slots")
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            return None
        return slots

    def metrics(self) -> dict[str, float] | None:
        """Samples without labels of `/metrics` (Prometheus text format): name → value."""
        reply = self._optional("/metrics")
        text = "" if reply is None else reply.content.decode(errors="replace")
        return parse_metrics(text) or None

    def tokenize(self, text: str, *, special: bool = False) -> int | None:
        """Number of tokens of a text by llama.cpp's `/tokenize`.

        special: whether the text is a whole prompt; the model's own tokens around it count then,
        and special tokens in it are parsed.
        """
        body: dict[str, Any] = {"content": text}
        if special:
            body |= {"add_special": True, "parse_special": True}
        answer = self._json("/tokenize", body)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    def apply_template(self, messages: list[dict[str, str]]) -> str | None:
        """The whole prompt by the model's chat template, from llama.cpp's `/apply-template`."""
        answer = self._json("/apply-template", {"messages": messages})
        text = answer.get("prompt") if isinstance(answer, dict) else None
        return text if isinstance(text, str) else None

    def complete(
        self,
        endpoint: str,
        body: dict[str, Any],
        timeout_s: float = 300,
    ) -> Reply:
        """POST one completion request, streamed or not as body and server choose.

        endpoint: as `run.endpoint`. timeout_s: limit of the whole reply, as in the run. Raises
        `UserError` also when the reply is neither a completion nor an embedding.
        """
        try:
            with within(timeout_s):
                return self._complete(endpoint, body, timeout_s)
        except requests.Timeout as error:
            raise self._unreachable(error) from None

    def _complete(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> Reply:
        where = endpoint_url(self.url, endpoint)
        reply = self._send(where, body, timeout_s)
        if self.target.proxy:
            where += f" (through the proxy {without_password(self.target.proxy)})"
        with reply:
            if reply.status_code == requests.codes.not_found:
                raise RefusedError(
                    f"{where} answered HTTP 404 ({self._words(reply)}): not a completion server; "
                    "check the URL and run.endpoint."
                )
            if reply.status_code < requests.codes.ok:
                raise UserError(
                    f"{where} sends an interim reply first (HTTP {reply.status_code}), behind "
                    "which the probe can't look: have it, or what is between, send none."
                )
            if not reply.ok:
                text = (
                    f"{where} refused a request with HTTP {reply.status_code}: {self._words(reply)}"
                )
                if reply.status_code in _BODY_STATUSES:
                    raise BodyRefusedError(text, reply.text)
                raise UserError(text)
            kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
            try:
                content = self._without_key(_body(reply))
            except requests.RequestException as error:
                raise self._unreachable(error) from None
        is_event_stream = kind.lower() == "text/event-stream"
        completion = read_reply(
            reply.status_code, is_event_stream, [(content, 0)], secret=self._secrets
        )
        if completion.streamed != is_event_stream:
            completion.mislabelled = self._clean(kind) or "no content type"
        if completion.error == "server_error":
            raise UserError(
                f"{where} answered with an error: {self._clean(completion.error_text or '')}"
            )
        if completion.error == "bad_reply":
            raise UserError(
                f"{where} answered with {self._clean(kind) or 'no content type'} and no `choices`: "
                "not a completion server; check the URL and run.endpoint."
            )
        if completion.error:
            raise UserError(f"{where} answered, but {self._clean(completion.error_text or '')}.")
        return completion

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = self._optional(path, body)
        return self._content(reply) if reply is not None else None

    def _content(self, reply: requests.Response) -> Any:
        return loads(self._without_key(reply.content))

    def _without_key(self, data: bytes) -> bytes:
        """A reply's bytes with keys replaced, since replies are stored and printed."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), b"***")
        return data

    def _optional(self, path: str, body: dict[str, Any] | None = None) -> requests.Response | None:
        """A whole answer with HTTP 200 from a path below the server's root; None for any other.

        A body makes it a POST. A path that hasn't answered yet may be absent: the wait for it is
        short, and there is no second one.
        """
        if path in self._silent:
            return None
        has_answered = path in self._answering
        wait_s = self._timeout_s if has_answered else min(_ABSENT_AFTER_S, self._timeout_s)
        try:
            with within(_WAITS * wait_s if has_answered else wait_s):
                reply = self._request(self._root + path, body, (wait_s, wait_s))
        except requests.RequestException as error:
            if has_answered or _no_connection(error):
                raise self._unreachable(error) from None
            self._silent.add(path)
            return None
        if reply.status_code != requests.codes.ok:
            self._raise_if_loading(reply)
            return None
        self._answering.add(path)
        return reply

    def _send(self, url: str, body: dict[str, Any], timeout_s: float) -> requests.Response:
        """The answer to a completion request, whose body isn't read yet."""
        wait = (self._timeout_s, timeout_s)
        try:
            reply = self._request(url, body, wait, sample_headers(self._run), stream=True)
        except requests.RequestException as error:
            raise self._unreachable(error) from None
        if reply.status_code in _KEY_STATUSES:
            raise self._refusal(reply)
        self._raise_if_loading(reply)
        if reply.is_redirect:
            where = redirection(url, reply.headers["Location"])
            raise RefusedError(f"{url} is {self._clean(where)}.")
        return reply

    def _request(
        self,
        url: str,
        body: dict[str, Any] | None,
        wait: tuple[float, float],
        headers: dict[str, str] | None = None,
        *,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request, and once more on a fresh connection where the server closed the first."""
        options: dict[str, Any] = {"timeout": wait, "stream": stream, "allow_redirects": False}
        options["headers"] = headers
        if body is not None:
            options["data"] = orjson.dumps(body)
            options["headers"] = headers or {"Content-Type": "application/json"}
        method = "GET" if body is None else "POST"
        try:
            return self._session.request(method, url, **options)
        except requests.ConnectionError as error:
            if not _hung_up(error):
                raise
        self._session.close()
        return self._session.request(method, url, **options)

    def _raise_if_loading(self, reply: requests.Response) -> None:
        if reply.status_code != requests.codes.service_unavailable:
            return
        if _LOADING in self._words(reply):
            raise RefusedError(
                f"Server {self.url} is still loading its model; try again when it is ready."
            )

    def _unreachable(self, error: requests.RequestException) -> UserError:
        if isinstance(error, requests.exceptions.ProxyError):
            proxy = without_password(self.target.proxy or "")
            why, advice = f"the proxy {proxy} doesn't pass it on", "check the proxy"
        elif isinstance(error, requests.exceptions.SSLError):
            why, advice = (
                "its TLS certificate was not accepted",
                "check the URL and the certificate (SSL_CERT_FILE names one of your own)",
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

    def _refusal(self, reply: requests.Response) -> RefusedError:
        status = f"Server {self.url} answered HTTP {reply.status_code} ({self._words(reply)})"
        return RefusedError(f"{status}: {key_advice(self.target)}.")

    def _words(self, reply: requests.Response) -> str:
        try:
            text = words_of_error(self._without_key(reply.content))
            return self._clean(text or reply.reason or "no message")
        except requests.RequestException:
            return "no message"

    def _clean(self, text: str) -> str:
        """A server's words on one short line, with keys replaced."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = plain(re.sub(r"<[^>]*>", " ", text))
        return text if len(text) <= _WORDS_LENGTH else text[: _WORDS_LENGTH - 1] + "…"


def _hung_up(error: requests.RequestException) -> bool:
    """Whether a connection was open and the server closed it."""
    cause = error.args[0] if error.args else None
    no_listener = FileNotFoundError | ConnectionRefusedError  # Of a Unix socket
    return isinstance(cause, ProtocolError) and not isinstance(cause.args[-1], no_listener)


def _body(reply: requests.Response) -> bytes:
    """The body up to its end or to `[DONE]`, after which some servers hold the connection open."""
    pieces = []
    for piece in reply.iter_content(None):
        pieces.append(piece)
        if says_done(piece):
            break
    return b"".join(pieces)


def _no_connection(error: requests.RequestException) -> bool:
    """Whether no connection was made; otherwise one was, and no whole answer came on it."""
    cause = error.args[0] if error.args else None
    aborted = isinstance(cause, ProtocolError) and not _hung_up(error)
    return isinstance(error, _NO_CONNECTION) or isinstance(cause, MaxRetryError) or aborted
