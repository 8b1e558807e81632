"""A long run: whether each rank's memory stays flat, and requests leave as punctually at its end.

`python -m benchmarks.soak [--minutes 60]`. Two ranks hold 64 requests in flight at the
ground-truth server. While load is running each rank's memory (RSS) is read every five seconds;
lateness and the error of TTFT come from the run's own records, minute by minute.
"""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq

from benchmarks.rig import Answer, check_machine, generator_command, ground_truth, run_client
from benchmarks.rig import python_env as env
from benchmarks.runs import WORK
from benchmarks.tables import save
from mls.core.units import NS_PER_MS, NS_PER_S

ANSWER = Answer(ttft_ms=50, itl_ms=50, tokens=64)
RANKS, INFLIGHT = 2, 64
_EVERY_S = 5
_ANALYSIS_S = 1800  # a busy machine takes its time over millions of tokens
_SETTLE_S = 600  # by then as many replies are in memory as the limit allows
_BLOCKS = 12


@dataclass(frozen=True)
class Trend:
    """A straight line through values over time: change an hour, and its standard error."""

    start: float
    per_hour: float
    error: float

    @property
    def flat(self) -> bool:
        """Within twice its standard error of no change at all."""
        return abs(self.per_hour) <= 2 * self.error

    def __str__(self) -> str:
        return f"{self.start:.3f} {self.per_hour:+.3f} ± {2 * self.error:.3f} an hour"


def trend(at_s: np.ndarray, values: np.ndarray) -> Trend:
    """Least squares over the means of 12 blocks of time, since neighbours are not independent."""
    edges = np.linspace(at_s[0], at_s[-1], _BLOCKS + 1)
    block = np.clip(np.searchsorted(edges, at_s, side="right") - 1, 0, _BLOCKS - 1)
    means = pd.DataFrame({"h": at_s / 3600, "v": values}).groupby(block).mean()
    (slope, start), covariance = np.polyfit(means["h"], means["v"], 1, cov=True)
    return Trend(float(start), float(slope), float(np.sqrt(covariance[0, 0])))


class Memory(threading.Thread):
    """Reads the RSS of each rank below a process, by the rank's number as the launcher gave it."""

    def __init__(self, launcher: int) -> None:
        super().__init__(daemon=True)
        self._launcher = psutil.Process(launcher)
        self.end = threading.Event()
        self.rows: list[dict[str, object]] = []

    def run(self) -> None:
        while not self.end.wait(_EVERY_S):
            now = time.monotonic_ns()
            for process in self._launcher.children(recursive=True):
                try:
                    variables = process.environ()
                    rank = variables.get("PMI_RANK") or variables.get("OMPI_COMM_WORLD_RANK")
                    if rank is not None and "mls.worker" in process.cmdline():
                        rss_mib = process.memory_info().rss / 2**20
                        self.rows.append({"at_ns": now, "rank": int(rank), "rss_mib": rss_mib})
                except psutil.NoSuchProcess:
                    continue


def soak(minutes: float, folder: Path) -> pd.DataFrame:
    """Run the load; returns the samples of memory (columns `at_ns`, `rank`, `rss_mib`)."""
    watchers: list[Memory] = []

    def watch(pid: int) -> None:
        watchers.append(Memory(pid))
        watchers[-1].start()

    shutil.rmtree(folder, ignore_errors=True)
    with ground_truth(ANSWER, folder / "truth", capacity=1) as server:
        command = generator_command(
            server.url,
            folder,
            RANKS,
            inflight=INFLIGHT,
            duration=60 * minutes,
            max_tokens=ANSWER.tokens,
            warmup=INFLIGHT,
            scheduler="apart",
        )
        try:
            run_client(command, (), env(), limit_s=60 * minutes + _ANALYSIS_S, on_start=watch)
        finally:
            watchers[0].end.set()
            watchers[0].join()
            samples = save(watchers[0].rows, "soak-memory")
    return samples


def main(minutes: float) -> None:
    """Print the trends; write `soak-memory.csv` and `soak.csv`."""
    check_machine()
    folder = WORK / "soak"
    memory = soak(minutes, folder)
    summary = json.loads((folder / "run.json").read_text())["summary"]
    columns = ["scheduled_ns", "start_ns", "first_chunk_ns", "chunks"]
    requests = pq.read_table(folder / "requests.parquet", columns=columns).to_pandas()
    begin = requests["start_ns"].min() + _SETTLE_S * NS_PER_S
    end = requests["start_ns"].max()
    rows: list[dict[str, object]] = []

    def row(what: str, unit: str, line: Trend) -> None:
        rows.append({"what": what, "unit": unit, **vars(line), "flat": line.flat})
        print(f"{what}, {unit}: {line}{'' if line.flat else '  NOT FLAT'}", flush=True)

    samples = memory[memory["at_ns"].between(begin, end)]
    for rank, of_rank in samples.groupby("rank"):
        at_s = (of_rank["at_ns"] - begin).to_numpy() / NS_PER_S
        row(f"memory of rank {rank}", "MiB", trend(at_s, of_rank["rss_mib"].to_numpy()))
    steady = requests[requests["start_ns"] > begin].sort_values("start_ns")
    times = {
        "lateness": (steady["start_ns"] - steady["scheduled_ns"]) / NS_PER_MS,
        "TTFT error": (steady["first_chunk_ns"] - steady["start_ns"]) / NS_PER_MS - ANSWER.ttft_ms,
    }
    minute = (steady["start_ns"] - begin) // (60 * NS_PER_S)
    for name, values in times.items():
        for share in (0.5, 0.99):
            by_minute = values.groupby(minute).quantile(share)
            at_s = 60.0 * by_minute.index.to_numpy()
            row(f"{name} p{100 * share:.0f} of a minute", "ms", trend(at_s, by_minute.to_numpy()))
    save(rows, "soak")
    peak = memory.groupby("rank")["rss_mib"].max()
    tokens = requests["chunks"].sum()
    print(
        f"{minutes:g} minutes, {INFLIGHT} in flight: {len(requests)} requests, {tokens} tokens, "
        f"{summary['requests']['error']} errors; achieved "
        f"{summary['inflight']['achieved_time_weighted']:.2f}; peak of each rank, its analysis "
        f"included: {', '.join(f'{mib:.0f}' for mib in peak)} MiB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    if options.minutes < 20:
        parser.error("a trend needs at least 20 minutes, of which the first ten aren't looked at")
    main(options.minutes)
