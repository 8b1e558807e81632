"""A server whose child serves, in a session of its own, beside an orphan that nobody waits for.

`python -m tests.servers.two_processes --port PORT` starts both and stays until a signal, which it
passes on to neither.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from tests.servers.honest import Handler, HonestServer

SERVE = "serve"
UNKNOWN = "cache_prompt"


class Strict(Handler):
    """Not ready before `ready_at`. Refuses an unknown field, and (but for `/health`) a wrong key."""

    ready_at = 0.0
    key = os.environ.get("MLS_API_KEY")

    def do_GET(self) -> None:  # noqa: N802  the library's name
        if time.monotonic() < self.ready_at:
            self.refuse(503, "loading")
        elif self.path == "/health" or self.has_key():
            super().do_GET()
        else:
            self.refuse(401, "a key is needed")

    def refuses(self, body: dict) -> bool:
        if not self.has_key():
            self.refuse(401, "a key is needed")
        elif UNKNOWN in body:
            self.refuse(400, f"unknown field {UNKNOWN}")
        else:
            return False
        return True

    def has_key(self) -> bool:
        return self.key is None or self.headers["Authorization"] == f"Bearer {self.key}"

    def refuse(self, status: int, message: str) -> None:
        text = json.dumps({"error": {"message": message}}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--loading-s", type=float, default=0)
    parser.add_argument("--seqs", type=int, default=0)
    parser.add_argument("role", nargs="?")
    options = parser.parse_args()
    if options.role == SERVE:
        Strict.ready_at = time.monotonic() + options.loading_s
        HonestServer(options.port, Strict).serve_forever()
    orphan = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", orphan], check=True)
    own_words = [sys.executable, "-m", "tests.servers.two_processes", *sys.argv[1:], SERVE]
    sys.exit(subprocess.Popen(own_words, start_new_session=True).wait())


if __name__ == "__main__":
    main()
