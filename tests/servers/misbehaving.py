"""A server that misbehaves on purpose: raw sockets, one thread a connection, port 0, bounded waits.

Each request goes to a behaviour: a function of the connection and the request that may send any
bytes. Requests without a behaviour of their own get a good reply.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple
from urllib.parse import quote

WAIT_S = 20.0
TOKENS = ("Once", " upon", " a", " time")


class Request(NamedTuple):
    """One attempt at a request. attempt: its number among the attempts at this job, from 1."""

    job: int
    attempt: int
    headers: dict[str, str]
    body: bytes


class Talk:
    """The server's side of one connection."""

    def __init__(self, server: Misbehaving, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.open = True

    def head(self) -> tuple[str, dict[str, str]] | None:
        """Request line and headers (names in lower case); None when the client has hung up."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                return None
            data += byte
        line, *fields = data.decode("latin-1").split("\r\n")[:-2]
        pairs = (field.split(": ", 1) for field in fields)
        return line, {name.lower(): value for name, value in pairs}

    def body(self, headers: dict[str, str]) -> bytes:
        remainder, parts = int(headers.get("content-length", 0)), []
        while remainder:
            part = self.sock.recv(remainder)
            if not part:
                raise ConnectionResetError("the client hung up in mid-request")
            parts.append(part)
            remainder -= len(part)
        return b"".join(parts)

    def send(self, data: bytes, size: int | None = None, pause_s: float = 0) -> None:
        """Send all of it, in pieces of `size` bytes (None: in one), each followed by a pause."""
        for at in range(0, len(data), size or max(1, len(data))):
            self.sock.sendall(data[at : at + (size or len(data))])
            if pause_s and self.server.over.wait(pause_s):
                return

    def close(self) -> None:
        self.open = False
        self.sock.close()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def hold(self) -> None:
        """Do nothing more until the test is over."""
        self.server.over.wait(WAIT_S)
        self.close()


Behaviour = Callable[[Talk, Request], None]


def job_of(request_id: str) -> int:
    """The job number in the last part of a request id; negative in the warm-up."""
    number = int(request_id.rpartition("-")[2], 16)
    return number - (1 << 48) if number >> 47 else number


class Misbehaving:
    """A context manager around the running server.

    behaviours: job → behaviour; `default` is for the other jobs. hello: called first on each
    connection; a connection that it closes is over. host: an address, or the path of a Unix
    socket. read_bodies: whether a request's body is read before its behaviour is called.
    """

    def __init__(
        self,
        behaviours: dict[int, Behaviour] | None = None,
        *,
        default: Behaviour | None = None,
        hello: Callable[[Talk], None] | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        read_bodies: bool = True,
    ) -> None:
        self.behaviours = behaviours or {}
        self.default = default or good
        self.hello = hello
        self.tls = tls
        self.over = threading.Event()
        self.requests: list[Request] = []
        self.connections = 0
        self.send_ns: dict[int, list[int]] = {}
        self.problems: list[BaseException] = []
        self._read_bodies = read_bodies
        self._lock = threading.Lock()
        self._talks: list[Talk] = []
        self._threads: list[threading.Thread] = []
        inet = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._family = socket.AF_UNIX if host.startswith("/") else inet
        self._receive_buffer = receive_buffer
        self.host, self.port = host, 0
        self._listen()

    def __enter__(self) -> Misbehaving:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self.vanish()
        for thread in self._threads:
            thread.join(WAIT_S)
        assert not any(thread.is_alive() for thread in self._threads)
        if error is None:
            assert self.problems == []

    @property
    def url(self) -> str:
        if self._family == socket.AF_UNIX:
            return f"http+unix://{quote(self.host, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def jobs(self) -> list[int]:
        return [request.job for request in self.requests]

    def deafen(self) -> None:
        """Refuse new connections; those that are open stay. The port is free afterwards."""
        self._listener.close()
        self._accepting.join()  # the kernel keeps a listener while a thread waits at it

    def vanish(self) -> None:
        """Refuse new connections and close the open ones."""
        self.deafen()
        with self._lock:
            talks = list(self._talks)
        for talk in talks:
            with contextlib.suppress(OSError):
                # an SSLSocket's own shutdown would take TLS away from the thread that reads it
                socket.socket.shutdown(talk.sock, socket.SHUT_RDWR)

    def reappear(self) -> None:
        """Listen again at the same port."""
        self._listen()

    def _listen(self) -> None:
        listener = socket.socket(self._family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        unix = self._family == socket.AF_UNIX
        listener.bind(self.host if unix else (self.host, self.port))
        listener.listen(512)
        listener.settimeout(0.02)
        self.port = 0 if unix else listener.getsockname()[1]
        self._listener = listener
        self._accepting = self._start(lambda: self._accept(listener))

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while not self.over.is_set():
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed
            self.connections += 1
            talk = Talk(self, sock)
            with self._lock:
                self._talks.append(talk)
            self._start(lambda talk=talk: self._serve(talk))

    def _serve(self, talk: Talk) -> None:
        try:
            talk.sock.settimeout(WAIT_S)
            if self._family != socket.AF_UNIX:
                talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                talk.sock = self.tls.wrap_socket(talk.sock, server_side=True)
            if self.hello:
                self.hello(talk)
            while talk.open and self._answer(talk):
                pass
        except OSError:
            pass  # the client hung up, or the server vanished
        except BaseException as error:
            self.problems.append(error)
        finally:
            with contextlib.suppress(OSError):
                talk.sock.close()

    def _answer(self, talk: Talk) -> bool:
        head = talk.head()
        if head is None:
            return False
        line, headers = head
        if line.startswith("GET"):
            talk.send(reply(b"hello", content_type="text/plain"))
            return True
        if "x-request-id" not in headers:  # not a completion
            talk.body(headers)
            talk.send(reply(b"", "404 Not Found"))
            return True
        job = job_of(headers["x-request-id"])
        body = talk.body(headers) if self._read_bodies else b""
        with self._lock:
            request = Request(job, self.jobs.count(job) + 1, headers, body)
            self.requests.append(request)
        self.behaviours.get(job, self.default)(talk, request)
        return True


# --- what to send ---


def reply(
    body: bytes, status: str = "200 OK", content_type: str = "application/json", **fields: str
) -> bytes:
    """A whole reply. fields: more header fields (`retry_after="1"`), or another content-length."""
    headers = {"content_type": content_type, "content_length": str(len(body))} | fields
    return _head(status, headers) + body


def chunked(*parts: bytes, **fields: str) -> bytes:
    """A whole streamed reply, each part in an HTTP chunk of its own."""
    return stream_head(**fields) + b"".join(map(chunk, parts)) + b"0\r\n\r\n"


def stream_head(**fields: str) -> bytes:
    return _head(
        "200 OK", {"content_type": "text/event-stream", "transfer_encoding": "chunked"} | fields
    )


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def events(usage: bool = True) -> list[bytes]:
    """The events of a good streamed reply: its tokens, the reason, the usage, [DONE]."""
    parts = [_event({"choices": [{"delta": {"content": token}}]}) for token in TOKENS]
    parts.append(_event({"choices": [{"delta": {}, "finish_reason": "length"}]}))
    if usage:
        counts = {"prompt_tokens": 7, "completion_tokens": len(TOKENS)}
        parts.append(_event({"choices": [], "usage": counts}))
    return [*parts, b"data: [DONE]\n\n"]


def _event(chunk_of_json: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(chunk_of_json).encode() + b"\n\n"


def _head(status: str, fields: dict[str, str]) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def good(talk: Talk, request: Request) -> None:
    """The honest reply, each event in a `send` of its own; their moments go to `send_ns`."""
    talk.send(stream_head())
    moments = talk.server.send_ns.setdefault(request.job, [])
    for event in events():
        moments.append(time.monotonic_ns())
        talk.send(chunk(event))
    talk.send(b"0\r\n\r\n")
