"""How gathering, files and the summary grow with the number of chunk records and of ranks.

`python -m benchmarks.growth [--most 10000000]`. Records are synthetic: 64 chunks a request, 10 ms
apart. Each measurement has processes of its own, so that peaks of memory are its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from benchmarks.rig import RigError, python_env
from benchmarks.tables import save
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.sections.run import Run
from mls.core.record import REQUESTS
from mls.core.run_folder import discard_parts
from mls.core.units import NS_PER_MS
from mls.load.mpi.gather import gather
from mls.load.records import records
from mls.load.transport.exchange import Exchange
from mls.load.transport.spool import ExchangeSpool
from mls.protocol.request import RequestBuilder, Target

CHUNKS = 64
RANKS = (1, 2, 4, 8)
_GAP_NS, _TTFT_NS = 10 * NS_PER_MS, 50 * NS_PER_MS
_PIECE = 782  # requests in one table: 50,000 chunks, as `records` makes them
_DATA = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" token"}}],'
    b'"created":1700000000,"id":"chatcmpl-0123456789abcdefghijklmnopqrstuv","model":"smollm2",'
    b'"system_fingerprint":"b7000-0123456789","object":"chat.completion.chunk"}\n\n'
)
_EVENT = b"%x\r\n%b\r\n" % (len(_DATA), _DATA)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def tables(requests: int, rank: int, ranks: int) -> Iterator[pa.Table]:
    """One rank's share of so many requests: every `ranks`-th job."""
    chance = np.random.default_rng(rank)
    jobs = np.arange(rank, requests, ranks)
    for first in range(0, max(1, len(jobs)), _PIECE):
        yield _table(jobs[first : first + _PIECE], rank, chance)


def _table(jobs: np.ndarray, rank: int, chance: np.random.Generator) -> pa.Table:
    count = len(jobs)
    start = jobs * (NS_PER_MS // 10) + chance.integers(0, NS_PER_MS, count)
    gaps = _GAP_NS + chance.normal(0, NS_PER_MS / 10, (count, CHUNKS)).astype(np.int64)
    gaps[:, 0] = _TTFT_NS
    chunk_ns = start[:, None] + np.cumsum(gaps, axis=1)
    lag = chance.exponential(NS_PER_MS / 20, count * CHUNKS).astype(np.int64)
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * CHUNKS)
    digest = [chance.bytes(32).hex() for _ in range(count)]

    def lists(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))

    data: dict[str, Any] = {
        "request_id": [f"0123456789ab-{job}" for job in jobs],
        "job": jobs,
        "rank": np.full(count, rank, np.int32),
        "scheduled_ns": start - NS_PER_MS // 50,
        "start_ns": start,
        "first_chunk_ns": chunk_ns[:, 0],
        "last_chunk_ns": chunk_ns[:, -1],
        "end_ns": chunk_ns[:, -1],
        "chunk_ns": lists(chunk_ns),
        "chunk_lag_ns": lists(lag),
        "chunk_merged": lists(np.zeros(count * CHUNKS, np.bool_)),
        "chunks": np.full(count, CHUNKS, np.int32),
        "prompt_tokens": np.full(count, 32, np.int32),
        "completion_tokens": np.full(count, CHUNKS, np.int32),
        "status": np.full(count, 200, np.int32),
        "attempts": np.ones(count, np.int32),
        "prompt_sha256": digest,
        "output_sha256": digest,
    }
    columns = {name: data.get(name, [None] * count) for name in REQUESTS.names}
    return pa.table(columns, schema=REQUESTS)


def _time(act: Callable[[], Any]) -> tuple[float, Any]:
    begin_s = time.monotonic()
    result = act()
    return time.monotonic() - begin_s, result


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def on_ranks(chunks: int, output: Path | None) -> None:
    """Every rank gathers its share; rank 0 summarizes, and prints time and memory."""
    comm = MPI.COMM_WORLD
    requests = max(1, chunks // CHUNKS)
    batches = list(tables(requests, comm.rank, comm.size))
    comm.Barrier()
    before = _peak_mib()
    gather_s, pool = _time(lambda: gather(comm, iter(batches), output))
    others = comm.gather(_peak_mib() - before, root=0)
    if pool is None or others is None:
        return
    figures = {"gather_s": gather_s, "gather_mib": others[0], "others_mib": max([0, *others[1:]])}
    facts = RunFacts(64, "kernel", [], None, None)
    figures["summary_s"], _ = _time(lambda: summarize(pool.table, facts))
    figures["summary_mib"] = _peak_mib() - before
    figures["file_mb"] = pool.file.stat().st_size / 1e6 if pool.file else float("nan")
    if output:
        discard_parts(output)
    print(json.dumps(figures))


def parsing(chunks: int) -> None:
    """Put one rank's replies into its file, parse them into records, print time and memory."""
    requests = max(1, chunks // CHUNKS)
    spool = ExchangeSpool(most_bytes=0)
    put_s = 0.0
    for job in range(requests):
        exchange = _exchange(job)
        seconds, _ = _time(lambda exchange=exchange: spool.add(exchange))
        put_s += seconds
    before_mib = _peak_mib()
    builder = RequestBuilder(
        [Target("http://127.0.0.1:1")], Run(), served_as=None, seed=1, run_id="growth"
    )
    parse_s, rows = _time(
        lambda: sum(t.num_rows for t in records(spool, builder, rank=0, keep_output=False))
    )
    assert rows == requests
    figures = {"put_away_us": 1e6 * put_s / chunks, "parse_us": 1e6 * parse_s / chunks}
    print(json.dumps(figures | {"before_mib": before_mib, "parse_mib": _peak_mib() - before_mib}))


def _exchange(job: int) -> Exchange:
    exchange = Exchange(job, 0, 1)
    exchange.start_ns, exchange.status = 1_000_000, 200
    for i in range(CHUNKS):
        data = bytes([*(_HEAD if i == 0 else b""), *_EVENT])  # a new object, as after a read
        exchange.reads.append((data, bytes(16), 2_000_000 + i * _GAP_NS, 10**18 + i))
    exchange.size = sum(len(data) for data, *_ in exchange.reads)
    exchange.end_ns = exchange.reads[-1][2]
    return exchange


def _measure(ranks: int, *options: str) -> dict[str, float]:
    """The figures that the processes of one measurement print."""
    command = [sys.executable, "-m", "mpi4py", "-m", "benchmarks.growth", *options]
    if ranks > 1:
        mpirun = shutil.which("mpirun") or str(Path(sys.executable).with_name("mpirun"))
        command = [mpirun, "-n", str(ranks), *command]
    process = subprocess.run(command, env=os.environ | python_env(), capture_output=True, text=True)
    if process.returncode:
        raise RigError(f"{' '.join(options)} on {ranks} ranks failed: {process.stderr[-400:]}")
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def main(most: int) -> None:
    """Print the tables; write `growth.csv` and `growth-parsing.csv`."""
    sizes = [n for n in (10**4, 10**5, 10**6, 10**7) if n <= most]
    plan = [(1, n, True) for n in sizes]
    plan += [(r, min(most, 10**6), files) for r in RANKS for files in (True, False)]
    rows: list[dict[str, object]] = []
    for ranks, chunks, files in dict.fromkeys(plan):
        with tempfile.TemporaryDirectory() as folder:
            options = ["--output", folder] if files else []
            figures = _measure(ranks, "--gather", str(chunks), *options)
        rows.append({"ranks": ranks, "chunks": chunks, "by": "files" if files else "messages"})
        rows[-1] |= figures
    print(save(rows, "growth").to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    rows = [{"chunks": n} | _measure(1, "--parse", str(n)) for n in sizes if n <= 10**6]
    print(save(rows, "growth-parsing").to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10**7)
    parser.add_argument("--gather", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--parse", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gather:
        on_ranks(options.gather, options.output)
    elif options.parse:
        parsing(options.parse)
    else:
        main(options.most)
