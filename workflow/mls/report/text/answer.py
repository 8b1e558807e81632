"""The answer in words, for one model at a time. Every text from outside is escaped."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.answer import LATENCY, Best, ModelAnswer
from mls.analysis.checks.measured_together import duration
from mls.analysis.checks.registry import title
from mls.analysis.intervals import Estimate
from mls.analysis.knee import ALIKE
from mls.analysis.study import CellResult, Rate
from mls.report.plots.series import label
from mls.report.text.numbers import (
    NARROW,
    P95,
    interval,
    milliseconds,
    milliseconds_interval,
    number,
)


def sentences(found: ModelAnswer, rate: Rate, varying: list[str], several: bool) -> list[Markup]:
    """The answer for a model as sentences, the most important first.

    rate: what throughput is; varying: axes that tell cells apart; several: models.
    """
    names = [axis for axis in varying if axis != "model"] or ["inflight"]
    who = found.model if several else ""
    if not found.throughput or not found.latency:
        nothing = Markup("<b>No cell of {} has a result.</b>").format(found.model)
        return [nothing, *_caveats(found, names)]
    if not found.throughput.compared:
        said = _single(found.throughput, rate, names, who)
        only = "Only one cell passed its checks" if found.distrusted else "One cell was measured"
        said.append(Markup("{}, so there is nothing to choose from.").format(only))
    elif found.throughput.cell is found.latency.cell:
        said = _one_best(found.throughput, found.latency, rate, names, who)
    else:
        said = _throughput(found.throughput, rate, names, who)
        said += [*_latency(found.latency, rate, names), *_price(found, names)]
    said[1:1] = _apart(found, names)
    said += [*_knee(found), *_slo(found, rate, names)]
    if found.throughput.value.low is None:
        said.append(
            Markup(
                "There is only one repeat, so there are no intervals: "
                "nothing here tells a difference from chance."
            )
        )
    return [*said, *_caveats(found, names)]


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
        *_unresolved(throughput, names, "throughput"),
        *_unresolved(latency, names, "latency"),
    ]


def _throughput(best: Best, rate: Rate, names: list[str], who: str) -> list[Markup]:
    where, value = label(best.cell, names), number(best.value.value)
    said = Markup("<b>{}Throughput {} highest at {}: {} {}</b>{}.").format(
        f"{who}: " if who else "",
        "was" if best.resolved is False else "is",
        where,
        value,
        rate.unit,
        _of(best.value),
    )
    return [said, *_edge(best), *_unresolved(best, names, "throughput")]


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
    said = Markup("<b>Latency {} lowest at {}</b>: {} of requests end within {}{}{}.{}").format(
        "was" if best.resolved is False else "is",
        label(best.cell, names),
        P95,
        _time(best.cell, LATENCY),
        _of_time(best.cell, LATENCY),
        f", at {number(there.value)} {rate.unit}" if there else "",
        _first(best.cell),
    )
    return [said, *_unresolved(best, names, "latency")]


def _price(found: ModelAnswer, names: list[str]) -> list[Markup]:
    if not found.gain or not found.cost or not found.latency or not found.throughput:
        return []
    return [
        Markup(
            "Going from {} to {} changes throughput by a factor of <b>{}</b>{} and mean latency by a factor of <b>{}</b>{}."
        ).format(
            label(found.latency.cell, names),
            label(found.throughput.cell, names),
            number(found.gain.value),
            _of(found.gain),
            number(found.cost.value),
            _of(found.cost),
        )
    ]


def _unresolved(best: Best, names: list[str], what: str) -> list[Markup]:
    said = []
    if best.alike:
        equals = _join([label(cell, names) for cell in best.alike])
        said.append(
            Markup("By {}, {} {} practically alike (within {}{}%).").format(
                what, equals, "is" if len(best.alike) == 1 else "are", round(100 * ALIKE), NARROW
            )
        )
    if best.unclear:
        rivals = _join([label(cell, names) for cell in best.rivals])
        said.append(
            Markup(
                "<b>Not resolved:</b> by {} it can't be told apart from {}, as the {} interval of "
                "their ratio holds 1; more repeats would narrow it.{}"
            ).format(what, rivals, P95, _kinder(best, names) if what == "throughput" else "")
        )
    return said


def _kinder(best: Best, names: list[str]) -> str:
    """Of cells that are alike in throughput, the one with the lowest latency is the one to take."""
    rivals = [cell for cell in (best.cell, *best.rivals) if LATENCY in cell.estimates]
    least = min(rivals, key=lambda cell: cell.estimates[LATENCY].value)
    return (
        f" Of these, {label(least, names)} has the lowest latency "
        f"(p95 {_time(least, LATENCY)}{_against(least, best.cell)})."
    )


def _against(least: CellResult, chosen: CellResult) -> str:
    return "" if least is chosen else f" against {_time(chosen, LATENCY)}"


def _knee(found: ModelAnswer) -> list[Markup]:
    knee = found.knee
    if not knee:
        return []
    where = f"inflight {knee.cell.cell['inflight']}"
    if knee.resolved and knee.at_edge:
        return []  # there is none yet, and the sentence on throughput says so
    said = Markup(
        "<b>The knee {} at {}</b>: the least that has practically all of the throughput"
    ).format("was" if knee.apart else "is", where)
    if not knee.unclear:
        why = ". <b>Not resolved</b>, as not all of its cells were measured together."
        return [said + (Markup(why) if knee.apart else ".")]
    span = f"between {knee.low} and {knee.high}" if knee.low != knee.high else f"near {knee.low}"
    more = (
        f"measure inflight {_join([str(n) for n in knee.measure])}"
        if knee.measure
        else "measure more repeats"
    )
    return [said + Markup(". <b>Not resolved</b> (it is {}): {}.").format(span, more)]


def _slo(found: ModelAnswer, rate: Rate, names: list[str]) -> list[Markup]:
    slo = found.under_slo
    if not slo:
        return []
    asked = _join(
        [f"{o.metric.replace('_ms', '').replace('.', ' ')} ≤ {milliseconds(o.limit_ms)}"
         for o in slo.objectives], most=8
    )  # fmt: skip
    if slo.cell is None or slo.value is None:
        maybe = f" {_join([label(c, names) for c in slo.unclear])} may." if slo.unclear else ""
        return [Markup("<b>No cell meets the objectives</b> ({}).{}").format(asked, maybe)]
    said = Markup("<b>Under the objectives ({}), {} serves the most</b>: {} {}{}{}.").format(
        asked,
        label(slo.cell, names),
        number(slo.value.value),
        rate.unit,
        _of(slo.value),
        _good(slo.cell),
    )
    if slo.unclear:
        said += Markup(
            " <b>Not resolved:</b> whether {} meets them, as a limit lies within its {} interval: "
            "measure more repeats."
        ).format(_join([label(cell, names) for cell in slo.unclear]), P95)
    if slo.measure:
        said += Markup(" <b>Not resolved:</b> measure inflight {}.").format(
            _join([str(n) for n in slo.measure])
        )
    return [said, *_goodput(found, names)]


def _good(cell: CellResult) -> str:
    share = cell.estimates.get("good.share")
    return f", {number(100 * share.value)}{NARROW}% of its requests are good" if share else ""


def _goodput(found: ModelAnswer, names: list[str]) -> list[Markup]:
    best = found.goodput
    if not best:
        return []
    return [
        Markup("<b>Goodput {} highest at {}</b>: {} good requests/s{}.").format(
            "was" if best.resolved is False else "is",
            label(best.cell, names),
            number(best.value.value),
            _of(best.value),
        ),
        *_unresolved(best, names, "goodput"),
    ]


def _caveats(found: ModelAnswer, names: list[str]) -> list[Markup]:
    said = []
    if found.distrusted:
        parts = [f"{label(c, names)} ({_failed(c)})" for c in found.distrusted]
        said.append(
            Markup("Left out of this answer because a check failed: {}.").format(_join(parts))
        )
    if not found.trusted and found.throughput:
        said.append(
            Markup(
                "<b>Don't rely on this answer:</b> on every cell of {} a check failed "
                "(see the checks)."
            ).format(found.model)
        )
    return said


def _apart(found: ModelAnswer, names: list[str]) -> list[Markup]:
    """That cells were measured at different times: no interval holds what changed in between."""
    if not found.apart:
        return []
    return [
        Markup(
            "<b>Not resolved:</b> repeats of {} were measured {}{} apart from those of the others, so "
            "what differs may be the machine at these times (see the check “measured together”)."
        ).format(
            _join([label(cell, names) for cell, _ in found.apart]),
            "up to " if len(found.apart) > 1 else "",
            duration(max(gap_s for _, gap_s in found.apart)),
        )
    ]


def _failed(cell: CellResult) -> str:
    return ", ".join(title(check) for check in cell.checks("fail"))


def _first(cell: CellResult) -> str:
    if "ttft_ms.p95" not in cell.estimates:
        return ""
    return (
        f" The first token comes within {_time(cell, 'ttft_ms.p50')} (median), "
        f"{_time(cell, 'ttft_ms.p95')} (p95)."
    )


def _of(estimate: Estimate) -> str:
    found = interval(estimate)
    return f" ({P95} interval {found})" if found else ""


def _of_time(cell: CellResult, metric: str) -> str:
    found = milliseconds_interval(cell.estimates[metric])
    return f" ({found})" if found else ""


def _time(cell: CellResult, metric: str) -> str:
    """A time; with `≈` when it is a percentile of too few requests to be known."""
    found = cell.estimates[metric]
    return f"{'≈ ' if found.needs else ''}{milliseconds(found.value)}"


def _join(parts: list[str], most: int = 4) -> str:
    if len(parts) > most:
        return f"{', '.join(parts[:most])} and {len(parts) - most} others"
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
