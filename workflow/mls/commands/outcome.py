"""What a run leaves behind: the printed block, `run.json` and `requests.parquet`; see `core.run_folder` too."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mls.analysis.repeat.assess import Observation, assess
from mls.analysis.repeat.gpu import PostFacts
from mls.config.cells import Settings, run_path
from mls.config.config import Config
from mls.config.sections.run import Run
from mls.core.digest import file_sha256
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.run_folder import FAILURE, PARTIAL, RECORDS, RUN, TELEMETRY, discard_parts
from mls.core.run_result import RankCost, RunResult, Summary, Verdict
from mls.core.units import NS_PER_S
from mls.host.pinning import pinning_record
from mls.host.usage.counters import Noise, serves_here
from mls.host.usage.sockets import here
from mls.load.rank import Harvest
from mls.protocol.request import Target, body_fields, salts, without
from mls.server import model_list
from mls.server.access import without_password
from mls.server.api import RefusedError, ServerApi
from mls.server.engine.facts import VARIABLE as FACTS_VARIABLE
from mls.server.fields import refused_fields
from mls.server.probe import snapshot
from mls.server.several import pooled
from mls.server.telemetry.samples import collect


class Outcome:
    """Collects what rank 0 learns about one repeat and writes it down."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        seed: int,
        targets: Sequence[Target],
        output: Path | None,
    ) -> None:
        self._config = config
        self._settings = settings
        self._seed = seed
        self._urls = urls = [target.url for target in targets]
        # the config's, or the environment's
        self._proxy = without_password(targets[0].proxy) if targets[0].proxy else None
        self._each: list[dict[str, Any]] = []
        self._engines: list[dict[str, Any]] = json.loads(os.environ.get(FACTS_VARIABLE, "[]"))
        self._output = output
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}
        self._managed = not settings.server.addresses and serves_here()
        self._foreign = [] if self._managed else [url for url in urls if here(url)]
        self._noise: Noise | None = None
        self._host: dict[str, Any] = {}
        self._served_as: str | None = None
        self._left_out: tuple[str, ...] = ()
        path = run_path(config, settings.cell, settings.repeat)
        # short, and no two runs share it: it tells apart the requests in a server's log
        self._run_id = hashlib.sha256(f"{path}|{seed}|{time.time_ns()}".encode()).hexdigest()[:12]

    @property
    def salted(self) -> bool:
        """Whether each request has a `cache_salt` of its own: not for llama.cpp's server, if it is ours."""
        return not self._managed and salts(without(self._settings.run, self._left_out))

    def introduce(self, api: ServerApi) -> tuple[str | None, str, tuple[str, ...]]:
        """(model name to send, run id, fields that the server refuses).

        The name is the config's, else one that the server lists. Raises `UserError`.
        """
        given = self._settings
        models = None if given.served_as else api.models()
        self._served_as = given.served_as or model_list.model_to_ask_for(models, given.run)
        if not self._managed:  # llama.cpp's server takes them all
            try:
                self._left_out = refused_fields(api, self._settings.run, self._served_as)
            except RefusedError as error:
                models = models or api.models()
                name = str(given.cell["model"])
                raise model_list.explain(
                    error, name, given.served_as, self._served_as, models
                ) from None
            except UserError:  # too busy, or down: the load's requests are tried again
                pass
        return self._served_as, self._run_id, self._left_out

    def before(self, apis: list[ServerApi]) -> None:
        """Take the state of the server, or of all, before the load. Never raises."""
        states = [_state(api) for api in apis]
        self._before = pooled(states)
        self._each = [{"url": url, "before": s} for url, s in zip(self._urls, states, strict=True)]
        for each, facts in zip(self._each, self._engines, strict=False):
            each["engine"] = facts
        self._noise = Noise(self._foreign)
        self._host = {
            "server": self._where(),
            "pinned": pinning_record(),
            "before": self._noise.sample(),
        }

    def after(self, apis: list[ServerApi]) -> None:
        """Take the server's state after the load. Never raises: it may have died."""
        assert self._noise
        self._host["after"] = self._noise.sample()
        self._host["listeners"] = self._noise.listeners
        states = [_state(api) for api in apis]
        self._after = pooled(states)
        for each, state in zip(self._each, states, strict=True):
            each["after"] = state

    def conclude(self, gathered: Harvest) -> None:
        """Summarize, write, print. Raises `UserError` when there is nothing to call a result."""
        telemetry = collect(*_span_ns(gathered.table))
        resolved = self._settings
        observation = Observation(
            table=gathered.table,
            run=resolved.run,
            load=resolved.load,
            workload=resolved.workload,
            clock="user" if any(r["clock"] == "user" for r in gathered.ranks) else "kernel",
            per_rank=[_cost(rank) for rank in gathered.ranks],
            metrics_before=self._before.get("metrics"),
            metrics_after=self._after.get("metrics"),
            host=self._host,
            clocks=_clock(gathered),
            post=_post(resolved.run, gathered.ranks),
            telemetry=telemetry,
            left_out=self._left_out,
        )
        assessment = assess(observation, self._config.checks)
        summary, verdicts = assessment.summary, assessment.verdicts
        problem = _no_result(gathered, summary)
        if self._output:
            self._write(gathered, telemetry, summary, verdicts, problem)
        print(seed_block(summary, self._is_llama_cpp()), flush=True)
        for verdict in verdicts:
            if verdict.status in ("warn", "fail"):
                print(f"{verdict.status}: {verdict.check}: {verdict.message}", flush=True)
        if problem:
            raise UserError(problem)

    def _where(self) -> str:
        """Where the server runs: a child of our `mls serve`, else on this host or elsewhere."""
        if self._managed:
            return "managed"
        return "local" if self._foreign else "elsewhere"

    def _write(
        self,
        gathered: Harvest,
        telemetry: pa.Table | None,
        summary: Summary,
        verdicts: list[Verdict],
        problem: str | None,
    ) -> None:
        assert self._output is not None
        name = PARTIAL if problem else RECORDS
        assert gathered.file is not None
        files = {name: file_sha256(gathered.file)}
        gathered.file.replace(self._output / name)
        discard_parts(self._output)
        if problem:
            return
        if telemetry is not None:
            files[TELEMETRY] = _write_table(self._output / TELEMETRY, telemetry)
        else:  # that of an earlier try is not of this run
            (self._output / TELEMETRY).unlink(missing_ok=True)
        result = self._result(gathered, summary, verdicts, files)
        write(self._output / RUN, result.model_dump_json(indent=1) + "\n")
        (self._output / FAILURE).unlink(missing_ok=True)

    def _result(
        self,
        gathered: Harvest,
        summary: Summary,
        verdicts: list[Verdict],
        files: dict[str, str],
    ) -> RunResult:
        resolved = self._settings
        return RunResult(
            cell=resolved.cell,
            repeat=resolved.repeat,
            config={
                "name": self._config.name,
                "seed": self._seed,
                "run_id": self._run_id,
                "run": resolved.run.model_dump(),
                "load": resolved.load.model_dump(),
                "workload": resolved.workload.model_dump(),
                "server": self._server_settings(),
                "model": resolved.model.model_dump(exclude_none=True)
                | {"file_sha256": _file_sha256(Path(self._config.results), resolved.cell["model"])},
            },
            environment=_environment(Path(self._config.results)),
            server={
                "url": self._urls[0],
                "proxy": self._proxy,
                "engine": next(iter(self._engines), None),
                "before": self._before,
                "after": self._after,
                **({"each": self._each} if len(self._urls) > 1 else {}),
            },
            workload={
                "endpoint": resolved.run.endpoint,
                "prompts": resolved.workload.kind,
                "body": body_fields(without(resolved.run, self._left_out), self._served_as),
                "left_out": list(self._left_out),
                "salted": self.salted,
            },
            clock=_clock(gathered),
            host=self._host,
            summary=summary,
            verdicts=verdicts,
            files=files,
        )

    def _is_llama_cpp(self) -> bool:
        """By its own word: no other has these counters, or slots."""
        return bool(self._managed or self._before.get("metrics") or self._before.get("slots"))

    def _server_settings(self) -> dict[str, Any]:
        """As the config has them, but for the password of a proxy."""
        server = self._settings.server.model_dump()
        return server | ({"proxy": self._proxy} if server["proxy"] else {})


