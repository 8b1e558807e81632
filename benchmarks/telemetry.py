"""Cost of the sampler: its share of one core beside a server and some ranks.

`python -m benchmarks.telemetry [--seconds S] [--ranks R]`: the real sampler samples this host,
a stand-in for the server that answers `/metrics`, and R idle processes.
"""

from __future__ import annotations

import argparse
import http.server
import os
import subprocess
import sys
import threading
import time

import psutil

from mls.config.sections.server import Server
from mls.server.telemetry.samples import sampling

METRICS = "".join(f"llamacpp:figure_{i} {i}\n" for i in range(15)).encode()
SETTLE_S = 3


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(METRICS)))
        self.end_headers()
        self.wfile.write(METRICS)

    def log_message(self, *_: object) -> None:
        pass


def cost(seconds: float, ranks: int) -> float:
    """The sampler's share of one core over `seconds`, beside `ranks` idle processes."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        idle = [subprocess.Popen(["sleep", str(seconds + 60)]) for _ in range(ranks)]
        before = {child.pid for child in psutil.Process().children()}
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            with sampling() as beside:
                beside.begin(Server(), [url], [os.getpid()])
                (sampler,) = (c for c in psutil.Process().children() if c.pid not in before)
                time.sleep(SETTLE_S)
                begin, cpu_s = time.monotonic(), sum(sampler.cpu_times()[:2])
                time.sleep(seconds)
                cpu_s = sum(sampler.cpu_times()[:2]) - cpu_s
                return cpu_s / (time.monotonic() - begin)
        finally:
            for process in idle:
                process.kill()
                process.wait()
            server.shutdown()


def main() -> int:
    """Print the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ranks", type=int, default=9)
    options = parser.parse_args()
    share = cost(options.seconds, options.ranks)
    print(
        f"The sampler used {share:.2%} of one core ({len(psutil.pids())} processes on this host)."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
