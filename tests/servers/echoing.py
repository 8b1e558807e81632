"""A gateway that needs keys, and repeats those that it gets wherever a reply has room for text."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from tests.servers.misbehaving import job_of

_HARMLESS = frozenset(
    [
        *("host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"),
        *("connection", "proxy-connection", "x-request-id"),
    ]
)
FAULTS = ("500", "307", "error event", "bad status line", "encoding", "429", "cut")
"""What the load's first requests meet, by job; all later ones get good replies."""


class Echoing:
    """A context manager around the running server.

    needs: headers without which it answers 401, which repeats the keys, too.
    refuses: whether it refuses every completion of the load, and none before it.
    """

    def __init__(self, needs: dict[str, str], *, refuses: bool = False) -> None:
        self.echoes: set[str] = set()
        """All that it has repeated."""
        outer = self

        class Handler(_Handler):
            server_of_test = outer
            required = needs
            refuses_load = refuses

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Echoing:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of_test: Echoing
    required: dict[str, str]
    refuses_load: bool
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        words = self._words()
        pages = {
            "/v1/models": [{"id": words, "owned_by": words}, {"id": "m"}],
            "/props": {"build_info": words, "model_path": words, "chat_template": words},
            "/slots": [{"id": 0, "n_ctx": 2048, "prompt": words}],
            "/health": {"status": words},
            "/version": {"version": words},
        }
        page = pages.get(urlsplit(self.path).path)
        if self._lacks_keys():
            self._send(401, words)
        elif urlsplit(self.path).path == "/metrics":
            names = "".join(
                f'llamacpp:{word} 1\nllamacpp:x{{key="{word}"}} 1\n' for word in words.split()
            )
            self._send(200, f"# HELP {words}\nllamacpp:requests_processing 0\n{names}")
        elif page is None:
            self._send(404, words)
        else:
            self._send(200, json.dumps(page))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = self._words()
        if self._lacks_keys():
            self._send(401, json.dumps({"error": {"message": words}}))
        elif not urlsplit(self.path).path.endswith("/completions"):
            self._send(404, json.dumps({"error": {"message": words}}))
        elif not body.get("stream"):
            self._send(200, json.dumps(self._chunk(words, "message")))
        else:
            self._stream(words, self._fault(self.headers["X-Request-Id"]))

    def _fault(self, request_id: str) -> str | None:
        """What a request meets; None for a good reply. Ids of the load are of another version."""
        job = job_of(request_id)
        if not request_id.split("-")[2].startswith("8") or job < 0:
            return None
        if self.refuses_load:
            return "500"
        return FAULTS[job] if job < len(FAULTS) else None

    def _stream(self, words: str, fault: str | None) -> None:
        if fault in ("500", "429"):
            self._send(int(fault), f"no {words}")
        elif fault == "307":
            self._send(307, "", Location=f"/login?token={quote(words)}&next={quote(words)}#{words}")
        elif fault == "bad status line":
            self.wfile.write(f"HTTP/1.1 {words}\r\n{words}\r\n\r\n".encode())
            self.close_connection = True
        elif fault == "encoding":
            self._send(200, words, **{"Content-Encoding": words})
        else:
            half = len(words) // 2
            chunks = [self._chunk(part, "delta") for part in (words[:half], words[half:])]
            events = [json.dumps(chunk) for chunk in chunks]
            if fault == "error event":
                events.append(json.dumps({"error": {"message": words, "code": words}}))
            elif fault == "cut":
                events = [event.replace("finish_reason", "reason") for event in events]
            if fault is None:
                events.append("[DONE]")
            text = "".join(f": {words}\n\nid: {words}\ndata: {each}\n\n" for each in events)
            self._send(200, text, **{"Content-Type": f"text/event-stream; key={words}"})

    def _chunk(self, words: str, part: str) -> dict[str, Any]:
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "service_tier": words, words: words}
        choice = {"index": 0, "finish_reason": words, part: {"content": words, "role": words}}
        own = {"id": words, "model": words, "system_fingerprint": words}
        return own | {"choices": [choice], "usage": usage, "timings": {words: words}}

    def _lacks_keys(self) -> bool:
        return not self.required.items() <= dict(self.headers).items()

    def _words(self) -> str:
        """The values of all headers that may hold a key, also without their scheme and encoding."""
        words = []
        for name, value in self.headers.items():
            if name.lower() in _HARMLESS:
                continue
            words += [value, value.rpartition(" ")[2]]
            if value.startswith("Basic "):
                login = base64.b64decode(value.removeprefix("Basic ")).decode("latin-1")
                words += [login, login.partition(":")[2]]
        self.server_of_test.echoes.update(words)
        return " ".join(words)

    def _send(self, status: int, text: str, **headers: str) -> None:
        words = self._words()
        data = text.encode()
        self.send_response(status, words or None)
        fields = {"Content-Type": f"application/json; key={words}", "X-Echo": words, "ETag": words}
        for name, value in (fields | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