def _clock(gathered: Harvest) -> dict[str, Any]:
    started = datetime.fromtimestamp(gathered.start_unix_ns / NS_PER_S, UTC)
    kept = ("rank", "offset", "wall_clock_steps")
    return {
        "started_utc": started.isoformat(),
        "ranks": [{key: rank[key] for key in kept} for rank in gathered.ranks],
    }


def seed_block(summary: Summary, llama_cpp: bool) -> str:
    """The block that the seed's script printed, to the letter for llama.cpp's server."""
    latency = summary.latency_ms
    return (
        f"=== {'llama-server ' if llama_cpp else ''}latency (ms) ===\n"
        f"mean={_ms(latency.mean)} p50={_ms(latency.p50)} p95={_ms(latency.p95)} "
        f"p99={_ms(latency.p99)} (n={latency.n})\n\n"
        "=== throughput ===\n"
        f"wall={summary.wall_s:.3f}s tokens={_or_dash(summary.tokens.completion, 'd')} "
        f"tokens/sec={_or_dash(summary.overall.completion_tokens_per_s, '.2f')} "
        f"ok={summary.requests.ok} err={summary.requests.error}"
    )


def _write_table(path: Path, table: pa.Table) -> str:
    """Write it as Parquet; the SHA-256 of what was written."""
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue().to_pybytes()
    write(path, data)
    return hashlib.sha256(data).hexdigest()


