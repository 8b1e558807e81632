"""The peers' reports against the truth: same server, same load, same core.

`python -m benchmarks.peers`: AIPerf, guidellm and genai-bench in environments of their own
(made on the first run: some GB, minutes), and this project's generator between them. The server
answers with its first token after 50 ms and then one each 10 ms; what a client reports beyond
that is its own delay.
"""

from __future__ import annotations

import argparse
import shutil

import numpy as np
import pyarrow.parquet as pq

from benchmarks import tables
from benchmarks.pairing import Steady, achieved_inflight, steady
from benchmarks.peer_tools import PEERS, ClientReport, Load, install
from benchmarks.records import Truth
from benchmarks.rig import (
    CLIENT_CORE,
    Answer,
    ClientRun,
    RigError,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    run_client,
)
from benchmarks.runs import WORK
from benchmarks.tokenizer import make

INFLIGHT = (32, 128, 256)
MLS = "mls epoll"
_SKIP = 0.25  # share of the run to leave out: peers take long to fill all places


def run_any(
    name: str, load: Load, cores: tuple[int, ...], limit_s: float
) -> tuple[ClientRun, ClientReport]:
    """Run a peer, or the generator, to its end, and read its report."""
    if name != MLS:
        client_run = run_client(PEERS[name].command(load), cores, limit_s=limit_s)
        return client_run, PEERS[name].read(load)
    command = generator_command(
        load.url,
        load.folder,
        inflight=load.inflight,
        duration=load.seconds,
        max_tokens=load.tokens,
        model=load.model,
    )
    client_run = run_client(command, cores, python_env(), limit_s=limit_s)
    table = pq.read_table(load.folder / "requests.parquet").to_pandas()
    table = table[table["error"].isna()]
    ttft = (table["first_chunk_ns"] - table["start_ns"]) / 1e6
    itl = (
        (table["last_chunk_ns"] - table["first_chunk_ns"]) / 1e6 / (table["completion_tokens"] - 1)
    )
    return client_run, ClientReport(ttft.to_numpy(dtype=float), itl.to_numpy(dtype=float))


def measure(name: str, inflight: int, seconds: float) -> dict[str, object]:
    """One run of one client: its report, the truth, its cost."""
    answer = Answer()
    folder = WORK / "peer"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    requests = max(2 * inflight, int(inflight * seconds / answer.service_s))
    with ground_truth(answer, folder / "truth", 4 * answer.capacity(inflight, seconds)) as server:
        load = Load(
            url=server.url,
            model="truth",
            inflight=inflight,
            seconds=seconds,
            requests=requests,
            prompt_tokens=48,
            tokens=answer.tokens,
            tokenizer=make(WORK / "tokenizer"),
            folder=folder,
        )
        client_run, report = run_any(name, load, (CLIENT_CORE,), limit_s=240)
        truth = server.stop()
    part = steady(truth, skip=_SKIP)
    return {
        "client": name,
        "inflight": inflight,
        **_distribution("ttft", report.ttft_ms),
        **_distribution("itl", report.itl_ms),
        **_true_figures(truth, part),
        "achieved": achieved_inflight(truth, part),
        "cpu_us_per_token": 1e6
        * client_run.cpu_between(part.begin_ns, part.end_ns)
        / max(1, part.chunks),
        "requests": len(report.ttft_ms),
    }


def _true_figures(truth: Truth, part: Steady) -> dict[str, float]:
    inside = (truth.arrival_ns > part.begin_ns) & (truth.arrival_ns <= part.end_ns)
    ttft = (truth.first_ns - truth.arrival_ns)[inside] / 1e6
    itl = (truth.last_ns - truth.first_ns)[inside] / 1e6 / (len(truth.chunk_ns[0]) - 1)
    return {**_distribution("true_ttft", ttft), **_distribution("true_itl", itl)}


def _distribution(name: str, values: np.ndarray) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {f"{name}_p50_ms": float(p50), f"{name}_p99_ms": float(p99)}


def main(inflight: tuple[int, ...], peers: tuple[str, ...], repeats: int, seconds: float) -> None:
    """Print the table; write `peers.csv` and a plot."""
    check_machine()
    for name in peers:
        install(name)
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for places in inflight:
            for name in (MLS, *peers):
                try:
                    rows.append({"repeat": repeat, **measure(name, places, seconds)})
                except (RigError, ValueError) as error:  # a peer that fails is a result too
                    print(f"{name} at {places}: {error}", flush=True)
                    rows.append({"repeat": repeat, "client": name, "inflight": places})
            tables.save(rows, "peers")
    frame = tables.save(rows, "peers")
    values = {
        "ttft_p50_ms": "TTFT p50 reported, ms",
        "true_ttft_p50_ms": "true",
        "ttft_p99_ms": "p99 reported",
        "true_ttft_p99_ms": "true",
        "itl_p99_ms": "ITL p99 reported",
        "true_itl_p99_ms": "true",
        "achieved": "achieved inflight",
        "cpu_us_per_token": "CPU µs a token",
    }
    summary = tables.summarise(frame, ["client", "inflight"], list(values))
    summary = summary.sort_values("inflight", kind="stable")
    tables.show("What clients report, one core", summary, ["client", "inflight"], values)
    drawing = tables.plot_lines(
        summary,
        "inflight",
        "ttft_p99_ms",
        "client",
        ("requests in flight", "p99 of TTFT as reported, ms"),
        "The server's first token always comes after 50 ms",
    )
    tables.save_plot(drawing, "peers")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inflight", type=int, nargs="+", default=INFLIGHT)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=tuple(PEERS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    main(tuple(options.inflight), tuple(options.peers), options.repeats, options.seconds)
