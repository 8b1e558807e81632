"""A run's results: `run.json`, `requests.parquet`; see also `core.run_folder`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from mls.analysis.repeat.assess import Observation, assess
from mls.analysis.repeat.hardware.cards import PostFacts
from mls.commands.no_result import no_result
from mls.commands.printout import first_tokens, seed_block
from mls.config.cells import run_path
from mls.config.config import Config
from mls.config.sections.run import Run
from mls.config.settings import Settings
from mls.core.digest import file_sha256
from mls.core.errors import UserError
from mls.core.files import read_json, write
from mls.core.run_folder import FAILURE, PARTIAL, RECORDS, RUN, TELEMETRY, discard_parts
from mls.core.run_result import CanaryReport, RunResult, Template, Verdict
from mls.core.summary import RankCost, Summary
from mls.core.units import NS_PER_S
from mls.host.pinning import pinning_record
from mls.host.usage.counters import Noise, serves_here
from mls.host.usage.sockets import here
from mls.load.rank import Harvest
from mls.protocol.body import body_fields, salts, without
from mls.protocol.engines.llama_cpp import LLAMA_CPP
from mls.protocol.request import Target
from mls.server import model_list, reuse, router
from mls.server.access import without_password
from mls.server.api import ServerApi
from mls.server.engine.facts import PROCESS_VARIABLE, with_version
from mls.server.engine.facts import VARIABLE as FACTS_VARIABLE
from mls.server.fields import refused_fields, with_counts
from mls.server.http.session import RefusedError
from mls.server.several import pooled
from mls.server.state import state_or_error
from mls.server.telemetry.samples import collect


class Outcome:
    """Collects rank 0's facts about one repeat and writes them to the run's folder."""

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
        # The config's, or the environment's
        self._proxy = without_password(targets[0].proxy) if targets[0].proxy else None
        self._each: list[dict[str, Any]] = []
        self._engines: list[dict[str, Any]] = json.loads(os.environ.get(FACTS_VARIABLE, "[]"))
        self._process: dict[str, Any] | None = json.loads(os.environ.get(PROCESS_VARIABLE, "null"))
        self._output = output
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}
        self._managed = not settings.server.addresses and serves_here()
        self._is_our_llama_cpp = self._managed and settings.server.starts_llama_cpp
        self._foreign = [] if self._managed else [url for url in urls if here(url)]
        self._noise: Noise | None = None
        self._host: dict[str, Any] = {}
        self._served_as: str | None = None
        self._left_out: tuple[str, ...] = ()
        self._run = settings.run
        self._notes: tuple[str, ...] = ()
        self._corpus: dict[str, str] | None = None
        self._template = Template()
        self._cold_load_s: float | None = None
        self.canaries = CanaryReport()
        path = run_path(config, settings.cell, settings.repeat)
        # Short, and unique to the run: it tells the runs' requests apart in a server's log
        self._run_id = hashlib.sha256(f"{path}|{seed}|{time.time_ns()}".encode()).hexdigest()[:12]

    @property
    def salted(self) -> bool:
        """Whether each request has a `cache_salt` of its own; a llama.cpp of ours needs none."""
        return not self._is_our_llama_cpp and salts(self._run)

    def introduce(self, apis: list[ServerApi]) -> tuple[str | None, str, Run]:
        """(model name to send, run id, the run with the fields of requests that the server takes).

        The name is the config's, else the first server's; None sends none. Raises `UserError`.
        """
        api = apis[0]
        settings = self._settings
        models = None if settings.served_as else api.models()
        self._served_as = settings.served_as or model_list.model_to_ask_for(models, settings.run)
        if not self._is_our_llama_cpp:  # It takes all fields
            try:
                self._cold_load_s = router.enter(apis, settings.run, self._served_as)
                self._left_out = refused_fields(api, settings.run, self._served_as)
                self._run = without(settings.run, self._left_out)
                self._run = with_counts(api, self._run, self._served_as)
            except RefusedError as error:
                models = models or api.models()
                name = str(settings.cell["model"])
                raise model_list.explain(
                    error, name, settings.served_as, self._served_as, models
                ) from None
            except UserError:  # Too busy, or down: the load retries its own requests
                pass
        if self._process:
            workload, run = settings.workload, self._run
            cache, self._run = reuse.keep_apart(apis, run, workload, self._served_as, self._run_id)
            self._process["cache"] = cache
        return self._served_as, self._run_id, self._run

    def prepare(
        self, notes: tuple[str, ...], corpus: dict[str, str] | None, template: Template
    ) -> None:
        """Tell the user, and the record, what there is to say of the workload's files.

        corpus: facts of the text that prompts are cut out of; None where they aren't.
        """
        self._notes, self._corpus, self._template = notes, corpus, template
        for note in notes:
            print(f"mls run: {note}", file=sys.stderr, flush=True)

    def before(self, apis: list[ServerApi]) -> None:
        """Record the state of all servers before the load. Never raises."""
        states = [state_or_error(api, self._served_as, settle=False) for api in apis]
        self._before = pooled(states)
        self._each = [{"url": url, "before": s} for url, s in zip(self._urls, states, strict=True)]
        if self._managed and not self._is_our_llama_cpp:
            self._engines = [
                with_version(facts, state)
                for facts, state in zip(self._engines, states, strict=False)
            ]
        for each, facts in zip(self._each, self._engines, strict=False):
            each["engine"] = facts
        self._noise = Noise([*self._foreign, *self._engine_behind()])
        self._host = {
            "server": self._where(),
            "pinned": pinning_record(),
            "before": self._noise.sample(),
        }

    def after(self, apis: list[ServerApi]) -> None:
        """Record the state of all servers after the load. Never raises: a server may have died."""
        assert self._noise
        self._host["after"] = self._noise.sample()
        self._host["listeners"] = self._noise.listeners
        states = [state_or_error(api, self._served_as, settle=True) for api in apis]
        self._after = pooled(states)
        for each, state in zip(self._each, states, strict=True):
            each["after"] = state

    def conclude(self, harvest: Harvest) -> None:
        """Summarize the repeat, write and print it. Raises `UserError` when there is no result."""
        telemetry = collect(*_span_ns(harvest.table))
        settings = self._settings
        observation = Observation(
            table=harvest.table,
            run=settings.run,
            load=settings.load,
            workload=settings.workload,
            clock="user" if any(r["clock"] == "user" for r in harvest.ranks) else "kernel",
            per_rank=[_cost(rank) for rank in harvest.ranks],
            metrics_before=self._before.get("metrics"),
            metrics_after=self._after.get("metrics"),
            host=self._host,
            clocks=_clock(harvest),
            post=_post(settings.run, harvest.ranks),
            telemetry=telemetry,
            left_out=self._left_out,
            canaries=self.canaries,
            speculation=settings.server.speculation,
            slots=self._before.get("slots"),
            template=self._template,
        )
        assessment = assess(observation, self._config.checks)
        summary, verdicts = assessment.summary, assessment.verdicts
        problem = no_result(harvest, summary)
        if self._output:
            self._write(harvest, telemetry, summary, verdicts, problem)
        print(seed_block(summary, self._is_llama_cpp()), flush=True)
        if line := first_tokens(summary):
            print(line, flush=True)
        for verdict in verdicts:
            if verdict.status in ("warn", "fail"):
                print(f"{verdict.status}: {verdict.check}: {verdict.message}", flush=True)
        if problem:
            raise UserError(problem)

    def _where(self) -> str:
        """Where the server runs: below this run's `mls serve`, else on this host, or elsewhere."""
        if self._managed:
            return "managed"
        return "local" if self._foreign else "elsewhere"

    def _engine_behind(self) -> list[str]:
        """The page of metrics of an engine on this host: it listens there, not at the URL."""
        url = self._settings.server.metrics_url
        return [url] if url and here(url) else []

    def _write(
        self,
        harvest: Harvest,
        telemetry: pa.Table | None,
        summary: Summary,
        verdicts: list[Verdict],
        problem: str | None,
    ) -> None:
        assert self._output is not None
        name = PARTIAL if problem else RECORDS
        assert harvest.file is not None
        files = {name: file_sha256(harvest.file)}
        harvest.file.replace(self._output / name)
        discard_parts(self._output)
        if problem:
            return
        if telemetry is not None:
            files[TELEMETRY] = _write_table(self._output / TELEMETRY, telemetry)
        else:  # An earlier attempt's telemetry isn't of this run
            (self._output / TELEMETRY).unlink(missing_ok=True)
        result = self._result(harvest, summary, verdicts, files)
        write(self._output / RUN, result.model_dump_json(indent=1) + "\n")
        (self._output / FAILURE).unlink(missing_ok=True)

    def _result(
        self,
        harvest: Harvest,
        summary: Summary,
        verdicts: list[Verdict],
        files: dict[str, str],
    ) -> RunResult:
        settings = self._settings
        return RunResult(
            cell=settings.cell,
            repeat=settings.repeat,
            config={
                "name": self._config.name,
                "seed": self._seed,
                "run_id": self._run_id,
                "run": settings.run.model_dump(),
                "load": settings.load.model_dump(),
                "workload": settings.workload.model_dump(),
                "replies": settings.replies.model_dump(),
                "server": self._server_settings(),
                "model": self._model(settings.cell["model"]),
                **({"draft_model": self._model(draft)} if (draft := settings.server.draft) else {}),
            },
            environment=_environment(Path(self._config.results)),
            server={
                "url": self._urls[0],
                "proxy": self._proxy,
                "engine": next(iter(self._engines), None),
                "process": self._process,
                "cold_load_s": self._cold_load_s,
                "before": self._before,
                "after": self._after,
                **({"each": self._each} if len(self._urls) > 1 else {}),
            },
            workload={
                "endpoint": settings.run.endpoint,
                "prompts": settings.workload.kind,
                "body": body_fields(self._run, self._served_as),
                "left_out": list(self._left_out),
                "salted": self.salted,
                "notes": list(self._notes),
                "template": self._template.model_dump(),
                **({"corpus": self._corpus} if self._corpus else {}),
            },
            canaries=self.canaries,
            clock=_clock(harvest),
            host=self._host,
            summary=summary,
            verdicts=verdicts,
            files=files,
        )

    def _is_llama_cpp(self) -> bool:
        """Whether the server is llama.cpp's by its own word."""
        return self._is_our_llama_cpp or self._before.get("engine") == LLAMA_CPP.name

    def _model(self, name: str) -> dict[str, Any]:
        """A model of the config, with the SHA-256 of its file; None where the server isn't managed."""
        description = read_json(Path(self._config.results) / "models" / f"{name}.json") or {}
        source = self._config.models[name].model_dump(exclude_none=True)
        return source | {"file_sha256": description.get("sha256")}

    def _server_settings(self) -> dict[str, Any]:
        """The config's server settings, without the password of a proxy."""
        server = self._settings.server.model_dump()
        return server | ({"proxy": self._proxy} if server["proxy"] else {})