def _span_ns(table: pa.Table) -> tuple[int, int]:
    """From a second before the first start to a second after the last end."""
    first, last = pc.min(table["start_ns"]).as_py(), pc.max(table["end_ns"]).as_py()
    return (first or 0) - NS_PER_S, (last or 0) + NS_PER_S


def _post(run: Run, ranks: list[dict[str, Any]]) -> PostFacts | None:
    if run.cuda_post == "off":
        return None
    told = [rank["post"] for rank in ranks if rank["post"]]
    return PostFacts(
        asked=run.cuda_post,
        work=run.cuda_post_work,
        reason=next((post["reason"] for post in told if post["reason"]), None),
        cards=[f"{post['card']} {post['name']}" for post in told if post["card"] is not None],
    )


def _no_result(gathered: Harvest, summary: Summary) -> str | None:
    gone = next((rank["gone"] for rank in gathered.ranks if rank["gone"]), None)
    if gone:
        return f"{gone} {summary.requests.ok} requests had been answered."
    posts = [(rank["rank"], rank["post"]["failed"]) for rank in gathered.ranks if rank["post"]]
    lost = next(((rank, why) for rank, why in posts if why), None)
    if lost:
        return f"Rank {lost[0]}'s card was lost in mid-run: {lost[1]}."
    if summary.requests.ok == 0:
        texts = [t for t in gathered.table["error_text"].to_pylist() if t]
        kinds = ", ".join(f"{n} × {kind}" for kind, n in summary.requests.errors.items())
        said = f" The first error said: {texts[0]}" if texts else ""
        return f"None of {summary.requests.total} requests succeeded ({kinds}).{said}"
    return None


def _state(api: ServerApi) -> dict[str, Any]:
    try:
        return snapshot(api)
    except UserError as error:
        return {"error": str(error)}


def _cost(rank: dict[str, Any]) -> RankCost:
    wall_s = rank["wall_s"]
    return RankCost(
        rank=rank["rank"],
        host=rank["host"],
        requests=rank["requests"],
        cpu_s=rank["cpu_s"],
        cpu_fraction=rank["cpu_s"] / wall_s if wall_s > 0 else 0.0,
        cpus=rank["cpus"],
    )


def _environment(results: Path) -> dict[str, Any]:
    try:
        described = json.loads((results / "environment" / "environment.json").read_text())
    except (OSError, ValueError):
        return {"digest": None}
    return {"digest": described.get("digest"), "host": described.get("host")}


def _file_sha256(results: Path, model: str) -> str | None:
    """SHA-256 of the model's file as it was fetched; None when the server is not ours."""
    try:
        described = json.loads((results / "models" / f"{model}.json").read_text())
    except (OSError, ValueError):
        return None
    return described.get("sha256")


def _or_dash(value: float | None, form: str) -> str:
    """A figure; a dash where it isn't known."""
    return "–" if value is None else format(value, form)


def _ms(value: float | None) -> str:
    return _or_dash(value, ".3f")
