"""A server whose child serves, in a session of its own, beside an orphan that nobody waits for.

`python -m tests.servers.two_processes --port PORT` starts both and stays until a signal, which it
passes on to neither.
"""

import argparse
import os
import subprocess
import sys
import time

from tests.servers.honest import Handler, HonestServer

SERVE = "serve"


class Guarded(Handler):
    """Not ready before `ready_at`; the key, if there is one, guards all but `/health`."""

    ready_at = 0.0
    key = os.environ.get("MLS_API_KEY")

    def do_GET(self) -> None:  # noqa: N802  the library's name
        if time.monotonic() < self.ready_at:
            self.refuse(503, "loading")
        elif self.path == "/health" or self.is_welcome():
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802
        if self.is_welcome():
            super().do_POST()

    def is_welcome(self) -> bool:
        if self.key and self.headers["Authorization"] != f"Bearer {self.key}":
            self.refuse(401, "a key is needed")
            return False
        return True

    def refuse(self, status: int, message: str) -> None:
        text = f'{{"error": {{"message": "{message}"}}}}'.encode()
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
        Guarded.ready_at = time.monotonic() + options.loading_s
        HonestServer(options.port, Guarded).serve_forever()
    orphan = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", orphan], check=True)
    own_words = [sys.executable, "-m", "tests.servers.two_processes", *sys.argv[1:], SERVE]
    sys.exit(subprocess.Popen(own_words, start_new_session=True).wait())


if __name__ == "__main__":
    main()
