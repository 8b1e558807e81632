"""HTTP to a server's control plane: one session, time limits, and errors in plain words."""

from __future__ import annotations

import re
from typing import Any

import orjson
import requests
from requests_unixsocket.adapters import UnixAdapter
from urllib3.exceptions import MaxRetryError, ProtocolError

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.address import redirection, root_url
from mls.protocol.completion import words_of_error
from mls.protocol.request import Target, sample_headers
from mls.protocol.values import loads, plain
from mls.server.access import key_advice, without_password
from mls.server.http.adapter import TrustingAdapter
from mls.server.http.certificates import tls_context
from mls.server.http.deadline import within

_KEY_STATUSES = frozenset({401, 403})
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
_WORDS_LENGTH = 200  # Characters of a server's own words in a message


class RefusedError(UserError):
    """The server refuses a completion, and would refuse any like it."""


class ServerHttp:
    """A session with one server. No message of its errors holds a key."""

    def __init__(self, target: Target, timeout_s: float, run: Run) -> None:
        """Arguments and errors: see `ServerApi`."""
        self.target = target
        self._run = run
        self._url = target.url.rstrip("/")
        self._root = root_url(self._url, run.endpoint)
        self._timeout_s = timeout_s
        self._answering: set[str] = set()
        self._silent: set[str] = set()
        self._session = requests.Session()
        # `access` chooses proxies, and the config names keys: neither comes from the environment
        self._session.trust_env = False
        if proxy := target.proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        self._session.headers.update(run.request_headers | target.secret_headers)
        self._session.mount("http+unix://", UnixAdapter())  # type: ignore[no-untyped-call]
        if target.tls:
            self._session.mount("https://", TrustingAdapter(tls_context()))

    def json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = self.optional(path, body)
        return self._content(reply) if reply is not None else None

    def _content(self, reply: requests.Response) -> Any:
        return loads(self.without_key(reply.content))

    def without_key(self, data: bytes) -> bytes:
        """A reply's bytes with keys replaced, since replies are stored and printed."""
        for secret in self.target.secrets:
            data = data.replace(secret.encode(), b"***")
        return data

    def optional(self, path: str, body: dict[str, Any] | None = None) -> requests.Response | None:
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
                raise self.unreachable(error) from None
            self._silent.add(path)
            return None
        if reply.status_code != requests.codes.ok:
            self._raise_if_loading(reply)
            return None
        self._answering.add(path)
        return reply

    def send(self, url: str, body: dict[str, Any], timeout_s: float) -> requests.Response:
        """The answer to a completion request, whose body isn't read yet."""
        wait = (self._timeout_s, timeout_s)
        try:
            reply = self._request(url, body, wait, sample_headers(self._run), stream=True)
        except requests.RequestException as error:
            raise self.unreachable(error) from None
        if reply.status_code in _KEY_STATUSES:
            raise self._refusal(reply)
        self._raise_if_loading(reply)
        if reply.is_redirect:
            where = redirection(url, reply.headers["Location"])
            raise RefusedError(f"{url} is {self.clean(where)}.")
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
        if _LOADING in self.words(reply):
            raise RefusedError(
                f"Server {self._url} is still loading its model; try again when it is ready."
            )

    def unreachable(self, error: requests.RequestException) -> UserError:
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
        return UserError(f"Server {self._url} can't be reached: {why}; {advice}.")

    def _refusal(self, reply: requests.Response) -> RefusedError:
        status = f"Server {self._url} answered HTTP {reply.status_code} ({self.words(reply)})"
        return RefusedError(f"{status}: {key_advice(self.target)}.")

    def words(self, reply: requests.Response) -> str:
        try:
            text = words_of_error(self.without_key(reply.content))
            return self.clean(text or reply.reason or "no message")
        except requests.RequestException:
            return "no message"

    def clean(self, text: str) -> str:
        """A server's words on one short line, with keys replaced."""
        for secret in self.target.secrets:
            text = text.replace(secret, "***")
        text = plain(re.sub(r"<[^>]*>", " ", text))
        return text if len(text) <= _WORDS_LENGTH else text[: _WORDS_LENGTH - 1] + "…"


def _hung_up(error: requests.RequestException) -> bool:
    """Whether a connection was open and the server closed it."""
    cause = error.args[0] if error.args else None
    no_listener = FileNotFoundError | ConnectionRefusedError  # Of a Unix socket
    return isinstance(cause, ProtocolError) and not isinstance(cause.args[-1], no_listener)


def _no_connection(error: requests.RequestException) -> bool:
    """Whether no connection was made; otherwise one was, and no whole answer came on it."""
    cause = error.args[0] if error.args else None
    aborted = isinstance(cause, ProtocolError) and not _hung_up(error)
    return isinstance(error, _NO_CONNECTION) or isinstance(cause, MaxRetryError) or aborted
