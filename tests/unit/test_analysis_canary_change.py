"""Greedy replies alone of two sets of results: how many differ, in each form of a comparison."""

import dataclasses
import json

import pytest
from tests.unit.comparisons import folder_of
from tests.unit.pages import Page
from tests.unit.references import sweep_of
from tests.unit.synthetic import config

from mls.analysis.canaries.axes import axis_changes
from mls.analysis.canaries.change import CanaryChange, canary_change
from mls.commands.compare import compare_results
from mls.report.text.canaries import axis_sentence, change_sentence

pytestmark = pytest.mark.usefixtures("blank_drawings")

TEXT = "What a server says to a canary, which is the same as long as nothing changes. "


def change_of(base, new, axes=None):
    """The change between cells of two sides; axes: of each pair, by default those of the base."""
    given = axes or [cell.cell for cell in base]
    return canary_change(zip(given, base, new, strict=True))


def test_a_canary_of_many_cells_counts_once():
    base = sweep_of([[[TEXT, TEXT + "1"]] * 3] * 2)
    assert change_of(base, base) == CanaryChange(2, 0, 64, None)
    new = sweep_of([[[TEXT, TEXT[:40] + TEXT]] * 3] * 2)
    changed = change_of(base, new)
    assert (changed.canaries, changed.different) == (2, 1)
    assert changed.before == pytest.approx(32 * 32 / len(TEXT + "1"))


def test_the_text_of_most_repeats_counts():
    base = sweep_of([[[TEXT]] * 3])
    assert change_of(base, sweep_of([[[TEXT], ["#"], [TEXT]]])).different == 0
    assert change_of(base, sweep_of([[["#"], [TEXT], ["#"]]])).different == 1
    assert change_of(base, sweep_of([[["#"], [TEXT]]])).different == 0


def test_settings_of_the_server_may_differ_but_not_the_axes():
    base = sweep_of([[[TEXT]]], server={"cache_type_k": "f16"})
    new = sweep_of([[[TEXT]]], server={"cache_type_k": "q4_0"})
    assert change_of(base, new) == CanaryChange(1, 0, 32, None)
    types = [{"model": "smollm2", "inflight": 4, "cache_type_k": each} for each in ("f16", "q4_0")]
    both = sweep_of([[[TEXT]], [["#"]]])
    assert change_of(both, both, types) == CanaryChange(2, 0, 64, None)


def test_what_is_asked_otherwise_is_not_in_common():
    base = sweep_of([[[TEXT]]])
    assert change_of(base, sweep_of([[[TEXT]]], run={"max_tokens": 8})) is None
    assert change_of(base, sweep_of([[[]]])) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            CanaryChange(16, 12, 300, 20.4),
            "12 of 16 greedy replies alone differ, after 20 tokens in the median.",
        ),
        (
            CanaryChange(4, 1, 90, 3),
            "1 of 4 greedy replies alone differs, after 3 tokens.",
        ),
        (CanaryChange(4, 0, 256, None), "All 4 greedy replies alone are the same (256 tokens)."),
        (CanaryChange(2, 0, 32, None), "Both greedy replies alone are the same (32 tokens)."),
        (CanaryChange(1, 0, 16, None), "The greedy reply alone is the same (16 tokens)."),
    ],
)
def test_sentences(change, sentence):
    assert change_sentence(change) == sentence


def test_each_form_of_a_comparison_says_it(tmp_path, capsys):
    sweep = config(sweep={"inflight": [2]})
    base, new, old = (folder_of(sweep, tmp_path / name) for name in ("base", "new", "old"))
    for folder in (new, old):
        for path in folder.rglob("run.json"):
            data = json.loads(path.read_text())
            data["canaries"]["references"][0]["prefixes"][1] = "another"
            if folder == old:
                del data["canaries"]
            path.write_text(json.dumps(data))
    page = tmp_path / "compare.html"
    sentence = "1 of 2 greedy replies alone differs, after 3 tokens."
    for form in ("text", "markdown"):
        compare_results(base, new, page, None, form)
        assert sentence in capsys.readouterr().out.splitlines()
    assert sentence in "".join(Page(page.read_text()).text)
    compare_results(base, new, page, None, "json")
    canaries = json.loads(capsys.readouterr().out)["canaries"]
    assert canaries == {"canaries": 2, "different": 1, "tokens": 19.2, "before": 3.2}
    compare_results(base, old, page, None, "json")
    assert json.loads(capsys.readouterr().out)["canaries"] is None
    assert "greedy" not in page.read_text()


def grid(texts, **values):
    """The sweep of these texts, whose cells have these values of further axes, one a cell."""
    points = [dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True)]
    return [
        dataclasses.replace(cell, cell={"model": "smollm2", "inflight": 4} | point)
        for cell, point in zip(sweep_of(texts), points, strict=True)
    ]


def test_what_an_axis_of_the_server_changes_is_said():
    """Once a sweep over types of the cache said nothing of it."""
    cells = grid([[[TEXT, TEXT]], [[TEXT, "#"]]], cache_type_k=["f16", "q8_0"])
    (along,) = axis_changes(cells, ["cache_type_k"])
    assert axis_sentence(along) == (
        "cache_type_k q8_0 against f16: 1 of 2 greedy replies alone differs, after 0 tokens."
    )


def test_speculation_is_held_against_none_at_the_same_inflight():
    texts = [[[TEXT]], [["#"]], [[TEXT]], [["#"]]]
    cells = grid(texts, speculation=["off", "ngram-mod"] * 2, inflight=[1, 1, 8, 8])
    (along,) = axis_changes(cells, ["inflight", "speculation"])
    assert (along.axis, along.base, along.value) == ("speculation", "off", "ngram-mod")
    assert (along.change.canaries, along.change.different) == (1, 1)  # one prompt, asked in both


@pytest.mark.parametrize("axis", ["model", "inflight", "prompt_tokens", "parallel"])
def test_axes_of_the_load_and_of_places_are_no_change_of_the_server(axis):
    assert axis_changes(grid([[[TEXT]], [["#"]]], **{axis: [1, 2]}), [axis]) == []


def test_cells_that_differ_in_two_axes_are_not_held_against_each_other():
    cells = grid([[[TEXT]], [["#"]]], cache_type_k=["f16", "q8_0"], threads=[1, 2])
    assert axis_changes(cells, ["cache_type_k", "threads"]) == []
