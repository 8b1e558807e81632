"""Which faults the checks detect: faults of 0, 1, 2 and 4 thresholds, planted in simulated runs.

`python -m benchmarks.power`: for each check the shares of `pass`, `warn`, `fail` and `unknown`, by
number of requests and inflight, with the scatter of runs recorded on the embedded engine
(`--results FOLDER`: of your own). A check is right when at most 5 % pass at two thresholds, and at
most 5 % warn or fail without a fault. No server, no clock: arithmetic with a stated seed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.simulated import Floats, closed_loop, open_loop, recorded, scatter, with_column
from benchmarks.tables import save
from mls.analysis.checks.cells.agreement import repeats_agree
from mls.analysis.checks.cells.ranks_alike import ranks_alike
from mls.analysis.checks.machine.quiet_host import quiet_host
from mls.analysis.checks.registry import CHECKS as REGISTERED
from mls.analysis.checks.registry import judge
from mls.analysis.parallel import on_cores
from mls.analysis.repeat.batches import batches
from mls.analysis.repeat.columns import ints
from mls.analysis.repeat.evidence import Evidence
from mls.analysis.repeat.in_flight import timeline
from mls.analysis.repeat.samples import of_requests
from mls.analysis.repeat.summary import RunFacts, summarize
from mls.config.sections.checks import Checks
from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.core.run_result import Verdict
from mls.core.summary import RankCost
from mls.core.units import NS_PER_S

SEED = 20_261_127
LEVELS, REQUESTS, INFLIGHT = (0, 1, 2, 4), (24, 96, 400), (1, 4, 16)
REPEATS, BETWEEN = 3, 0.02
"""Repeats of a cell, and the standard deviation of their levels where no fault is planted."""
STATUSES = ("pass", "warn", "fail", "unknown")
CHECKS = Checks()


@dataclass(frozen=True)
class Setting:
    """One line of the table. source: see `recorded`."""

    check: str
    level: int
    requests: int
    inflight: int
    runs: int
    source: dict[int, Floats]

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([SEED, self.requests, self.inflight, self.level])

    def latency(self, rng: np.random.Generator) -> Floats:
        return scatter(self.source, self.inflight, self.requests, rng)


def evidence(table: pa.Table, inflight: int, **fields: object) -> Evidence:
    cost = RankCost(rank=1, host="host", requests=len(table), cpu_s=0.2, cpu_fraction=0.05)
    load = fields.pop("load", Load())
    facts = RunFacts(inflight, "kernel", [cost], None, None, steady=not load.open)
    run = Run(inflight=inflight, iters=len(table), max_tokens=16, ranks=2 if inflight > 1 else 1)
    return Evidence(summarize(table, facts), table, run, CHECKS, load=load, **fields)


def _verdict(check: str, run_evidence: Evidence) -> Verdict:
    own = [one for one in REGISTERED if check in one.names]
    return next(verdict for verdict in judge(run_evidence, own) if verdict.check == check)


def _closed_verdict(setting: Setting, rng: np.random.Generator, **fault: object) -> Verdict:
    table = closed_loop(setting.latency(rng), setting.inflight, **fault)
    return _verdict(setting.check, evidence(table, setting.inflight))


def steady(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Latency rises, or falls, evenly by the fault over the run."""
    change = setting.level * CHECKS.drift * rng.choice([-1, 1])
    return _closed_verdict(setting, rng, pace=lambda progress: 1 + change * (progress - 0.5))


def warmed_up(setting: Setting, rng: np.random.Generator) -> Verdict:
    """The first quarter of the run takes longer by the fault."""
    slower = setting.level * CHECKS.warmup_effect
    return _closed_verdict(setting, rng, pace=lambda progress: 1 + slower * (progress < 0.25))


