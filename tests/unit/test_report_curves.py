"""Numbers, lines and facts in the form in which the page shows them."""

import csv
import io
import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.synthetic import config

from mls.analysis.cell.result import CellResult
from mls.analysis.intervals import Estimate
from mls.analysis.study import read_study
from mls.report.pages.tree import node
from mls.report.plots.curves import MOST_POINTS, along
from mls.report.plots.frame.axis import MOST_TICKS, ticks_apart
from mls.report.plots.series import Facet, Series, layout, spread
from mls.report.plots.svg import style
from mls.report.text import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.99999, "1.00"), (1234.5, "1\u202f234"), (12.345, "12.3"), (0.01234, "0.0123"),
     (None, "–"), (float("nan"), "–"), (99.96, "100")],
)  # fmt: skip
def test_three_significant_digits(value, text):
    assert numbers.number(value) == text


def test_times_and_intervals_read_in_one_unit():
    assert numbers.milliseconds(950) == "950\u202fms"
    assert numbers.milliseconds(1500) == "1.50\u202fs"
    wide = Estimate(1500, -200, 3200, 3)
    assert numbers.milliseconds_interval(wide).replace("\u2060", "") == "0–3.20\u202fs"
    assert numbers.interval(Estimate(1, None, None, 1)) == ""


def test_spread_keeps_first_and_last():
    assert spread(list(range(100)), 5) == [0, 25, 50, 74, 99]
    assert spread([1, 2], 5) == [1, 2]


def test_many_lines_are_spread_over_drawings(tmp_path):
    sweep = config(
        sweep={"inflight": [1, 2], "prompt_words": [1, 2, 3, 4], "max_tokens": [1, 2, 4]}
    )
    drawings = layout(read_study(sweep, tmp_path))
    assert drawings.x == "inflight"
    assert [facet.title for facet in drawings.facets] == [f"prompt_words {n}" for n in (1, 2, 3, 4)]
    assert all(len(facet.series) == 3 for facet in drawings.facets)
    assert drawings.hidden == 0


def test_a_line_of_many_points_is_thinned_and_its_data_are_not():
    results = [
        CellResult({"inflight": n}, [], {"wall_s": Estimate(n, n - 0.5, n + 1, 3)}, {}, None)
        for n in range(1, 121)
    ]
    facet = Facet("", [Series("", results, 0, 0)])
    with style():
        plot = along("many", "Many", facet, "inflight", ["wall_s"], "s")
    assert plot.svg.count("<use ") < 4 * MOST_POINTS  # a marker and two caps each, and ticks
    assert plot.svg.count("<text") < 2 * MOST_TICKS
    assert "Drawn: 40 points of a line" in plot.note
    rows = list(csv.DictReader(io.StringIO(plot.data)))
    assert [int(row["inflight"]) for row in rows] == list(range(1, 121))


def test_an_interval_that_is_far_longer_than_its_value_does_not_hide_the_values():
    wide = {1: Estimate(10, 9, 11, 2), 2: Estimate(20, 0.001, 1e9, 2)}
    results = [CellResult({"inflight": n}, [], {"wall_s": e}, {}, None) for n, e in wide.items()]
    with style():
        plot = along(
            "wide", "Wide", Facet("", [Series("", results, 0, 0)]), "inflight", ["wall_s"], "s"
        )
    ticks = [float(text) for text in re.findall(r">(\d+)</text>", plot.svg)]
    assert max(ticks) <= 60
    assert "Cut off: intervals reach further" in plot.note
    assert "1e+09" in plot.data


@given(
    st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60, unique=True),
    st.sampled_from([float, math.log]),
)
def test_ticks_stand_apart_and_reach_from_the_first_to_the_last(values, scale):
    places = [place for _, place in ticks_apart([(str(v), v) for v in values], scale)]
    assert places[0] == min(values) and places[-1] == max(values)
    assert len(places) <= MOST_TICKS + 1
    least = (scale(places[-1]) - scale(places[0])) / MOST_TICKS
    assert all(scale(b) - scale(a) >= least * 0.999 for a, b in itertools.pairwise(places))


def test_nodes_of_recorded_facts():
    table_node = node({"a": {"version": 1}, "b": {"version": 2}})
    assert table_node.kind == "table"
    assert table_node.rows == (("a", "1"), ("b", "2"))
    assert node([1, 2]).text == "1, 2"
    assert node(None).text == "–"
    long = node("x" * 10_000)
    assert long.kind == "long"
    assert len(long.text) < 5_000
