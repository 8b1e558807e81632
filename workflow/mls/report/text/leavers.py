"""What users who leave cost, in words: how soon a slot is free, and what it does to the others."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.efficiency.leavers import TIMES, LeaversCost, leavers_costs
from mls.analysis.intervals import Estimate
from mls.analysis.study import Study
from mls.config.axes import CANCEL_SHARE
from mls.report.plots.series import label
from mls.report.text.numbers import P95, interval, milliseconds, milliseconds_interval, number


def leavers_sentences(study: Study, model: str) -> list[Markup]:
    """A sentence for each cell of a model with hang-ups that has a counterpart without any."""
    names = [axis for axis in study.varying if axis not in ("model", CANCEL_SHARE)]
    costs = [one for one in leavers_costs(study) if one.cell.cell["model"] == model]
    return [_sentence(one, names) for one in costs]


def _sentence(one: LeaversCost, names: list[str]) -> Markup:
    at = label(one.cell, names)
    share = f"{one.cell.cell[CANCEL_SHARE]:.0%}"
    ratios = " and ".join(
        f"{TIMES[name]} is {number(ratio.value)} ×{_why(one, interval(ratio))}"
        for name, ratio in one.ratios.items()
    )
    freed = one.cell.estimates.get("hang_ups.in_reply.freed_ms")
    doubt = "" if one.trusted else " A check failed on one of the two cells."
    return Markup(
        "<b>Where users leave {} of the requests{}</b>, the others' {} those without{}.{}"
    ).format(share, f" ({at})" if at else "", ratios, _freed(freed), doubt)


def _why(one: LeaversCost, span: str) -> str:
    why = f"{P95} interval {span}" if span else "one repeat"
    return f" ({why}{', not measured together' if one.apart else ''})"


def _freed(freed: Estimate | None) -> str:
    if freed is None:
        return ""
    span = milliseconds_interval(freed)
    return (
        f"; whoever comes next at the place of one waits {milliseconds(freed.value)} longer than after a "
        f"complete reply{f' ({P95} interval {span})' if span else ''}"
    )
