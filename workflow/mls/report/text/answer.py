"""The answer for one model in words. Every text from outside is escaped."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.answer import LATENCY, Best, ModelAnswer
from mls.analysis.cell.result import CellResult
from mls.analysis.checks.registry import title
from mls.analysis.intervals import Estimate
from mls.analysis.knee import ALIKE
from mls.analysis.study import Rate
from mls.core.units import duration
from mls.report.plots.series import label as axes_label
from mls.report.plots.series import label_or_load as label
from mls.report.text.asked import asked_sentences
from mls.report.text.numbers import (
    NARROW,
    P95,
    interval,
    milliseconds,
    milliseconds_interval,
    number,
)


def sentences(answer: ModelAnswer, rate: Rate, axes: list[str], several: bool) -> list[Markup]:
    """The answer for a model as sentences, the most important first.

    rate: the measure of throughput. axes: those that name a cell. several: whether there are more models.
    """
    every = [axis for axis in axes if axis != "model"]
    chosen = [axis for axis in every if axis not in answer.asked]
    names = chosen or every
    who = answer.model if several else ""
    if not answer.throughput or not answer.latency:
        sentence = Markup("<b>No cell of {} has a result.</b>").format(answer.model)
        return [sentence, *_caveats(answer, every)]
    if not answer.throughput.compared:
        texts = _single(answer.throughput, rate, every, who)
        only = "Only one cell passed its checks" if answer.distrusted else "One cell was measured"
        if not answer.changes:
            texts.append(Markup("{}, so there is nothing to choose from.").format(only))
    else:
        where = axes_label(answer.throughput.cell, [*answer.asked])
        whose = ", ".join(filter(None, [who, where]))
        if answer.throughput.cell is answer.latency.cell:
            texts = _one_best(answer.throughput, answer.latency, rate, names, whose)
        else:
            texts = _throughput(answer.throughput, rate, names, whose)
            texts += [*_latency(answer.latency, rate, names), *_price(answer, names)]
    texts[1:1] = _apart(answer, every)
    if answer.throughput.compared or not answer.asked:
        texts += [*_knee(answer), *_slo(answer, rate, names)]
    texts += asked_sentences(answer, rate, names)
    if answer.throughput.value.low is None:
        texts.append(
            Markup(
                "There is only one repeat, so there are no intervals: "
                "nothing here tells a difference from chance."
            )
        )
    return [*texts, *_caveats(answer, every)]


def _single(best: Best, rate: Rate, names: list[str], who: str) -> list[Markup]:
    cell = best.cell
    return [
        Markup("<b>{}At {}: {} {}</b>{}.").format(
            f"{who}: " if who else "",
            label(cell, names),
            number(best.value.value),
            rate.unit,
            _of(best.value),
        ),
        Markup("Half of the requests end within {} and {} within {}{}.{}").format(
            _time(cell, "latency_ms.p50"),
            P95,
            _time(cell, LATENCY),
            _of_time(cell, LATENCY),
            _first(cell),
        ),
    ]


def _one_best(
    throughput: Best, latency: Best, rate: Rate, names: list[str], who: str
) -> list[Markup]:
    cell = throughput.cell
    verb = "did" if False in (throughput.resolved, latency.resolved) else "is"
    return [
        Markup(
            "<b>{}{} {} best for throughput and for latency</b>: {} {}{}, and {} of requests end within {}{}."
        ).format(
            f"{who}: " if who else "",
            _capital(label(cell, names)),
            verb,
            number(throughput.value.value),
            rate.unit,
            _of(throughput.value),
            P95,
            _time(cell, LATENCY),
            _of_time(cell, LATENCY),
        ),
        *_edge(throughput),
        *_doubts(throughput, names, "throughput"),
        *_doubts(latency, names, "latency"),
    ]


def _throughput(best: Best, rate: Rate, names: list[str], who: str) -> list[Markup]:
    where, value = label(best.cell, names), number(best.value.value)
    sentence = Markup("<b>{}Throughput {} highest at {}: {} {}</b>{}.").format(
        f"{who}: " if who else "",
        "was" if best.resolved is False else "is",
        where,
        value,
        rate.unit,
        _of(best.value),
    )
    return [sentence, *_edge(best), *_doubts(best, names, "throughput")]


def _edge(best: Best) -> list[Markup]:
    if not best.resolved or not best.at_edge:
        return []
    return [
        Markup(
            "That is the largest inflight measured, and throughput was still rising: "
            "more may be had beyond it."
        )
    ]


def _latency(best: Best, rate: Rate, names: list[str]) -> list[Markup]:
    there = best.cell.estimates.get(rate.metric)
    sentence = Markup("<b>Latency {} lowest at {}</b>: {} of requests end within {}{}{}.{}").format(
        "was" if best.resolved is False else "is",
        label(best.cell, names),
        P95,
        _time(best.cell, LATENCY),
        _of_time(best.cell, LATENCY),
        f", at {number(there.value)} {rate.unit}" if there else "",
        _first(best.cell),
    )
    return [sentence, *_doubts(best, names, "latency")]


def _price(answer: ModelAnswer, names: list[str]) -> list[Markup]:
    if not answer.gain or not answer.cost or not answer.latency or not answer.throughput:
        return []
    return [
        Markup(
            "Going from {} to {} changes throughput by a factor of <b>{}</b>{} and mean latency by a factor of <b>{}</b>{}."
        ).format(
            label(answer.latency.cell, names),
            label(answer.throughput.cell, names),
            number(answer.gain.value),
            _of(answer.gain),
            number(answer.cost.value),
            _of(answer.cost),
        )
    ]


def _doubts(best: Best, names: list[str], what: str) -> list[Markup]:
    texts = []
    if best.alike:
        equals = _join([label(cell, names) for cell in best.alike])
        texts.append(
            Markup("By {}, {} {} practically alike (within {}{}%).").format(
                what, equals, "is" if len(best.alike) == 1 else "are", round(100 * ALIKE), NARROW
            )
        )
    if best.unclear:
        rivals = _join([label(cell, names) for cell in best.rivals])
        texts.append(
            Markup(
                "<b>Not resolved:</b> by {} it can't be told apart from {}, as the {} interval of "
                "their ratio holds 1; more repeats would narrow it.{}"
            ).format(what, rivals, P95, _kinder(best, names) if what == "throughput" else "")
        )
    return texts


def _kinder(best: Best, names: list[str]) -> str:
    """The cell with the lowest latency among those that are alike in throughput, as a sentence."""
    rivals = [cell for cell in (best.cell, *best.rivals) if LATENCY in cell.estimates]
    least = min(rivals, key=lambda cell: cell.estimates[LATENCY].value)
    return (
        f" Of these, {label(least, names)} has the lowest latency "
        f"(p95 {_time(least, LATENCY)}{_against(least, best.cell)})."
    )


def _against(least: CellResult, best: CellResult) -> str:
    return "" if least is best else f" against {_time(best, LATENCY)}"


def _knee(answer: ModelAnswer) -> list[Markup]:
    knee = answer.knee
    if not knee:
        return []
    where = f"inflight {knee.cell.cell['inflight']}"
    if knee.resolved and knee.at_edge:
        return []  # there is none yet, and the sentence on throughput says so
    sentence = Markup(
        "<b>The knee {} at {}</b>: the least that has practically all of the throughput"
    ).format("was" if knee.apart else "is", where)
    if not knee.unclear:
        why = ". <b>Not resolved</b>, as not all of its cells were measured together."
        return [sentence + (Markup(why) if knee.apart else ".")]
    span = f"between {knee.low} and {knee.high}" if knee.low != knee.high else f"near {knee.low}"
    more = (
        f"measure inflight {_join([str(n) for n in knee.measure])}"
        if knee.measure
        else "measure more repeats"
    )
    return [sentence + Markup(". <b>Not resolved</b> (it is {}): {}.").format(span, more)]


def _slo(answer: ModelAnswer, rate: Rate, names: list[str]) -> list[Markup]:
    slo = answer.under_slo
    if not slo:
        return []
    objectives = _join(
        [f"{o.metric.replace('_ms', '').replace('.', ' ')} ≤ {milliseconds(o.limit_ms)}"
         for o in slo.objectives], most=8
    )  # fmt: skip
    if slo.cell is None or slo.value is None:
        maybe = f" {_join([label(c, names) for c in slo.unclear])} may." if slo.unclear else ""
        return [Markup("<b>No cell meets the objectives</b> ({}).{}").format(objectives, maybe)]
    sentence = Markup("<b>Under the objectives ({}), {} serves the most</b>: {} {}{}{}.").format(
        objectives,
        label(slo.cell, names),
        number(slo.value.value),
        rate.unit,
        _of(slo.value),
        _good(slo.cell),
    )
    if slo.unclear:
        sentence += Markup(
            " <b>Not resolved:</b> whether {} meets them, as a limit lies within its {} interval: "
            "measure more repeats."
        ).format(_join([label(cell, names) for cell in slo.unclear]), P95)
    if slo.measure:
        sentence += Markup(" <b>Not resolved:</b> measure inflight {}.").format(
            _join([str(n) for n in slo.measure])
        )
    return [sentence, *_goodput(answer, names)]


def _good(cell: CellResult) -> str:
    share = cell.estimates.get("good.share")
    return f", {number(100 * share.value)}{NARROW}% of its requests are good" if share else ""


def _goodput(answer: ModelAnswer, names: list[str]) -> list[Markup]:
    best = answer.goodput
    if not best:
        return []
    return [
        Markup("<b>Goodput {} highest at {}</b>: {} good requests/s{}.").format(
            "was" if best.resolved is False else "is",
            label(best.cell, names),
            number(best.value.value),
            _of(best.value),
        ),
        *_doubts(best, names, "goodput"),
    ]


def _caveats(answer: ModelAnswer, names: list[str]) -> list[Markup]:
    texts = []
    if answer.distrusted:
        parts = [f"{label(c, names)} ({_failed_checks(c)})" for c in answer.distrusted]
        texts.append(
            Markup("Left out of this answer because a check failed: {}.").format(_join(parts))
        )
    if not answer.trusted and answer.throughput:
        texts.append(
            Markup(
                "<b>Don't rely on this answer:</b> on every cell of {} a check failed "
                "(see the checks)."
            ).format(answer.model)
        )
    return [*texts, *_tpot(answer)]


def _tpot(answer: ModelAnswer) -> list[Markup]:
    """Why there is no TPOT though replies came in several chunks."""
    cells = [
        cell
        for cell in answer.cells
        if "itl_ms.mean" in cell.estimates and "tpot_ms.mean" not in cell.estimates
    ]
    if not cells:
        return []
    tokens = [value for cell in cells for value in cell.values("tokens_per_chunk")]
    if not tokens:
        return [Markup("TPOT is unknown, as the server doesn't count tokens.")]
    return [
        Markup(
            "TPOT is unknown: the server sends {} tokens a chunk and doesn't say how many the first "
            "has. ITL is the time between chunks."
        ).format(number(sum(tokens) / len(tokens)))
    ]


def _apart(answer: ModelAnswer, names: list[str]) -> list[Markup]:
    """The caveat that cells were measured at different times, which no interval accounts for."""
    if not answer.apart:
        return []
    return [
        Markup(
            "<b>Not resolved:</b> repeats of {} were measured {}{} apart from those of the others, so "
            "what differs may be the machine at these times (see the check “measured together”)."
        ).format(
            _join([label(cell, names) for cell, _ in answer.apart]),
            "up to " if len(answer.apart) > 1 else "",
            duration(max(gap_s for _, gap_s in answer.apart)),
        )
    ]


def _failed_checks(cell: CellResult) -> str:
    return ", ".join(title(check) for check in cell.checks("fail"))


def _first(cell: CellResult) -> str:
    if "ttft_ms.p95" not in cell.estimates:
        return ""
    return (
        f" The first token comes within {_time(cell, 'ttft_ms.p50')} (median), "
        f"{_time(cell, 'ttft_ms.p95')} (p95)."
        f"{_first_answer(cell) if cell.thinks else ''}"
    )


def _first_answer(cell: CellResult) -> str:
    return (
        f" The first token of the answer, after the thought, comes within "
        f"{_time(cell, 'ttfa_ms.p50')} (median), {_time(cell, 'ttfa_ms.p95')} (p95)."
    )


def _of(estimate: Estimate) -> str:
    text = interval(estimate)
    return f" ({P95} interval {text})" if text else ""


def _of_time(cell: CellResult, metric: str) -> str:
    text = milliseconds_interval(cell.estimates[metric])
    return f" ({text})" if text else ""


def _time(cell: CellResult, metric: str) -> str:
    """A time; with `≈` when it is a percentile of too few requests."""
    estimate = cell.estimates[metric]
    return f"{'≈ ' if estimate.needs else ''}{milliseconds(estimate.value)}"


def _join(parts: list[str], most: int = 4) -> str:
    if len(parts) > most:
        return f"{', '.join(parts[:most])} and {len(parts) - most} others"
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