def _clock(harvest: Harvest) -> dict[str, Any]:
    start = datetime.fromtimestamp(harvest.start_unix_ns / NS_PER_S, UTC)
    keys = ("rank", "offset", "wall_clock_steps")
    return {
        "started_utc": start.isoformat(),
        "ranks": [{key: rank[key] for key in keys} for rank in harvest.ranks],
    }


def _write_table(path: Path, table: pa.Table) -> str:
    """Write the table as Parquet. Returns the file's SHA-256."""
    buffer = pa.BufferOutputStream()
    pa.parquet.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue().to_pybytes()
    write(path, data)
    return hashlib.sha256(data).hexdigest()


def _span_ns(table: pa.Table) -> tuple[int, int]:
    """(begin, end): a second before the first start, a second after the last end."""
    first, last = pc.min(table["start_ns"]).as_py(), pc.max(table["end_ns"]).as_py()
    return (first or 0) - NS_PER_S, (last or 0) + NS_PER_S


def _post(run: Run, ranks: list[dict[str, Any]]) -> PostFacts | None:
    if run.cuda_post == "off":
        return None
    posts = [rank["post"] for rank in ranks if rank["post"]]
    return PostFacts(
        mode=run.cuda_post,
        work=run.cuda_post_work,
        reason=next((post["reason"] for post in posts if post["reason"]), None),
        cards=[f"{post['card']} {post['name']}" for post in posts if post["card"] is not None],
    )


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
    description = read_json(results / "environment" / "environment.json") or {"digest": None}
    return {key: description.get(key) for key in ("digest", "host")}
