"""A server with vLLM's counters. `python -m tests.servers.counting --port PORT`.

It notes the salts of the requests that it answers, and may die in the midst of them.
"""

import argparse
import json
import os
from pathlib import Path

from tests.servers.honest import Handler, HonestServer

PROMPT_TOKENS = 7
RESET = "/reset_prefix_cache"


class Counting(Handler):
    """dies: a file; while it is there, so is the number of requests in it that are answered."""

    answers = 0
    tokens = 0
    resets = 0
    dies = Path("dies")
    salts = Path("salts")
    can_reset = False

    def do_GET(self) -> None:  # noqa: N802  the library's name
        if self.path not in ("/metrics", "/v1/models"):
            super().do_GET()
            return
        samples = {
            "prompt_tokens_total": PROMPT_TOKENS * self.answers,
            "generation_tokens_total": self.tokens,
            "resets_total": self.resets,
        }
        models = {"data": [{"id": "counting", "owned_by": "vllm"}]}
        text = "".join(f"# TYPE vllm:{n} counter\nvllm:{n} {v}\n" for n, v in samples.items())
        self.answer(text if self.path == "/metrics" else json.dumps(models))

    def do_POST(self) -> None:  # noqa: N802  the library's name
        if self.path.startswith("/v1/"):
            super().do_POST()
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == RESET and self.can_reset:
            Counting.resets += 1
            self.answer("")
            return
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def refuses(self, body: dict) -> bool:
        with self.server.lock:
            if self.dies.exists() and self.answers >= int(self.dies.read_text()):
                os._exit(3)
            Counting.answers += 1
            Counting.tokens += body["max_tokens"]
            with self.salts.open("a") as salts:
                salts.write(f"{body.get('cache_salt')}\n")
        return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--can-reset", action="store_true")
    options = parser.parse_args()
    Counting.can_reset = options.can_reset
    HonestServer(options.port, Counting).serve_forever()


if __name__ == "__main__":
    main()
