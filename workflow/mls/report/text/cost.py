"""What tokens cost, in words."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.answer import ModelAnswer
from mls.analysis.efficiency.cost import KINDS, metric
from mls.analysis.study import Study
from mls.report.plots.series import label_or_load
from mls.report.text.numbers import P95, interval, number

NAMES = {"completion_tokens": "out", "prompt_tokens": "in", "tokens": "in and out together"}


def cost_sentences(answer: ModelAnswer, study: Study) -> list[Markup]:
    """The cost at the cell that serves most under the objectives, or at the fastest without any.

    Empty without a price, and where no such cell or no count of tokens is known.
    """
    slo = answer.under_slo
    fastest = answer.throughput.cell if answer.throughput else None
    cell = slo.cell if slo else fastest
    price = study.config.price.per_hour
    if cell is None or price is None:
        return []
    parts = [
        f"${number(one.value)}{f' ({span})' if (span := interval(one)) else ''} per million tokens {NAMES[kind]}"
        for kind in KINDS
        if (one := cell.estimates.get(metric(study.rates, kind)))
    ]
    if not parts:
        return []
    intervals = f"{P95} intervals; " if "(" in parts[0] else ""
    names = [axis for axis in study.naming if axis != "model"]
    return [
        Markup("<b>At ${} an hour, {} costs {}</b>{}{}.").format(
            f"{price:g}",
            label_or_load(cell, names),
            parts[0],
            "".join(f"; {part}" for part in parts[1:]),
            f" ({intervals}the whole price over the tokens of each kind)",
        )
    ]
