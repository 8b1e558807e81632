"""Prompts from files: unusable rows are left out and counted; a bad file is one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.load import Load
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.datasets import draw_rows, read_dataset
from mls.load.workload.traces import read_trace

OPENAI = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
SHAREGPT = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]


def load(path, **keys):
    workload = Workload.model_validate({"kind": "dataset", "file": str(path)} | keys)
    return read_dataset(workload), workload


def draw(path, seed=1, requests=None, **keys):
    dataset, workload = load(path, **keys)
    return draw_rows(dataset, workload, seed, requests, lambda text: len(text.split()))


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_all_forms_are_understood(tmp_path):
    rows = [{"prompt": "a b"}, {"messages": OPENAI}, {"conversations": SHAREGPT}]
    draws = draw(lines(tmp_path / "d.jsonl", rows), requests=3)
    assert sorted(row.text for row in draws) == ["Q", "S\n\nQ", "a b"]
    assert all(row.messages[-1]["role"] == "user" for row in draws)


@given(st.integers(0, 2**62))
def test_a_seed_draws_rows_without_repeating_any(tmp_path_factory, seed):
    path = tmp_path_factory.getbasetemp() / "many.jsonl"
    if not path.exists():
        lines(path, [{"prompt": f"p{i}"} for i in range(40)])
    texts = [row.text for row in draw(path, seed, requests=25)]
    assert len(set(texts)) == 25
    assert texts == [row.text for row in draw(path, seed, requests=25)]
    assert texts == [row.text for row in draw(path, seed, requests=40)][:25]


def test_rows_are_filtered_by_their_tokens(tmp_path):
    path = lines(tmp_path / "d.jsonl", [{"prompt": "x " * n} for n in range(1, 21)])
    draws = draw(path, requests=5, min_prompt_tokens=4, max_prompt_tokens=12)
    assert all(4 <= len(row.text.split()) <= 12 for row in draws) and len(draws) == 5


def test_replacement_draws_more_than_there_are(tmp_path):
    path = lines(tmp_path / "d.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    dataset, workload = load(path, replace=True)
    rows = draw_rows(dataset, workload, 1, None, lambda _: None)
    prompts = make_prompts(Run(max_tokens=9), workload, 1, Materials(rows=rows))
    texts = [prompts(job).text for job in range(200)]
    assert 60 < texts.count("a") < 140
    assert prompts(-1).text not in ("a", "b")


def test_the_warm_up_has_lengths_of_the_trace_too(tmp_path):
    (tmp_path / "t.csv").write_text("time,output_tokens\n0,5\n1,5\n")
    trace = read_trace(Load(kind="trace", file=str(tmp_path / "t.csv")))
    path = lines(tmp_path / "d.jsonl", [{"prompt": "a"}])
    dataset, workload = load(path, output_tokens="trace")
    prompts = make_prompts(
        Run(max_tokens=9), workload, 1, Materials(rows=dataset.rows, trace=trace)
    )
    assert [prompts(job).attributes.output_tokens for job in (-1, 0)] == [5, 5]


@pytest.mark.parametrize(
    "turns, messages",
    [
        ([("gpt", "Hello."), ("human", "Hi?"), ("gpt", "Yes.")], [("user", "Hi?")]),
        ([("system", "Be brief."), ("human", "q?")], [("system", "Be brief."), ("user", "q?")]),
        ([("bing", "a"), ("bard", "b"), ("chatgpt", None), ("user", "q?")], [("user", "q?")]),
        ([("developer", "Be brief."), ("user", "q?")], [("system", "Be brief."), ("user", "q?")]),
        ([("tool", "7"), ("function_call", "f()"), ("human", "q?")], [("user", "q?")]),
        (
            [("System", "Be brief."), ("Human", "q?"), ("GPT", "a")],
            [("system", "Be brief."), ("user", "q?")],
        ),
        ([("human", "q?"), ("narrator", "…")], [("user", "q?")]),
        ([("human", [{"type": "text", "text": t} for t in "ab"])], [("user", "a\nb")]),
    ],
)
def test_a_conversation_is_what_leads_up_to_the_users_first_reply(tmp_path, turns, messages):
    rows = [
        {"conversations": [{"from": role, "value": text} for role, text in turns]},
        {"messages": [{"role": role, "content": text} for role, text in turns]},
        {"conversation": [{"role": role, "content": text} for role, text in turns]},
    ]
    dataset, _ = load(lines(tmp_path / "d.jsonl", rows))
    expected = [{"role": role, "content": text} for role, text in messages]
    assert [row.messages for row in dataset.rows] == [expected] * 3
    assert dataset.notes == ()


UNUSABLE = {
    "empty": ([], "conversations is empty"),
    "null": (None, "conversations is empty"),
    "no list": (3, "conversations is neither a text nor a list of messages"),
    "blank": (" ", "conversations is empty"),
    "one-sided": (SHAREGPT[1:], "conversations has no message of a user"),
    "empty value": ([{"from": "human", "value": ""}], "the first user message is empty"),
    "null value": ([{"from": "human", "value": None}], "the first user message is empty"),
    "number": ([{"from": "human", "value": 3}], "the first user message is not a text"),
    "picture": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        "the first user message has an image without url",
    ),
    "stranger": ([{"from": "narrator", "value": "…"}], "a message has the role 'narrator'"),
    "no role": (["Q"], "a message has the role 'None'"),
    "half a pair": ("cut \ud83e", "conversations has half of a surrogate pair"),
}


@pytest.mark.parametrize("cell, reason", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_row_is_left_out_and_said(tmp_path, cell, reason):
    path = lines(
        tmp_path / "d.jsonl",
        [{"conversations": each} for each in (SHAREGPT, cell, SHAREGPT, SHAREGPT, [])],
    )
    dataset, _ = load(path)
    assert len(dataset.rows) == 3
    assert dataset.notes == (
        f"workload.file: {path} is used in part: 2 of 5 rows can't be used "
        f"(the first: row 2, {reason}).",
    )


@given(st.integers(0, 2**62), st.lists(st.sampled_from(list(UNUSABLE)), max_size=10), st.data())
def test_leaving_rows_out_changes_neither_the_order_nor_what_a_seed_draws(
    tmp_path_factory, seed, names, data
):
    folder = tmp_path_factory.getbasetemp()
    clean = [{"conversations": f"p{i}"} for i in range(10)]
    mixed = list(clean)
    for name in names:
        place = data.draw(st.integers(0, len(mixed)))
        mixed.insert(place, {"conversations": UNUSABLE[name][0]})
    of_clean, workload = load(lines(folder / "clean.jsonl", clean))
    of_mixed, _ = load(lines(folder / "mixed.jsonl", mixed))
    assert of_mixed.rows == of_clean.rows and len(of_mixed.notes) == bool(names)
    draws = [draw_rows(each, workload, seed, 7, lambda _: None) for each in (of_clean, of_mixed)]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("good, refusal", [(0, True), (2, True), (3, False), (4, False)])
def test_more_than_half_of_the_rows_unusable_is_one_sentence(tmp_path, good, refusal):
    path = lines(tmp_path / "d.jsonl", [{"prompt": "a"}] * good + [{"prompt": ""}] * 3)
    if not refusal:
        assert len(load(path)[0].rows) == good
        return
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value) == (
        f"workload.file: {path} is not as expected: 3 of {good + 3} rows can't be used "
        f"(the first: row {good + 1}, prompt is empty); at least half of them must be usable."
    )


@pytest.mark.parametrize(
    "cell, tokens",
    [(8, 8), (8.0, 8), ("8", 8), ("8.0", 8), (" 8", 8)]
    + [(empty, None) for empty in ("", None, "nan", float("nan"))],
)
def test_lengths_are_whole_numbers_however_they_are_written(tmp_path, cell, tokens):
    path = lines(tmp_path / "d.jsonl", [{"prompt": "a", "n": cell}])
    assert load(path, columns={"output_tokens": "n"})[0].rows[0].output_tokens == tokens


@pytest.mark.parametrize(
    "prompt, length", [("prompt", "output_tokens_count"), ("text", "output_length")]
)
def test_files_of_guidellm_and_aiperf_need_no_columns(tmp_path, prompt, length):
    rows = [{prompt: "a b", length: 5}, {prompt: "c"}, {prompt: "d", length: None}]
    path = lines(tmp_path / "d.jsonl", rows)
    dataset, _ = load(path)
    assert [(row.text, row.output_tokens) for row in dataset.rows] == [
        ("a b", 5), ("c", None), ("d", None)
    ]  # fmt: skip
    assert dataset.notes == (f"workload.file: replies are as long as {length} of {path} says.",)
    path = lines(tmp_path / "d.jsonl", [row | {"n": 7} for row in rows])
    dataset, _ = load(path, columns={"output_tokens": "n"})
    assert [row.output_tokens for row in dataset.rows] == [7, 7, 7] and dataset.notes == ()


@pytest.mark.parametrize("endpoint, tokens", [("/v1/completions", 5), ("/v1/embeddings", None)])
def test_lengths_of_a_file_are_of_replies_alone(tmp_path, endpoint, tokens):
    path = lines(tmp_path / "d.jsonl", [{"text": "a", "output_length": 5}])
    rows = draw(path, requests=1)
    _, workload = load(path)
    make = make_prompts(Run(endpoint=endpoint), workload, 1, Materials(rows=rows))
    assert make(0).attributes.output_tokens == tokens


@pytest.mark.parametrize("cell", [0, "0", -1, 8.5, "soon", "inf", [8]])
def test_another_length_is_one_sentence(tmp_path, cell):
    path = lines(tmp_path / "d.jsonl", [{"prompt": "a", "n": 1}, {"prompt": "a", "n": cell}])
    with pytest.raises(UserError) as error:
        load(path, columns={"output_tokens": "n"})
    assert str(error.value) == (
        f"workload.file: row 2 of {path} has n {cell!r}; expected a whole number of at least 1."
    )


@pytest.mark.parametrize(
    "rows, keys, sentence",
    [
        ([], {}, "{path} has no rows."),
        (
            [{"question": "a"}],
            {},
            "row 1 of {path} has no column 'prompt'; it has question.",
        ),
        (
            [{"q": "x"}, {"q": "x"}, {"p": "x"}],
            {"columns": {"prompt": "q"}},
            "row 3 of {path} has no column 'q'; it has p.",
        ),
        (
            [{"prompt": "x"}],
            {"columns": {"output_tokens": "n"}},
            "row 1 of {path} has no column 'n'; it has prompt.",
        ),
        ([{"prompt": "a"}], {}, "{path} has 1 usable rows, and the run wants 4"),
        ([{"prompt": "a"}], {"min_prompt_tokens": 5}, "none of the 1 usable rows of {path}"),
    ],
)
def test_a_bad_dataset_is_one_sentence(tmp_path, rows, keys, sentence):
    path = lines(tmp_path / "d.jsonl", rows)
    with pytest.raises(UserError) as error:
        draw(path, requests=4, **keys)
    assert sentence.format(path=path) in str(error.value) and "\n" not in str(error.value)
