"""The page of a sweep's results: one HTML file, which loads nothing from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from mls.analysis.answer import Answer, ModelAnswer, answer
from mls.analysis.cell.result import CellResult
from mls.analysis.comparison import compare
from mls.analysis.differences import differences
from mls.analysis.repeats import Repeat
from mls.analysis.result_sets import Results, opened
from mls.analysis.study import Study, read_study
from mls.config.axes import axes
from mls.config.config import Config
from mls.core.files import read_json, write
from mls.report.pages import rows
from mls.report.pages.canaries import HEADINGS as CANARY_HEADINGS
from mls.report.pages.canaries import canary_table
from mls.report.pages.cell_values import cell_values
from mls.report.pages.comparison import ComparisonView, comparison_view, template_values
from mls.report.pages.inputs import NAME as MADE_FROM
from mls.report.pages.inputs import as_text, made_from
from mls.report.pages.plain import plain
from mls.report.pages.speculation import HEADINGS as SPECULATION_HEADINGS
from mls.report.pages.speculation import speculation_table
from mls.report.pages.templating import templates
from mls.report.pages.tree import Node, node
from mls.report.pages.workloads.depth import HEADINGS as DEPTH_HEADINGS
from mls.report.pages.workloads.depth import depth_table
from mls.report.pages.workloads.sessions import HEADINGS as SESSION_HEADINGS
from mls.report.pages.workloads.sessions import session_table
from mls.report.plots.activity import activity
from mls.report.plots.figures import draw
from mls.report.plots.parts import HEADINGS, part_rows
from mls.report.plots.series import label, label_or_load, spread
from mls.report.plots.svg import style
from mls.report.text.answer import sentences
from mls.report.text.citation import cite
from mls.report.text.cost import cost_sentences
from mls.report.text.leavers import leavers_sentences
from mls.report.text.numbers import (
    NARROW,
    P95,
    interval,
    milliseconds,
    milliseconds_interval,
    number,
)
from mls.report.text.plan import (
    load_words,
    loop_words,
    pin_words,
    prompt_words,
    reply_words,
    workload_notes,
)
from mls.report.text.processes import cache_words, process_sentences, shared_processes
from mls.report.text.speculation import speculation_sentences
from mls.report.text.stopping import search_sentences, stops

MOST_DIGESTS = 2000
MOST_REPLIES = 12
MOST_OF_A_REPLY = 2000


@dataclass(frozen=True)
class Card:
    """A key figure beside the answer."""

    title: str
    value: str
    unit: str
    detail: str


@dataclass(frozen=True)
class AnswerText:
    """The answer for one model in words, the lead first, and its key figures."""

    model: str
    lead: Markup
    rest: list[Markup]
    cards: list[Card]


@dataclass(frozen=True)
class Provenance:
    """The records of one model and of the server that served it; None for one that is missing."""

    model: str
    file: Node | None
    probe: Node | None
    warnings: list[str]
    url: str
    notes: list[str]
    engine: Node | None
    before: Node | None
    after: Node | None


def render(config: Config, results: Path, output: Path, answer_file: Path | None = None) -> None:
    """Write the page, and its answer as plain text. The same results give the same bytes.

    Raises `UserError` when the sweep isn't valid, when the baseline can't be read, and when a file
    can't be written.
    """
    study = read_study(config, results)
    write(output, page(study, results))
    if answer_file:
        write(answer_file, plain(study))


def page(study: Study, results: Path, so_far: str = "") -> str:
    """The page's HTML. results: folder that the study was read from.

    so_far: the mark of a page of a sweep that is still measured, which has no answer.

    Raises `UserError` when the baseline can't be read.
    """
    config = study.config
    whole = answer(study)
    baseline = _baseline(config, results, study)
    names = study.naming or ["ranks"]
    figures = draw(study)
    with style():
        busy = activity(study, names)
    columns = rows.columns(study)
    table = rows.table(study, names, columns)
    template = templates().get_template("page.html.j2")
    return template.render(
        made_from_name=MADE_FROM,
        # the page so far is nobody's last page, as an archive would take it for
        made_from="" if so_far else as_text(made_from(study, results)),
        so_far=so_far,
        title=config.title or f"{', '.join(config.models)}: {_range(study)}",
        config=config,
        study=study,
        answer=whole,
        answers=[_answer_text(model, whole, study) for model in whole.models],
        figures=figures,
        activity=busy,
        axes=names,
        stops=stops(study, names),
        planned=study.planned_repeats,
        constant={a: study.cells[0].cell[a] for a in axes(config) if a not in names},
        columns=columns,
        rows=table,
        cell_values=cell_values(study, names, columns, table),
        checks=rows.checks(study),
        tally=rows.tally(study),
        depth=depth_table(study, names),
        depth_headings=DEPTH_HEADINGS,
        speculation=speculation_table(study, names),
        speculation_headings=SPECULATION_HEADINGS,
        canaries=canary_table(study, names),
        canary_headings=CANARY_HEADINGS,
        marks=rows.MARKS,
        started=_time_range(study),
        load_words=load_words,
        prompt_words=prompt_words,
        reply_words=reply_words,
        workload_notes=workload_notes(study),
        sessions=session_table(study, names),
        session_headings=SESSION_HEADINGS,
        parts=part_rows(study),
        part_headings=HEADINGS,
        config_text=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
        environment=_record(results / "environment" / "environment.json"),
        provenances=[_provenance(study, results, model) for model in config.models],
        shared=bool(shared_processes(study)),
        thinks=study.thinks,
        cached=any(column in rows.CACHED for column in columns),
        calls=any("tool_call_ms.p50" in cell.estimates for cell in study.cells),
        repeats=[repeat for cell in study.cells for repeat in cell.repeats][:MOST_DIGESTS],
        replies=_replies(study, names),
        label=label,
        citation=cite(study, results),
        baseline=baseline,
        **(template_values(baseline) if baseline else {}),
    )


def _replies(study: Study, names: list[str]) -> list[tuple[str, str]]:
    """(cell, text) of some replies, cut to `MOST_OF_A_REPLY` characters."""
    texts = [(label(cell, names), text) for cell in study.cells for text in cell.replies]
    return [(cell, text[:MOST_OF_A_REPLY]) for cell, text in spread(texts, MOST_REPLIES)]


def _baseline(config: Config, results: Path, study: Study) -> ComparisonView | None:
    if config.baseline is None:
        return None
    with opened(Path(config.baseline)) as base:
        setup_differences = differences(base.study, base.folder, study, results)
        new = Results(str(results), results, study)
        return comparison_view(base, new, compare(base.study, study), setup_differences)


def _range(study: Study) -> str:
    if study.config.load.open:
        return loop_words(study.config)
    values = sorted({int(cell.cell["inflight"]) for cell in study.cells})
    return f"inflight {values[0]}" + (f" to {values[-1]}" if len(values) > 1 else "")


def _answer_text(model_answer: ModelAnswer, whole: Answer, study: Study) -> AnswerText:
    lead, *rest = sentences(model_answer, whole.rate, study.naming, len(whole.models) > 1)
    rest += speculation_sentences(study, model_answer.model)
    rest += leavers_sentences(study, model_answer.model)
    rest += cost_sentences(model_answer, study)
    rest += search_sentences(study, model_answer.model, study.varying)
    rest += process_sentences(study, model_answer.model)
    return AnswerText(model_answer.model, lead, rest, _cards(model_answer, study))


def _cards(model_answer: ModelAnswer, study: Study) -> list[Card]:
    if not model_answer.throughput or not model_answer.latency:
        return []
    asked = model_answer.asked
    names = [axis for axis in study.naming if axis != "model" and axis not in asked]
    fast, prompt = model_answer.throughput, model_answer.latency
    at = f" at {label(fast.cell, [*asked])}" if asked else ""
    most, least = ("Highest throughput", "Lowest p95 latency")
    if asked and not fast.compared:
        most, least = ("Throughput", "p95 latency")
    cards = [
        Card(
            f"{most}{at}",
            number(fast.value.value),
            study.rate.unit,
            _at(fast.cell, names, interval(fast.value)),
        ),
        _time_card(f"{least}{at}", prompt.cell, names, "latency_ms.p95"),
    ]
    if "ttft_ms.p95" in prompt.cell.estimates:
        cards.append(_time_card("p95 TTFT there", prompt.cell, names, "ttft_ms.p95"))
    if prompt.cell.thinks:
        cards.append(_time_card("p95 TTFA there", prompt.cell, names, "ttfa_ms.p95"))
    return cards


def _time_card(title: str, cell: CellResult, names: list[str], metric: str) -> Card:
    estimate = cell.estimates[metric]
    value, _, unit = milliseconds(estimate.value).rpartition(NARROW)
    return Card(title, value, unit, _at(cell, names, milliseconds_interval(estimate)))


def _at(cell: CellResult, names: list[str], span: str) -> str:
    return f"{label_or_load(cell, names)}{f' · {P95} interval {span}' if span else ''}"


def _time_range(study: Study) -> tuple[str, str] | None:
    """First and last recorded start of a repeat in UTC; None without any."""
    starts = sorted(
        str(repeat.result.clock["started_utc"])[:16].replace("T", " ")
        for cell in study.cells
        for repeat in cell.ok
        if repeat.result and repeat.result.clock.get("started_utc")
    )
    return (starts[0], starts[-1]) if starts else None


def _record(path: Path) -> Node | None:
    data = read_json(path)
    return None if data is None else node(data)


def _engines(server: dict[str, Any]) -> Node | None:
    """The record of the managed engine, or of each in a fleet; None without one."""
    each = {
        f"server {number}": one["engine"]
        for number, one in enumerate(server.get("each") or [], start=1)
        if one.get("engine")
    }
    facts = each or server.get("engine")
    return node(facts) if facts else None


def _provenance(study: Study, results: Path, model: str) -> Provenance:
    probe = read_json(results / "probe" / f"{model}.json")
    repeats = [r for cell in study.cells if cell.cell["model"] == model for r in cell.ok]
    first: Repeat | None = next(iter(repeats), None)
    hosts = [repeat.result.host for repeat in repeats if repeat.result]
    server = first.result.server if first and first.result else {}
    warnings = probe.get("warnings", []) if isinstance(probe, dict) else []
    return Provenance(
        model=model,
        file=_record(results / "models" / f"{model}.json"),
        probe=None if probe is None else node(probe),
        warnings=[str(warning) for warning in warnings] if isinstance(warnings, list) else [],
        url=str(server.get("url", "")),
        notes=[
            *dict.fromkeys(pin_words(h["pinned"]) for h in hosts if h.get("pinned")),
            *cache_words(study, model),
        ],
        engine=_engines(server),
        before=node(server["before"]) if server.get("before") else None,
        after=node(server["after"]) if server.get("after") else None,
    )
