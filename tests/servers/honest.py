"""An honest little server: it streams as many tokens as a request asks for, and counts them."""

import contextlib
import json
import socket
import sys
import threading
import time
import uuid
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers.misbehaving import job_of

TOKEN_S = 0.01
WAIT_S = 30


class Turns:
    """Holds replies back until the client has `inflight` requests outstanding.

    The oldest request goes on once `inflight` requests wait, or all that remain of `requests`.
    With fewer in flight no reply begins: `wait` raises `TimeoutError` after WAIT_S.
    """

    def __init__(self, inflight: int, requests: int) -> None:
        self._inflight = inflight
        self._remainder = requests
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def wait(self) -> None:
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            while self._waiting and len(self._waiting) >= min(self._inflight, self._remainder):
                self._waiting.popleft().set()
                self._remainder -= 1
        if not turn.wait(WAIT_S):
            raise TimeoutError("there are too few requests in flight")


class HonestServer(ThreadingHTTPServer):
    """A context manager around the running server.

    replies: request id → tokens of the reply, for the requests of a run. outstanding, peak:
    requests in the server now, and the most at once so far. turns: what requests after the warm-up
    wait for; None: nothing.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, port: int = 0, handler: type["Handler"] | None = None, turns: Turns | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), handler or Handler)
        self.turns = turns
        self.lock = threading.Lock()
        self.replies: Counter[str] = Counter()
        self.outstanding = 0
        self.peak = 0
        self.connections: set[socket.socket] = set()

    def __enter__(self) -> "HonestServer":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def vanish(self) -> None:
        """Refuse new connections and close those that are open."""
        self.shutdown()
        self.server_close()
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: socket.socket, client_address: object) -> None:
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # the client or this server hung up
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers, and then the body, would wait 40 ms for each other
    server: HonestServer
    token_s = TOKEN_S

    def do_GET(self) -> None:
        pages = {"/health": {"status": "ok"}, "/v1/models": {"data": [{"id": "honest"}]}}
        body = json.dumps(pages.get(self.path, {})).encode()
        self.send_response(200 if self.path in pages else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "/completion" not in self.path:  # /tokenize and the like
            self.send_error(404)
            return
        if self.refuses(body):
            return
        with self.server.lock:
            self.server.outstanding += 1
            self.server.peak = max(self.server.peak, self.server.outstanding)
        request_id = self.headers["X-Request-Id"]
        # requests with other ids probe which fields the server takes
        from_run = uuid.UUID(request_id).version == 8
        if self.server.turns and from_run and job_of(request_id) >= 0:
            self.server.turns.wait()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        deltas, reason = self.says(body)
        for delta in deltas:
            time.sleep(self.token_s)
            self.event({"choices": [{"delta": delta}]})
        usage = {"prompt_tokens": 7, "completion_tokens": body["max_tokens"]}
        with self.server.lock:  # before the client can see the reply's end
            self.server.outstanding -= 1
            if from_run:
                self.server.replies[request_id] += body["max_tokens"]
        self.event({"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage})
        self.wfile.write(b"0\r\n\r\n")

    def says(self, body: dict) -> tuple[list[dict], str]:
        """The deltas of a reply, and its finish reason."""
        return [{"content": f"t{number} "} for number in range(body["max_tokens"])], "length"

    def refuses(self, body: dict) -> bool:
        """Whether the request is answered already, by a refusal."""
        return False

    def event(self, data: dict) -> None:
        text = f"data: {json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass
