"""Citation of the results: a methods paragraph, a BibTeX entry, and the digest of the raw data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mls import __version__
from mls.analysis.study import Study
from mls.config.config import Config
from mls.core.digest import data_sha256
from mls.core.files import read_json
from mls.report.text.plan import loop_words, prompt_words, reply_words
from mls.report.text.processes import shared_processes

TOOL = "cuda-mpi-llama-scheduler"


@dataclass(frozen=True)
class Citation:
    methods: str
    bibtex: str
    digest: str
    """SHA-256 over the SHA-256 of all `run.json`."""


def cite(study: Study, results: Path) -> Citation:
    """The citation, from the records. The text leaves out what is not recorded."""
    runs = sorted(repeat.digest or "" for cell in study.cells for repeat in cell.ok)
    digest = data_sha256(runs)
    return Citation(_methods(study, results), _bibtex(study, digest), digest)


def _methods(study: Study, results: Path) -> str:
    config, run = study.config, study.config.run
    counts = sorted(
        {r.result.summary.requests.total for c in study.cells for r in c.ok if r.result}
    )
    requests = (
        " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    )
    times = _times(study)
    axes = study.varying
    shared = bool(shared_processes(study))
    over = f" over {_and(axes)}" if axes else ""
    texts = [
        f"We measured {_and(list(config.models))} with {TOOL} {__version__}{_server(study)}{_host(results)}.",
        f"Each of {len(study.cells)} configurations{over} was measured {times} of {requests} requests"
        f" in {loop_words(config)}, after {run.warmup} warm-up requests"
        + (
            "."
            if config.most_repeats == 1
            else ", those of a configuration one after another in one process of the server, "
            "configurations in seeded random order."
            if shared
            else ", repeats interleaved over configurations in seeded random order."
        ),
        *_rules(config),
        f"Requests had {prompt_words(config)}; {reply_words(study)}.",
        "Arrival times are kernel receive timestamps; latency runs from just before the first byte "
        "of a request is sent to the arrival of its last byte.",
        "Percentiles, such as p95 TTFT, are of the raw samples of all repeats of a configuration "
        "pooled; 95 % confidence intervals are over repeats (Student's t)"
        + (" and hold no variation from one start of the server to the next." if shared else "."),
    ]
    return " ".join(texts)


def _times(study: Study) -> str:
    counts = sorted({len(cell.repeats) for cell in study.cells})
    if counts[-1] == 1:
        return "once"
    return f"in {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} independent repeats"


def _rules(config: Config) -> list[str]:
    """The rules by which results decided what was measured, as sentences."""
    texts, precision, search = [], config.precision, config.search
    if search:
        texts.append(
            f"Values of {search.axis} between {search.low:g} and {search.high:g} were chosen by "
            "doubling and bisection."
        )
    elif config.repeats == "auto":
        texts.append(
            f"Repeats were added until half the 95 % interval of {precision.metric} was at most "
            f"{100 * precision.width:g} % of it, or there were {precision.max}."
        )
    return texts


def _server(study: Study) -> str:
    builds = {
        str((r.result.server.get("before") or {}).get("build"))
        for c in study.cells
        for r in c.ok
        if r.result and (r.result.server.get("before") or {}).get("build")
    }
    return f" on llama.cpp's server, build {_and(sorted(builds))}" if builds else ""


def _host(results: Path) -> str:
    environment = read_json(results / "environment" / "environment.json")
    host = environment.get("host") if isinstance(environment, dict) else None
    cpu = host.get("cpu") if isinstance(host, dict) else None
    return f", {cpu}" if cpu else ""


def _bibtex(study: Study, digest: str) -> str:
    start = min(
        (
            str(r.result.clock.get("started_utc"))
            for c in study.cells
            for r in c.ok
            if r.result and r.result.clock.get("started_utc")
        ),
        default="",
    )
    title = _plain(study.config.title or f"Benchmark of {_and(list(study.config.models))}")
    fields = {
        "title": f"{{{title}}}",
        "year": start[:4],
        "howpublished": f"Results measured with {TOOL} {__version__}",
        "note": f"Sweep {study.config.name}, SHA-256 of the results {digest}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{study.config.name}-{digest[:12]},", *lines, "}"])


def _plain(text: str) -> str:
    """The text without characters that have a meaning in TeX."""
    return re.sub(r"[{}\\$%&#_^~]", "", text)


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