def concurrency_held(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Places stay empty for the fault's share of the time."""
    empty = setting.level * CHECKS.inflight_tolerance
    return _closed_verdict(setting, rng, idle=empty / (1 - empty))


def client_kept_up(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Each request starts late, by the fault's share of the mean latency."""
    return _closed_verdict(setting, rng, late=setting.level * CHECKS.client_lateness)


def errors(setting: Setting, rng: np.random.Generator) -> Verdict:
    """The fault's share of the run's requests fails, and at least one."""
    count = int(np.ceil(setting.level * CHECKS.error_rate * setting.requests))
    table = closed_loop(setting.latency(rng), setting.inflight)
    jobs = set(rng.choice(setting.requests, count, replace=False).tolist())
    kinds = ["http_500" if job in jobs else None for job in range(len(table))]
    return _verdict("errors", evidence(with_column(table, "error", kinds), setting.inflight))


def server_time_fits(setting: Setting, rng: np.random.Generator) -> Verdict:
    """One request took longer at the server than for the client, by the fault."""
    table = closed_loop(setting.latency(rng), setting.inflight)
    if setting.level:
        job = int(rng.integers(len(table)))
        latency_ms = (ints(table, "end_ns").values - ints(table, "start_ns").values) / 1e6
        prompt_ms = table.column("server_prompt_ms").to_numpy().copy()
        predicted_ms = table.column("server_predicted_ms").to_numpy()[job]
        # beyond it by a hundredth: the threshold itself is allowed
        excess = setting.level * CHECKS.server_time_excess * 1.01
        prompt_ms[job] = latency_ms[job] * (1 + excess) - predicted_ms
        table = with_column(table, "server_prompt_ms", prompt_ms)
    return _verdict("server_time_fits", evidence(table, setting.inflight))


def server_kept_up(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Poisson arrivals; the server's rate is below theirs by the fault (none: 1.25 times it)."""
    service = setting.latency(rng)
    capacity = setting.inflight / float(service.mean())
    offered_load = 0.8 if not setting.level else 1 / (1 - setting.level * CHECKS.queue_growth)
    due = np.cumsum(rng.exponential(1, setting.requests))
    # the arrivals have exactly the load's rate, so that the fault has its size
    due *= (setting.requests - 1) / (due[-1] - due[0]) / (offered_load * capacity)
    table = open_loop(due - due[0], service, setting.inflight)
    load = Load(kind="poisson", rate=offered_load * capacity)
    return _verdict("server_kept_up", evidence(table, setting.inflight, load=load))


def fair_servers(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Two servers in turn, the mean latencies apart by the fault."""
    spread = setting.level * CHECKS.server_spread
    latency = setting.latency(rng)
    server = np.arange(setting.requests) % 2
    latency *= np.where(server, 1 + spread / 2, 1 - spread / 2)
    table = with_column(closed_loop(latency, setting.inflight), "server", server)
    return _verdict("fair_servers", evidence(table, setting.inflight))


def others_cpu(setting: Setting, rng: np.random.Generator) -> Verdict:
    """Other processes take the fault's share of two cores; counters come in ticks of 10 ms."""
    seconds = float(setting.latency(rng).sum()) / setting.inflight
    share = setting.level * CHECKS.other_cpu * 1.01
    busy = np.round((0.5 + share) * 2 * seconds, 2) + rng.choice([-0.01, 0, 0.01])
    before = dict.fromkeys(("monotonic_ns", "busy_s", "all_s", "steal_s", "ours_s"), 0.0)
    before |= {"swapped_bytes": 0, "throttled": 0, "governor": None}
    after = before | {"monotonic_ns": seconds * NS_PER_S, "all_s": 2 * seconds}
    after |= {"busy_s": busy, "ours_s": np.round(seconds, 2)}
    host = {"server": "managed", "before": before, "after": after}
    return quiet_host(Evidence(None, None, None, CHECKS, host=host))


def _levels(setting: Setting, rng: np.random.Generator) -> Floats:
    """The repeats' own levels: apart by chance, or by exactly the fault."""
    deviations = rng.normal(0, 1, REPEATS)
    if not setting.level:
        return 1 + BETWEEN * deviations
    spread = setting.level * CHECKS.repeat_spread
    return np.maximum(0.05, 1 + spread * (deviations - deviations.mean()) / deviations.std(ddof=1))


def repeats_apart(setting: Setting, rng: np.random.Generator) -> Verdict:
    """The repeats' levels spread by the fault (none: by 2 %)."""
    tables = [
        closed_loop(setting.latency(rng) * level, setting.inflight)
        for level in _levels(setting, rng)
    ]
    latencies = [of_requests(table)["latency_ms"] for table in tables]
    levels = [batches(table, timeline(table, setting.inflight)).level for table in tables]
    return repeats_agree(range(1, REPEATS + 1), latencies, levels, CHECKS)


@dataclass(frozen=True)
class Cell:
    """The part of a cell that `ranks_alike` reads."""

    cell: dict[str, int]
    rates: list[float]

    @property
    def ok(self) -> list[float]:
        return self.rates

    def values(self, metric: str) -> list[float]:
        return self.rates if metric == "rate" else [1 / rate for rate in self.rates]


def ranks(setting: Setting, rng: np.random.Generator) -> Verdict:
    """More ranks are slower by the fault; repeats differ by 2 %, and by their requests."""

    def cell(number: int, slower: float) -> Cell:
        rates = [
            1 / (float(setting.latency(rng).mean()) * (1 + slower) * (1 + rng.normal(0, BETWEEN)))
            for _ in range(REPEATS)
        ]
        return Cell({"ranks": number, "inflight": setting.inflight}, rates)

    cells = [cell(2, 0.0), cell(5, setting.level * CHECKS.ranks_effect)]
    return ranks_alike(cells, "rate", CHECKS)[1]


Plant = Callable[[Setting, np.random.Generator], Verdict]
FAULTS: dict[str, tuple[Plant, int]] = {
    "steady": (steady, 1),
    "warmed_up": (warmed_up, 1),
    "server_kept_up": (server_kept_up, 1),
    "fair_servers": (fair_servers, 1),
    "repeats_agree": (repeats_apart, 1),
    "ranks_alike": (ranks, 1),
    "concurrency_held": (concurrency_held, 10),
    "client_kept_up": (client_kept_up, 10),
    "errors": (errors, 10),
    "server_time_fits": (server_time_fits, 10),
    "quiet_host": (others_cpu, 10),
}
"""Check → (function that plants its fault, divisor of the runs: checks that count need few)."""


def shares(setting: Setting) -> dict[str, object]:
    plant, divisor = FAULTS[setting.check]
    rng, runs = setting.rng, max(1, setting.runs // divisor)
    counts = Counter(plant(setting, rng).status for _ in range(runs))
    line = {"check": setting.check, "fault": setting.level}
    line |= {"requests": setting.requests, "inflight": setting.inflight, "runs": runs}
    return line | {status: counts[status] / runs for status in STATUSES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--results", type=Path, help="a folder of results to take the scatter from")
    parser.add_argument("--checks", nargs="+", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    source = recorded(options.results)
    settings = [
        Setting(check, level, requests, inflight, options.runs, source)
        for check in options.checks
        for requests in REQUESTS
        for inflight in INFLIGHT
        for level in LEVELS
    ]
    frame = save(on_cores(shares, settings), "power")
    print(table(frame).to_string())


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a check and size: `pass/warn/fail/unknown` in per cent, by thresholds planted."""

    def cell(line: pd.Series) -> str:
        return "/".join(f"{100 * line[status]:.0f}" for status in STATUSES)

    labels = frame.assign(shares=frame.apply(cell, axis=1))
    return labels.pivot(
        index=["check", "requests", "inflight"], columns="fault", values="shares"
    ).reindex(frame["check"].unique(), level="check")


if __name__ == "__main__":
    main()
