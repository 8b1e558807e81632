"""One run of one client against the ground-truth server, measured: errors, inflight, CPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pairing import achieved_inflight, pair, percentiles, restrict, steady
from benchmarks.records import Seen, read_generator, read_reference
from benchmarks.rig import (
    RESULTS,
    Answer,
    ClientRun,
    generator_command,
    ground_truth,
    python_env,
    reference_command,
    run_client,
)

WORK = RESULTS / ".build"


@dataclass(frozen=True)
class Client:
    """A client whose own records can be paired with the server's."""

    name: str
    run: Callable[
        [int, Path, int, float, int], tuple[ClientRun, Seen]
    ]  # port, folder, inflight, s, tokens
    has_kernel_times: bool


def _generator(transport: str) -> Callable[[int, Path, int, float, int], tuple[ClientRun, Seen]]:
    def run(
        port: int, folder: Path, inflight: int, seconds: float, tokens: int
    ) -> tuple[ClientRun, Seen]:
        command = generator_command(
            f"http://127.0.0.1:{port}",
            folder,
            inflight=inflight,
            duration=seconds,
            max_tokens=tokens,
            warmup=inflight,
            transport=transport,
        )
        client_run = run_client(command, env=python_env(), limit_s=seconds + 120)
        return client_run, read_generator(folder / "requests.parquet")

    return run


def _reference(
    port: int, folder: Path, inflight: int, seconds: float, tokens: int
) -> tuple[ClientRun, Seen]:
    records = folder / "seen.bin"
    command = reference_command(
        port, records, inflight=inflight, duration_s=seconds, max_tokens=tokens
    )
    client_run = run_client(command, limit_s=seconds + 60)
    return client_run, read_reference(records)


GENERATOR = Client("mls epoll", _generator("epoll"), True)
REQUESTS = Client("mls requests", _generator("requests"), False)
REFERENCE = Client("C++ reference", _reference, True)


def measure(
    client: Client, answer: Answer, inflight: int, seconds: float
) -> list[dict[str, object]]:
    """One row by kernel times where the client has them, and one by user-space times.

    Both come from the same run: the user-space time of each chunk is in the records too.
    """
    folder = WORK / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    capacity = 2 * answer.capacity(inflight, seconds)
    with ground_truth(answer, folder, capacity) as server:
        client_run, records = client.run(server.port, folder, inflight, seconds, answer.tokens)
        truth = server.stop()
    rows_of_truth = restrict(truth, records.ids)
    part = steady(truth, rows_of_truth)
    cpu_s = client_run.cpu_between(part.begin_ns, part.end_ns)
    lateness = percentiles((truth.before_ns - truth.planned_ns) / 1e6)
    rows: list[dict[str, object]] = []
    for user_space in (False, True) if client.has_kernel_times else (True,):
        errors = pair(truth, records, user_space=user_space)
        row: dict[str, object] = {
            "client": client.name,
            "times": "user-space" if user_space else "kernel",
            "inflight": inflight,
            "itl_ms": answer.itl_ms,
            "requests": errors.requests,
            "chunks": errors.chunks,
            "tokens_per_s": part.chunks * answer.tokens_per_chunk / part.seconds,
            "achieved": achieved_inflight(truth, part, rows_of_truth),
            "achieved_share": achieved_inflight(truth, part, rows_of_truth) / inflight,
            "merged_share": errors.merged / max(1, errors.chunks),
            "unsure_share": errors.unsure / max(1, errors.chunks),
            "miscounted": errors.miscounted,
            "cpu_ms_per_request": 1e3 * cpu_s / max(1, part.requests),
            "cpu_us_per_token": 1e6 * cpu_s / max(1, part.chunks * answer.tokens_per_chunk),
            "client_core_share": cpu_s / part.seconds,
            "cpu_whole_s": client_run.whole_cpu_s,
            "server_late_p99_ms": lateness["p99"],
            "server_dropped": truth.dropped,
            "clock_step_us": truth.clock_step_ns / 1e3,
        }
        for kind in ("ttft", "gap", "latency"):
            for name, value in percentiles(getattr(errors, f"{kind}_ms")).items():
                row[f"{kind}_{name}_ms"] = value
        rows.append(row)
    return rows
