"""Whether speculation pays, and up to which inflight, in words."""

from __future__ import annotations

from itertools import groupby

from markupsafe import Markup

from mls.analysis.speculation.speedup import Speedup, setting, speedups
from mls.analysis.study import Study
from mls.report.plots.series import label
from mls.report.text.numbers import P95, interval, number


def speculation_sentences(study: Study, model: str) -> list[Markup]:
    """A sentence for each setting of a model's speculation, at each value of the other axes.

    Cells on which a check failed are left out, unless there are no others. Empty where nothing was
    measured with speculation and without.
    """
    measured = [one for one in speedups(study) if one.cell.cell["model"] == model]
    trusted = [one for one in measured if one.trusted]
    names = [axis for axis in study.varying if axis not in ("model", "inflight", "speculation")]
    lines: dict[str, list[Speedup]] = {}
    for one in trusted or measured:
        at = label(one.cell, [axis for axis in names if axis not in setting(one.cell)])
        lines.setdefault(_name(one, names) + (f" at {at}" if at else ""), []).append(one)
    return [_sentence(name, line, study.rate.unit) for name, line in lines.items()]


def _name(one: Speedup, names: list[str]) -> str:
    limits = label(one.cell, [axis for axis in setting(one.cell) if axis in names])
    kind = one.cell.cell["speculation"]
    return f"Speculation ({kind}{f' · {limits}' if limits else ''})"


def _sentence(name: str, line: list[Speedup], unit: str) -> Markup:
    """One clause for each stretch of inflight with the same finding."""
    ascending = sorted(line, key=lambda one: one.cell.cell["inflight"])
    stretches = [list(own) for _, own in groupby(ascending, key=lambda one: one.finding)]
    first, *later = [_clause(own, unit, i == 0) for i, own in enumerate(stretches)]
    rest = Markup("").join(Markup("; {}").format(clause) for clause in later)
    return Markup("<b>{} {}</b>{}.").format(name, first, rest)


def _clause(stretch: list[Speedup], unit: str, leading: bool) -> str:
    low, high = stretch[0].cell.cell["inflight"], stretch[-1].cell.cell["inflight"]
    finding = stretch[-1].finding
    to = f"inflight {low}" if low == high else f"inflight {low} to {high}"
    figure = _figure(stretch[-1], unit if leading else "")
    there = f"{'' if low == high else f'at {high} '}{figure}"
    if finding == "unclear":
        return f"{'' if leading else 'it '}can't be told from none at {to}: {there}"
    if leading and finding == "pays":
        to = f"up to inflight {high}"
        return f"pays {to}: {there}"
    return f"{'' if leading else 'it '}{finding} at {to}: {there}"


def _figure(one: Speedup, unit: str) -> str:
    span = interval(one.ratio)
    without = f" the {unit} without" if unit else ""
    why = f"{P95} interval {span}" if span else "one repeat"
    if one.apart:
        why += ", not measured together"
    return f"{number(one.ratio.value)} ×{without} ({why})"
