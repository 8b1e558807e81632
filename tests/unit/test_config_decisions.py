"""`run.rounds`: the number of requests, and the keys that exclude it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.cells import cells, parse_cell
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.report.text.plan import load_words

few = st.integers(1, 500)
perhaps = st.none() | few


def config(**keys):
    return parse_config({"models": {"m": {}}} | keys)


def requests(**keys):
    sweep = config(**keys)
    return [settings(sweep, cell, 1).requests for cell in cells(sweep)]


@given(inflight=few, rounds=perhaps, iters=perhaps)
def test_every_place_has_its_rounds_and_iters_is_the_least(inflight, rounds, iters):
    count = Run(inflight=inflight, ranks=1, rounds=rounds, iters=iters).requests
    assert count is not None
    if rounds is None and iters is None:
        assert count == 64
    else:
        assert count in ((rounds or 0) * inflight, iters)
        assert count >= (rounds or 0) * inflight and count >= (iters or 0)


def test_it_grows_with_the_inflight_of_a_cell_and_may_be_an_axis():
    sweep = {"inflight": [1, 4, 16]}
    assert requests(run={"rounds": 12}, sweep=sweep) == [12, 48, 192]
    assert requests(run={"rounds": 12, "iters": 24}, sweep=sweep) == [24, 48, 192]
    assert requests(sweep=sweep | {"rounds": [3, 6]}) == [3, 6, 12, 24, 48, 96]


def test_an_axis_takes_the_place_of_the_other_way_to_end_a_run():
    assert requests(run={"duration_s": 5.0}, sweep={"rounds": [2]}) == [16]
    assert requests(run={"rounds": 5}, sweep={"duration_s": [2.0]}) == [None]


def test_a_searched_inflight_has_its_rounds():
    sweep = config(run={"rounds": 3}, search={"low": 1, "high": 64})
    assert settings(sweep, parse_cell(sweep, ["inflight=40"]), 1).requests == 120


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"run": {"rounds": 2, "duration_s": 5.0}}, "give `rounds` or `duration_s`, not both"),
        ({"run": {"rounds": 0}}, "run.rounds"),
        (
            {"run": {"rounds": 2}, "load": {"kind": "poisson", "rate": 1}},
            "run.rounds: in an open loop (load.kind poisson) no place sends",
        ),
        ({"run": {"rounds": 2}, "load": {"kind": "trace", "file": "a.csv"}}, "run.rounds: in an open"),
        (
            {
                "run": {"rounds": 2},
                "load": {"kind": "stages", "stages": [{"kind": "constant", "rate": 1, "duration_s": 1}]},
            },
            "run.rounds: in an open loop",
        ),
    ],
)  # fmt: skip
def test_what_it_does_not_go_with_is_one_sentence(keys, words):
    with pytest.raises(UserError) as error:
        cells(config(**keys))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_page_says_it():
    assert "12 × inflight requests a repeat" in load_words(config(run={"rounds": 12}))
    both = load_words(config(run={"rounds": 12, "iters": 24}))
    assert "12 × inflight requests, but at least 24, a repeat" in both
    talks = config(run={"rounds": 2}, workload={"kind": "conversation"})
    assert "2 × inflight conversations a repeat" in load_words(talks)
