"""The server's control plane over `requests`: its identity, its state, single completions.

Endpoints: llama.cpp's server README (tools/server), vLLM's and SGLang's docs, the OpenAI API
reference.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.address import endpoint_url
from mls.protocol.completion import read_reply
from mls.protocol.metrics import read_metrics
from mls.protocol.replies.reply import Reply
from mls.protocol.request import Target
from mls.protocol.sse import says_done
from mls.protocol.values import count
from mls.server.access import without_password
from mls.server.http.deadline import within
from mls.server.http.session import RefusedError, ServerHttp
from mls.server.model_list import ListedModel, read_list

_BODY_STATUSES = (400, 422)
_PROPS = ("default_generation_settings", "total_slots", "model_path", "chat_template", "build_info")
"""Keys of llama.cpp's `/props`. An answer without any of them is another server's."""


_BLANKS = str.maketrans({"Ġ": " ", "Ċ": "\n", "ĉ": "\t", "▁": " "})
"""What stands for blanks in the tokens of vocabularies."""


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
        metrics_url: str | None = None,
    ) -> None:
        """target: a bare URL stands for a server without key and proxy. timeout_s: limit of a
        connect and of each wait for bytes; a whole answer may take six times as long (in the main
        thread, see `deadline`; elsewhere without limit). run: its endpoint locates the server's
        root, and its headers go with all requests. metrics_url: the page of metrics, where it is
        not the server's own; no key is sent there. Raises `UserError` as `address.endpoint_url`
        and `certificates.tls_context` do.
        """
        self.target = target if isinstance(target, Target) else Target(target)
        self.url = self.target.url.rstrip("/")
        self._http = ServerHttp(self.target, timeout_s, run or Run())
        self._timeout_s = timeout_s
        self._metrics_url = metrics_url
        self._model: str | None = None

    def route(self, model: str) -> None:
        """Ask llama.cpp's router for this model's state from now on, not for its own."""
        self._model = model

    def health(self) -> str | None:
        """`ok`; None when `/health` isn't. For llama.cpp only: a gateway's may cost money."""
        reply = self._http.optional("/health")
        return None if reply is None else "ok"

    def models(self) -> list[ListedModel] | None:
        """The models that `/v1/models` lists, in its order."""
        return read_list(self._http.json("/v1/models"))

    def props(self) -> dict[str, Any] | None:
        """llama.cpp's `/props`: slots, context, chat template, model path, build."""
        props = self._http.json(self._routed("/props"))
        if not isinstance(props, dict) or not any(key in props for key in _PROPS):
            return None
        return props

    def slots(self) -> list[dict[str, Any]] | None:
        """llama.cpp's `/slots`: the state of each slot."""
        slots = self._http.json(self._routed("/slots"))
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            return None
        return slots

    def lora_adapters(self) -> dict[int, str] | None:
        """Number → file of the adapters that a llama.cpp has loaded, by its `/lora-adapters`."""
        answer = self._http.json(self._routed("/lora-adapters"))
        if not isinstance(answer, list):
            return None
        each = [one for one in answer if isinstance(one, dict) and isinstance(one.get("id"), int)]
        return {one["id"]: str(one.get("path")) for one in each}

    def metrics(self, path: str = "/metrics", model: str | None = None) -> dict[str, float] | None:
        """The figures of a page in Prometheus' text format, by name, as `read_metrics` has them."""
        reply = (
            self._metrics_elsewhere(self._metrics_url)
            if self._metrics_url
            else self._http.optional(self._routed(path))
        )
        page = b"" if reply is None else self._http.without_key(reply.content)
        text = page.decode(errors="replace")
        return read_metrics(text, model) or None

    def info(self, path: str) -> dict[str, Any]:
        """What an engine says of itself at a path; empty where it says nothing."""
        answer = self._http.json(path)
        return answer if isinstance(answer, dict) else {}

    def resets(self, path: str) -> bool:
        """POST to a path that resets something. Returns whether the server did it."""
        return self._http.optional(path, {}) is not None

    def tokenize(self, text: str, *, special: bool = False) -> int | None:
        """Number of tokens of a text by `/tokenize`, in llama.cpp's fields and in vLLM's.

        special: whether the text is a whole prompt; the model's own tokens around it count then,
        and special tokens in it are parsed.
        """
        body: dict[str, Any] = {"content": text, "prompt": text, "add_special_tokens": special}
        if special:
            body |= {"add_special": True, "parse_special": True}
        answer = self._http.json("/tokenize", body | self._named())
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        return len(tokens) if isinstance(tokens, list) else None

    def token_pieces(self, text: str) -> list[str] | None:
        """The text's tokens as they stand in it, by llama.cpp's `/tokenize` or vLLM's.

        None where the server doesn't say, and where a token is part of a character.
        """
        body = {"content": text, "prompt": text, "add_special_tokens": False}
        answer = self._http.json(
            "/tokenize", body | {"with_pieces": True, "return_token_strs": True} | self._named()
        )
        if not isinstance(answer, dict):
            return None
        pieces = answer.get("token_strs")
        if pieces is None and isinstance(tokens := answer.get("tokens"), list):
            pieces = [token.get("piece") if isinstance(token, dict) else None for token in tokens]
        if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
            return None
        return [piece.translate(_BLANKS) for piece in pieces]

    def apply_template(
        self, messages: list[dict[str, Any]], fields: dict[str, Any] | None = None
    ) -> str | None:
        """The whole prompt by the model's chat template, from llama.cpp's `/apply-template`.

        fields: others of the chat, such as `tools`.
        """
        body = {"messages": messages} | (fields or {})
        answer = self._http.json("/apply-template", body | self._named())
        text = answer.get("prompt") if isinstance(answer, dict) else None
        return text if isinstance(text, str) else None

    def count_messages(self, messages: list[dict[str, Any]], model: str | None) -> int | None:
        """Number of tokens of a chat's prompt, template included, by vLLM's and SGLang's `/tokenize`."""
        return count(self._tokenized(messages, model, {}).get("count"))

    def message_tokens(
        self, messages: list[dict[str, Any]], model: str | None, fields: dict[str, Any]
    ) -> list[int] | None:
        """The tokens themselves, from the same; see `apply_template` for `fields`."""
        answer = self._tokenized(messages, model, fields)
        tokens = answer.get("tokens")
        # A server that overlooks the messages counts none
        if not count(answer.get("count")) or not isinstance(tokens, list):
            return None
        return tokens if all(isinstance(token, int) for token in tokens) else None

    def _tokenized(
        self, messages: list[dict[str, Any]], model: str | None, fields: dict[str, Any]
    ) -> dict[str, Any]:
        body = {"messages": messages} | fields | ({"model": model} if model else {})
        answer = self._http.json("/tokenize", body)
        return answer if isinstance(answer, dict) else {}

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
            raise self._http.unreachable(error) from None

    def _complete(self, endpoint: str, body: dict[str, Any], timeout_s: float) -> Reply:
        where = endpoint_url(self.url, endpoint)
        reply = self._http.send(where, body, timeout_s)
        if self.target.proxy:
            where += f" (through the proxy {without_password(self.target.proxy)})"
        with reply:
            if reply.status_code == requests.codes.not_found:
                raise RefusedError(
                    f"{where} answered HTTP 404 ({self._http.words(reply)}): not a completion server; "
                    "check the URL and run.endpoint."
                )
            if reply.status_code < requests.codes.ok:
                raise UserError(
                    f"{where} switches to another protocol (HTTP {reply.status_code}), which no "
                    "request asks for: not a completion server; check the URL."
                )
            if not reply.ok:
                text = f"{where} refused a request with HTTP {reply.status_code}: {self._http.words(reply)}"
                if reply.status_code in _BODY_STATUSES:
                    raise BodyRefusedError(text, reply.text)
                raise UserError(text)
            kind = reply.headers.get("Content-Type", "").partition(";")[0].strip()
            try:
                content = self._http.without_key(_body(reply))
            except requests.RequestException as error:
                raise self._http.unreachable(error) from None
        is_event_stream = kind.lower() == "text/event-stream"
        completion = read_reply(
            reply.status_code,
            is_event_stream,
            [(content, 0)],
            secret=self.target.secrets,
            limit=count(body.get("max_output_tokens")),
        )
        if completion.streamed != is_event_stream:
            completion.mislabelled = self._http.clean(kind) or "no content type"
        if completion.error == "server_error":
            raise UserError(
                f"{where} answered with an error: {self._http.clean(completion.error_text or '')}"
            )
        if completion.error == "bad_reply" and not content.strip():
            raise UserError(
                f"{where} answered HTTP {reply.status_code} and nothing else: what is behind it is "
                "gone, or it is not a completion server; check the URL, run.endpoint and its log."
            )
        if completion.error == "bad_reply":
            raise UserError(
                f"{where} answered with {self._http.clean(kind) or 'no content type'} and no reply in it: "
                "not a completion server; check the URL and run.endpoint."
            )
        if completion.error:
            raise UserError(
                f"{where} answered, but {self._http.clean(completion.error_text or '')}."
            )
        return completion

    def _routed(self, path: str) -> str:
        if not self._model:
            return path
        # asking for a model's state neither loads nor wakes it
        return f"{path}?model={quote(self._model, safe='')}&autoload=false"

    def _named(self) -> dict[str, str]:
        return {"model": self._model} if self._model else {}

    def _metrics_elsewhere(self, url: str) -> requests.Response:
        """The page at `metrics_url`. Raises `UserError` where it can't be had: it was asked for."""
        try:
            with within(self._timeout_s):
                reply = requests.get(url, timeout=self._timeout_s, allow_redirects=False)
        except requests.RequestException as error:
            why = type(error).__name__
            raise UserError(f"server.metrics_url: {url} can't be read ({why}).") from None
        if reply.status_code != requests.codes.ok:
            raise UserError(f"server.metrics_url: {url} answered HTTP {reply.status_code}.")
        return reply


def _body(reply: requests.Response) -> bytes:
    """The body up to its end or to `[DONE]`, after which some servers hold the connection open."""
    pieces = []
    for piece in reply.iter_content(None):
        pieces.append(piece)
        if says_done(piece):
            break
    return b"".join(pieces)
