"""How many streamed tokens a second one, four and eight worker ranks take in.

`python -m benchmarks.many_ranks`, on a machine with cores enough: ground-truth servers on cores of
their own share one port and answer at once; the ranks have all other cores. Rank 0 schedules.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from contextlib import ExitStack

from benchmarks import tables
from benchmarks.rig import (
    Answer,
    RigError,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    run_client,
)
from benchmarks.runs import WORK

WORKERS = (1, 4, 8)
_INFLIGHT_OF_A_WORKER = 16
_UNPACED = Answer(ttft_ms=0, itl_ms=0, tokens=256)


def measure(workers: int, servers: int, seconds: float) -> dict[str, object]:
    """One run: tokens/s from first start to last end, and the busiest rank's share of its core."""
    folder = WORK / "many_ranks"
    shutil.rmtree(folder, ignore_errors=True)
    inflight = workers * _INFLIGHT_OF_A_WORKER
    with ExitStack() as running:
        port = 0
        for core in range(servers):  # they keep no records: nothing is paired here
            each = ground_truth(_UNPACED, folder / str(core), 1, core, port)
            port = running.enter_context(each).port
        command = generator_command(
            f"http://127.0.0.1:{port}",
            folder,
            workers + 1,
            inflight=inflight,
            duration=seconds,
            max_tokens=_UNPACED.tokens,
            warmup=inflight,
            scheduler="apart",
        )
        cores = tuple(sorted(os.sched_getaffinity(0) - set(range(servers))))
        run_client(command, cores, python_env(), limit_s=seconds + 280)
    summary = json.loads((folder / "run.json").read_text())["summary"]
    return {
        "workers": workers,
        "servers": servers,
        "tokens_per_s": summary["overall"]["completion_tokens_per_s"],
        "requests_per_s": summary["overall"]["requests_per_s"],
        "errors": summary["requests"]["error"],
        "busiest_rank": summary["client"]["busiest_rank_cpu_fraction"],
    }


def main(workers: tuple[int, ...], servers: int, repeats: int, seconds: float) -> None:
    """Print the table; write `many_ranks.csv`. Raises `RigError` when there are too few cores."""
    check_machine()
    cores = len(os.sched_getaffinity(0))
    if servers + max(workers) + 1 > cores:
        raise RigError(
            f"{servers} servers, {max(workers)} workers and the scheduling rank need as many "
            f"cores, and there are {cores}: lower --servers or --workers."
        )
    rows = [
        {"repeat": repeat, **measure(count, servers, seconds)}
        for repeat in range(repeats)
        for count in workers
    ]
    values = {
        "tokens_per_s": "tokens/s",
        "requests_per_s": "requests/s",
        "busiest_rank": "busiest rank, of a core",
        "errors": "errors",
    }
    summary = tables.summarise(tables.save(rows, "many_ranks"), ["workers"], list(values))
    title = f"Unpaced streams of {_UNPACED.tokens} tokens from {servers} servers on a core each"
    tables.show(title, summary, ["workers"], values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--servers", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    try:
        main(tuple(options.workers), options.servers, options.repeats, options.seconds)
    except RigError as error:
        raise SystemExit(f"benchmarks.many_ranks: {error}") from None
