"""Errors of a client that is held up: the generator is stopped for 20 ms at random moments.

`python -m benchmarks.stopped`: SIGSTOP, 20 ms, SIGCONT, over and over while load is running. By
kernel times every chunk that is not marked as merged must be as right as without the stops; by
user-space times, which most clients report, it is tens of milliseconds off.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import threading
import time

from benchmarks import tables
from benchmarks.pairing import Errors, pair, percentiles
from benchmarks.records import read_generator
from benchmarks.rig import (
    Answer,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    run_client,
)
from benchmarks.runs import WORK

STOP_S = 0.02
BY = ["stops", "times"]


class Stopper(threading.Thread):
    """Stops a process for 20 ms about every 200 ms, at random moments."""

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True)
        self.stops = 0
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._pid = 0

    def take(self, pid: int) -> None:
        self._pid = pid
        self.start()

    def run(self) -> None:
        while not self._end.wait(self._random.uniform(0.05, 0.35)):
            try:
                os.kill(self._pid, signal.SIGSTOP)
                time.sleep(STOP_S)
                os.kill(self._pid, signal.SIGCONT)
            except ProcessLookupError:
                return
            self.stops += 1

    def finish(self) -> None:
        self._end.set()
        if self.is_alive():
            self.join()


def measure(inflight: int, seconds: float, with_stops: bool, seed: int) -> list[dict[str, object]]:
    """Two rows, by kernel and by user-space times, of one run."""
    folder = WORK / "stopped"
    shutil.rmtree(folder, ignore_errors=True)
    answer = Answer()
    with ground_truth(answer, folder / "truth", 2 * answer.capacity(inflight, seconds)) as server:
        command = generator_command(
            server.url, folder, inflight=inflight, duration=seconds, max_tokens=64, warmup=inflight
        )
        stopper = Stopper(seed)
        run_client(
            command,
            env=python_env(),
            on_start=stopper.take if with_stops else None,
            limit_s=seconds + 120,
        )
        stopper.finish()
        truth = server.stop()
    records = read_generator(folder / "requests.parquet")
    return [
        {
            "stops": "20 ms, random" if with_stops else "none",
            "times": "user-space" if user_space else "kernel",
            "inflight": inflight,
            "stops_done": stopper.stops,
            **_figures(pair(truth, records, user_space=user_space)),
        }
        for user_space in (False, True)
    ]


def _figures(errors: Errors) -> dict[str, object]:
    figures: dict[str, object] = {
        "chunks": errors.chunks,
        "merged_share": errors.merged / max(1, errors.chunks),
        "unsure_share": errors.unsure / max(1, errors.chunks),
    }
    for kind in ("ttft", "gap"):
        values = getattr(errors, f"{kind}_ms")
        figures |= {f"{kind}_{name}_ms": v for name, v in percentiles(values).items()}
        figures[f"{kind}_max_ms"] = float(abs(values).max()) if len(values) else float("nan")
    return figures


def main(inflight: int, repeats: int, seconds: float) -> None:
    """Print the table; write `stopped.csv` and a plot."""
    check_machine()
    rows = [
        {"repeat": repeat, **row}
        for repeat in range(repeats)
        for with_stops in (False, True)
        for row in measure(inflight, seconds, with_stops, seed=repeat)
    ]
    frame = tables.save(rows, "stopped")
    values = {
        "stops_done": "stops",
        "ttft_p50_ms": "TTFT p50 ms",
        "ttft_p99_ms": "p99",
        "gap_p50_ms": "gap p50 ms",
        "gap_p99_ms": "p99",
        "gap_max_ms": "max",
        "merged_share": "merged",
        "unsure_share": "unsure",
    }
    summary = tables.summarise(frame, BY, list(values))
    tables.show(f"The generator stopped for 20 ms, {inflight} in flight", summary, BY, values)
    summary["line"] = "stops: " + summary["stops"] + "; " + summary["times"] + " times"
    drawing = tables.plot_bars(
        summary, "line", "gap_p99_ms", "Gap error of a client that is held up", "p99, ms", log=True
    )
    tables.save_plot(drawing, "stopped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inflight", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    main(options.inflight, options.repeats, options.seconds)
