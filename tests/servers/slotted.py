"""A server with slots, which requests take in turn, and which may generate on for clients that hung up."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time

from tests.servers.honest import Handler, HonestServer

PROMPT_TOKENS = 7


class Slotted(HonestServer):
    """A context manager around the running server.

    goes_on: whether a reply is generated to its end, and its slot kept, after its client hung up.
    counts: `steps` adds each token to the counter as vLLM does, `replies` adds those of whole
    replies as llama.cpp does.
    """

    def __init__(self, slots: int = 1, goes_on: bool = False, counts: str = "steps") -> None:
        super().__init__(handler=_Slot)
        self.slots = slots
        self.goes_on = goes_on
        self.counts = counts
        self.free = threading.Semaphore(slots)
        self.idle = threading.Condition()
        self.at_work = 0
        self.tokens = 0
        self.prompts = 0

    def metrics(self) -> dict[str, float]:
        """Its counters when it has no request any more."""
        with self.idle:
            self.idle.wait_for(lambda: not self.at_work)
            return {
                "vllm:generation_tokens_total": float(self.tokens),
                "vllm:prompt_tokens_total": float(self.prompts),
            }


class _Slot(Handler):
    server: Slotted
    token_s = 0.004
    prompt_s = 0.008

    def do_POST(self) -> None:  # noqa: N802  the library's name
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.idle:
            self.server.at_work += 1
        try:
            with self.server.free, contextlib.suppress(OSError):
                self._reply(body)
        finally:
            with self.server.idle:
                self.server.at_work -= 1
                self.server.idle.notify_all()

    def _reply(self, body: dict) -> None:
        time.sleep(self.prompt_s)
        self._count(prompts=PROMPT_TOKENS)
        deltas, reason = self.says(body)
        by_step = self.server.counts == "steps"
        for number, delta in enumerate(deltas):
            if self._left() and not self.server.goes_on:
                return
            time.sleep(self.token_s)
            self._count(tokens=int(by_step))
            with contextlib.suppress(OSError):
                if body["stream"] and not number:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                if body["stream"]:
                    self.event({"choices": [{"delta": delta}]})
        self._count(tokens=0 if by_step else len(deltas))
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(deltas)}
        if body["stream"]:
            self.event({"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage})
            self.wfile.write(b"0\r\n\r\n")
            return
        message = {"content": "".join(delta["content"] for delta in deltas)}
        reply = json.dumps(
            {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply.encode())

    def _count(self, tokens: int = 0, prompts: int = 0) -> None:
        with self.server.lock:
            self.server.tokens += tokens
            self.server.prompts += prompts

    def _left(self) -> bool:
        """Whether the client hung up: there is something to read, and it is the end."""
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True
