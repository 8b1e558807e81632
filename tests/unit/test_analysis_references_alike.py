"""Do servers of like cells say the same alone? Planted replies, and the cells that are named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.references import reference, sweep_of
from tests.unit.synthetic import config, write_repeat, write_results

from mls.analysis.canaries.references import parting
from mls.analysis.checks.cells.references_alike import references_alike
from mls.analysis.checks.divergence import Count
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.sections.checks import Checks

RIGHT = "The quick brown fox jumps over the lazy dog, and goes on for a while as it did before. "
"""What the right model says to each canary, after the canary's number."""
WRONG = RIGHT.upper()


def said(number, text=RIGHT):
    return f"{number} {text * 3}"


def statuses(sweep, checks=None):
    return [v and v.status for v in references_alike(sweep, checks or Checks())]


def plain(count, repeats=3, canaries=4):
    """Cells whose servers all say the same."""
    return [[[said(c) for c in range(canaries)] for _ in range(repeats)] for _ in range(count)]


def test_the_place_at_which_texts_part():
    whole = reference(RIGHT, tokens=20)
    assert parting(whole, reference(RIGHT)) == (False, 20)
    late = parting(whole, reference(RIGHT[:40] + "#" + RIGHT[41:]))
    assert late == (True, pytest.approx(20 * 32 / len(RIGHT)))
    assert parting(whole, reference(WRONG)) == (True, 0)
    assert parting(reference(RIGHT[:32], tokens=8), whole) == (True, 8)
    assert parting(reference(""), whole) == (True, 0)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.lists(st.integers(0, 90), min_size=1, max_size=6),
)
def test_the_same_replies_pass_or_are_too_few(repeats, tokens):
    """However many repeats say it, a canary's tokens count once."""
    texts = [said(number) for number in range(len(tokens))]
    sweep = sweep_of([[texts] * count for count in repeats], tokens=tokens)
    for cell, verdict in zip(sweep, references_alike(sweep, Checks()), strict=True):
        if len(repeats) == 1 and len(cell.ok) == 1:
            assert verdict is None
        else:
            assert verdict.status == ("pass" if sum(tokens) >= 29 else "unknown")


@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=6),
    st.integers(2, 5),
    st.data(),
)
def test_one_odd_cell_among_three_is_the_one_that_is_named(repeats, canaries, data):
    """Also where it has more repeats than all the others together, as with `repeats: auto`."""
    odd = data.draw(st.integers(0, len(repeats) - 1))
    texts = [
        [[said(c, WRONG if i == odd else RIGHT) for c in range(canaries)]] * count
        for i, count in enumerate(repeats)
    ]
    named = statuses(sweep_of(texts))
    assert named == ["fail" if i == odd else "pass" for i in range(len(repeats))]


@given(st.permutations(range(5)), st.data())
def test_the_order_of_the_cells_does_not_matter(order, data):
    kinds = st.sampled_from([RIGHT, WRONG, RIGHT[:50] + WRONG])
    texts = [
        [[said(c, data.draw(kinds)) for c in range(3)] for _ in range(data.draw(st.integers(1, 3)))]
        for _ in order
    ]
    straight = references_alike(sweep_of(texts), Checks())
    shuffled = references_alike(sweep_of([texts[i] for i in order]), Checks())
    assert [v.model_dump() for v in shuffled] == [straight[i].model_dump() for i in order]


def test_a_wrong_quantization_in_one_cell(tmp_path):
    """It goes by the right name, and all that the server says of itself is as in the other cells."""
    sweep = config(repeats=2)
    write_results(sweep, tmp_path)
    for repeat in (1, 2):
        folder = write_repeat(sweep, tmp_path, cells(sweep)[1], repeat)
        data = json.loads((folder / "run.json").read_text())
        for number, one in enumerate(data["canaries"]["references"]):
            one["prefixes"][number:] = [f"other {place}" for place in range(number, 5)]
        (folder / "run.json").write_text(json.dumps(data))
    study = read_study(sweep, tmp_path)
    found = {v.check: v for v in study.cells[1].verdicts}
    assert found["same_thing_measured"].status == "pass"
    assert found["references_alike"].status == "fail"
    message = found["references_alike"].message
    assert "2 of 2 canaries otherwise" in message and "(repeat 1, 2)" in message
    assert "another quantization" in message
    assert [cell.checks("fail") for cell in study.cells] == [{}, {"references_alike": 1}, {}]


def test_one_repeat_on_a_wrong_server_is_named():
    texts = plain(3)
    texts[1][2] = [said(c, WRONG) for c in range(4)]
    verdicts = references_alike(sweep_of(texts), Checks())
    assert [v.status for v in verdicts] == ["pass", "fail", "pass"]
    assert "(repeat 3)" in verdicts[1].message


def test_of_two_cells_neither_is_known_to_be_the_right_one():
    texts = [*plain(1), [[said(c, WRONG) for c in range(4)]] * 3]
    assert statuses(sweep_of(texts)) == ["fail", "fail"]


@pytest.mark.parametrize("repeats", [1, 3])
def test_servers_that_all_differ_have_no_odd_one(repeats):
    """A server may make its weights by chance at its start (vLLM's `--load-format dummy`)."""
    texts = [
        [[said(c, f"{cell}{repeat}" + RIGHT) for c in range(4)] for repeat in range(repeats)]
        for cell in range(4)
    ]
    verdicts = references_alike(sweep_of(texts), Checks())
    assert {v.status for v in verdicts} == {"unknown"}
    assert "anyway" in verdicts[0].message


def test_a_late_difference_of_one_reply_is_no_other_server():
    """Of many cells one is always the one whose low bits made another token the likeliest."""
    texts = plain(30)
    texts[7][1][0] = said(0, RIGHT)[:200] + "#"
    assert set(statuses(sweep_of(texts, tokens=[64] * 4))) == {"pass"}


def test_rare_differences_that_no_other_cell_has_are_a_warning():
    texts = plain(4)
    texts[2] = [[said(c)[:200] + "#" * 60 for c in range(4)]] * 3
    assert statuses(sweep_of(texts, tokens=[64] * 4)) == ["pass", "pass", "warn", "pass"]
    assert Count(4, 4 * 48).least < Checks().diverging_tokens


def test_a_server_that_differs_from_itself_when_it_is_asked_again():
    texts = plain(3)
    texts[0] = [[said(c, WRONG) for c in range(4)]] * 3
    assert statuses(sweep_of(texts, again=True)) == ["unknown", "pass", "pass"]


def test_what_is_asked_otherwise_is_not_held_against_it():
    other = [[[said(c, WRONG) for c in range(4)]]]
    apart: list[dict[str, dict[str, object]]] = [
        {"server": {"cache_type_k": "q4_0"}},
        {"run": {"max_tokens": 16}},
        {"run": {"request_extra": {"top_k": 1}}},
        {"workload": {"system": "Be brief."}},
    ]
    for settings in apart:
        sweep = sweep_of(plain(2)) + sweep_of(other, **settings)
        assert statuses(sweep) == ["pass", "pass", None]
    sweep = sweep_of(plain(2)) + sweep_of(other, server={"parallel": 2, "port": 9000})
    assert statuses(sweep) == ["pass", "pass", "fail"]


def test_without_references_there_is_no_verdict():
    assert statuses(sweep_of([[[]], [[]]])) == [None, None]
    assert statuses(sweep_of(plain(1, repeats=1))) == [None]
    sweep = sweep_of(plain(2))
    for repeat in sweep[0].ok:
        repeat.result.canaries = None
    assert statuses(sweep) == [None, "pass"]
