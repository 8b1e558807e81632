"""The server's control plane over `requests`: what it is, its state, one completion at a time.

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

_UNAUTHORIZED = frozenset({401, 403})
_BODY_REFUSED = (400, 422)
_ABSENT_AFTER_S = 3
"""A path that has never answered, and doesn't within this, is one that the server doesn't have."""
_WAITS = 6
"""How many of its waits a whole answer of the control plane may take."""
_NO_CONNECTION = (
    requests.exceptions.ConnectTimeout,
    requests.exceptions.SSLError,
    requests.exceptions.ProxyError,
    ValueError,  # of the URL or a header
)
_LOADING = "Loading model"
"""llama.cpp's words, with HTTP 503, until its model is loaded."""
_PROPS = ("default_generation_settings", "total_slots", "model_path", "chat_template", "build_info")
"""Keys of llama.cpp's `/props`: with none of them an answer is another's."""
_QUOTED = 200  # characters of a server's own words in a message


class RefusedError(UserError):
    """The server refuses a completion, and will refuse the next one like it."""


class BodyRefusedError(RefusedError):
    """The server doesn't take a request's body. `words`: all that it said."""

    def __init__(self, text: str, words: str) -> None:
        super().__init__(text)
        self.words = words


class ServerApi:
    """One server. Endpoints that it doesn't have, forbids, or doesn't answer at give None; only a
    completion decides whether it can be used.

    All methods raise `UserError` when the server can't be reached, is still loading, or refuses the
    key of a completion; no message ever holds a key.
    """

    def __init__(
        self,
        target: Target | str,
        timeout_s: float = 10,
        *,
        run: Run | None = None,
    ) -> None:
        """target: a bare URL is one without key and proxy. timeout_s: of a connect and of each wait
        for bytes; six times that is the limit of a whole answer (in the main thread, see
        `deadline`). run: its endpoint says where the server's root is, and its headers go with all
        requests. Raises `UserError`, see `address.endpoint_url` and `trust.tls_context`."""
        self._run = run or Run()
        self.target = target if isinstance(target, Target) else Target(target)
        self.url = self.target.url.rstrip("/")
        self._root = root_url(self.url, self._run.endpoint)
        self._secrets = self.target.secrets
        self._timeout_s = timeout_s
        self._answering: set[str] = set()
        self._silent: set[str] = set()
        self._session = requests.Session()
        # proxies are `access`' to choose, and a .netrc's key must be asked for in the config
        self._session.trust_env = False
        if proxy := self.target.proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        self._session.headers.update(self._run.request_headers | self.target.secret_headers)
        self._session.mount("http+unix://", UnixAdapter())  # type: ignore[no-untyped-call]
        if self.target.tls:
            self._session.mount("https://", TrustingAdapter(tls_context()))

    def health(self) -> str | None:
        """`ok`, or None when `/health` doesn't say so. For llama.cpp: a gateway's may cost money."""
        reply = self._optional("/health")
        return None if reply is None else "ok"

    def models(self) -> list[ListedModel] | None:
        """What `/v1/models` lists, in its order."""
        return read_list(self._json("/v1/models"))

    def props(self) -> dict[str, Any] | None:
        """llama.cpp's `/props`: slots, context, chat template, model path, build."""
        found = self._json("/props")
        if not isinstance(found, dict) or not any(key in found for key in _PROPS):
            return None
        return found

    def slots(self) -> list[dict[str, Any]] | None:
        """llama.cpp's `/slots`: the state of each."""
        found = self._json("/slots")
        if not isinstance(found, list) or not all(isinstance(slot, dict) for slot in found):
            return None
        return found

    def metrics(self) -> dict[str, float] | None:
        """Samples without labels of `/metrics` (Prometheus text format): name → value."""
        reply = self._optional("/metrics")
        text = "" if reply is None else reply.content.decode(errors="replace")
        return parse_metrics(text) or None

    def tokenize(self, text: str, *, special: bool = False) -> int | None:
        """Number of tokens of a text by llama.cpp's `/tokenize`.

        special: as a whole prompt, with what the model puts around it and special tokens read.
        """
        body: dict[str, Any] = {"content": text}
        if special:
            body |= {"add_special": True, "parse_special": True}
        found = self._json("/tokenize", body)
        tokens = found.get("tokens") if isinstance(found, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    def apply_template(self, messages: list[dict[str, str]]) -> str | None:
        """The whole prompt that the chat template makes, by llama.cpp's `/apply-template`."""
        found = self._json("/apply-template", {"messages": messages})
        text = found.get("prompt") if isinstance(found, dict) else None
        return text if isinstance(text, str) else None

    def complete(
        self,
        endpoint: str,
        body: dict[str, Any],
        timeout_s: float = 300,
    ) -> Reply:
        """POST one completion request; streamed or not is the body's and the server's choice.

        endpoint: as `run.endpoint`. timeout_s: of the whole reply, as of a measured one. Raises
        `UserError` also when the reply is not a completion (an embedding).
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
                    f"{where} sends an interim reply first (HTTP {reply.status_code}), behind which the "
                    "probe can't look: have it, or what is between, send none."
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
        found = read_reply(reply.status_code, labelled, [(content, 0)], secret=self._secrets)
        if found.streamed != labelled:
            found.mislabelled = self._clean(kind) or "no content type"
        if found.error == "server_error":
            raise UserError(
                f"{where} answered with an error: {self._clean(found.error_text or '')}"
            )
        if found.error == "bad_reply":
            raise UserError(
                f"{where} answered with {self._clean(kind) or 'no content type'} and no `choices`: not a "
                "completion server; check the URL and run.endpoint."
            )
        if found.error:
            raise UserError(f"{where} answered, but {self._clean(found.error_text or '')}.")
        return found

    def _json(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = self._optional(path, body)
        return self._parsed(reply) if reply is not None else None

    def _parsed(self, reply: requests.Response) -> Any:
        return loads(self._without_key(reply.content))

    def _without_key(self, data: bytes) -> bytes:
        """What a server says, should it repeat a key: replies are stored and shown."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), b"***")
        return data

    def _optional(self, path: str, body: dict[str, Any] | None = None) -> requests.Response | None:
        """A whole answer of success below the server's root, POSTed for with a body; None for any other.

        A path that has never answered may be one that the server doesn't have: it isn't waited for
        for long, and once it has been silent it isn't asked again.
        """
        if path in self._silent:
            return None
        known = path in self._answering
        wait_s = self._timeout_s if known else min(_ABSENT_AFTER_S, self._timeout_s)
        try:
            with within(_WAITS * wait_s if known else wait_s):
                reply = self._request(self._root + path, body, (wait_s, wait_s))
        except requests.RequestException as error:
            if known or _no_connection(error):
                raise self._unreachable(error) from None
            self._silent.add(path)
            return None
        if reply.status_code != requests.codes.ok:
            self._raise_if_loading(reply)
            return None
        self._answering.add(path)
        return reply

    def _send(self, url: str, body: dict[str, Any], timeout_s: float) -> requests.Response:
        """The head of the answer to a completion request; its body is yet to be read."""
        wait = (self._timeout_s, timeout_s)
        try:
            reply = self._request(url, body, wait, sample_headers(self._run), stream=True)
        except requests.RequestException as error:
            raise self._unreachable(error) from None
        if reply.status_code in _UNAUTHORIZED:
            raise self._refused(reply)
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
        """Sent once more, on a fresh connection, where the server has closed that of the first time."""
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

    def _refused(self, reply: requests.Response) -> RefusedError:
        status = f"Server {self.url} answered HTTP {reply.status_code} ({self._words(reply)})"
        return RefusedError(f"{status}: {key_advice(self.target)}.")

    def _words(self, reply: requests.Response) -> str:
        try:
            text = words_of_error(self._without_key(reply.content))
            return self._clean(text or reply.reason or "no message")
        except requests.RequestException:
            return "no message"

    def _clean(self, text: str) -> str:
        """A server's words on one line: short, and without a key should it repeat one."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = plain(re.sub(r"<[^>]*>", " ", text))
        return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _hung_up(error: requests.RequestException) -> bool:
    """Whether there was a connection, and the server closed it."""
    cause = error.args[0] if error.args else None
    refused = FileNotFoundError | ConnectionRefusedError  # of a Unix socket
    return isinstance(cause, ProtocolError) and not isinstance(cause.args[-1], refused)


def _body(reply: requests.Response) -> bytes:
    """Up to the end, or to `[DONE]`: some servers hold the reply open after that."""
    pieces = []
    for piece in reply.iter_content(None):
        pieces.append(piece)
        if says_done(piece):
            break
    return b"".join(pieces)


def _no_connection(error: requests.RequestException) -> bool:
    """Whether there was none; otherwise there was one, and no whole answer came."""
    cause = error.args[0] if error.args else None
    aborted = isinstance(cause, ProtocolError) and not _hung_up(error)
    return isinstance(error, _NO_CONNECTION) or isinstance(cause, MaxRetryError) or aborted
