"""Prompts of real text: their lengths, their shares, and that none is sent twice."""

import json
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.sections.workload import Lengths, Workload
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.load.canaries.plan import plan, ruled_out
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.replay import check_same, read_earlier
from mls.load.workload.text import corpus as corpus_module
from mls.load.workload.text import measurement, stored
from mls.load.workload.text.corpus import FUNCTIONS, PARAGRAPHS, paragraphs, read_corpus
from mls.load.workload.text.limits import check_lengths, repetition
from mls.load.workload.text.passages import OPENING_CHARACTERS
from mls.load.workload.text.texts import CANARY_JOBS
from mls.server.api import ServerApi

RUN = Run(max_tokens=9)
CORPUS = read_corpus()
CATEGORIES = ["prose", "code", "chat", "copy"]
BEFORE, AFTER, UNSAID = "<user>\n", "<end>\n<assistant>\n", 1
_PRETOKENS = re.compile(r" ?[A-Za-z]+| ?\d{1,3}| ?[^\sA-Za-z\d]+\n*|\s+(?!\S)|\s")


def pieces_of(text):
    """Tokens as byte-pair encodings make them: of words, no longer than five characters.

    As for many tokenizers, a word is other tokens with a blank before it than without.
    """
    return [word[at : at + 5] for word in _PRETOKENS.findall(text) for at in range(0, len(word), 5)]


def tokens_of(text):
    return len(pieces_of(f"{BEFORE}{text}{AFTER}"))


def prompt_tokens(text):
    return tokens_of(text) + UNSAID


def measured(run=RUN):
    samples = {kind: measurement._beginning(text, 200) for kind, text in CORPUS.texts.items()}
    usage = prompt_tokens(samples["prose"])
    api = SimpleNamespace(token_pieces=pieces_of)
    return measurement._counted(api, run, CORPUS, tokens_of, samples, usage)


TEXTS = measured()
LEAST, MOST = TEXTS.limits(CATEGORIES)


def prompts(seed=1, run=RUN, texts=TEXTS, **keys):
    workload = Workload.model_validate({"kind": "text"} | keys)
    return make_prompts(run, workload, seed, Materials(texts=texts))


# --- the corpus ---


def test_the_corpus_is_running_text_and_whole_functions():
    assert CORPUS.prose.isascii() and CORPUS.code.isascii()
    sentences = CORPUS.prose.split(PARAGRAPHS)
    functions = CORPUS.code.split(FUNCTIONS)
    assert len(sentences) > 1000 and len(functions) > 500
    assert len(set(sentences)) == len(sentences)
    for paragraph in sentences:
        assert "\n" not in paragraph and "::=" not in paragraph and paragraph[0].isupper()
    for function in functions:
        assert function.startswith(("def ", "async def "))
    assert 'The "if" statement is used for conditional execution:' not in CORPUS.prose  # too short
    assert "It selects exactly one of the suites by evaluating the expressions" in CORPUS.prose
    assert read_corpus().sha256 == CORPUS.sha256


def test_markup_lists_grammars_and_examples_are_no_prose():
    text = """
    The "if" statement
    ******************

       if_stmt ::= "if" assignment_expression ":" suite, and so on and so on and on.

    An *exception* is raised where the ``error`` is seen: see :func:`repr` for a read-
    only view of it, and “more”.

    * An item of a list that is long enough to be a paragraph by its number of words.

       >>> print("An example that is long enough to be taken for a paragraph of prose.")

    Too short a paragraph.
    """
    assert list(paragraphs(text)) == [
        "An exception is raised where the error is seen: see repr for a read-only view of it, and "
        '"more".'
    ]


@pytest.mark.parametrize("part, words", [("_topics", "pydoc_data"), ("_sources", "sources of")])
def test_a_python_without_its_texts_is_one_sentence(monkeypatch, part, words):
    monkeypatch.setattr(corpus_module, part, list)
    with pytest.raises(UserError, match=f"workload.kind: .* has no {words}.*kind to dataset"):
        read_corpus()


def kept_corpus(folder, monkeypatch):
    """(the corpus with this folder, whether it was read out anew)."""
    calls = []
    read = corpus_module._read
    monkeypatch.setattr(corpus_module, "_read", lambda *args: calls.append(0) or read(*args))
    corpus = read_corpus(folder)
    monkeypatch.setattr(corpus_module, "_read", read)
    return corpus, bool(calls)


def test_the_corpus_is_read_out_once(tmp_path, monkeypatch):
    assert kept_corpus(tmp_path, monkeypatch) == (CORPUS, True)
    assert kept_corpus(tmp_path, monkeypatch) == (CORPUS, False)


@pytest.mark.parametrize("part", ["_topics", "_sources"])
def test_another_pythons_texts_have_another_corpus(tmp_path, monkeypatch, part):
    """Also under the same version, as distributions patch it."""
    kept_corpus(tmp_path, monkeypatch)
    texts = list(getattr(corpus_module, part)())
    monkeypatch.setattr(corpus_module, part, lambda: texts[1:])
    corpus, anew = kept_corpus(tmp_path, monkeypatch)
    assert anew and corpus != CORPUS


def test_a_damaged_corpus_is_read_out_anew(tmp_path, monkeypatch):
    kept_corpus(tmp_path, monkeypatch)
    (path,) = tmp_path.iterdir()
    whole = path.read_text()
    for damaged in (whole[:-9], whole.replace("raised", "braised", 1), "[]", '{"prose": ""}'):
        path.write_text(damaged)
        assert kept_corpus(tmp_path, monkeypatch) == (CORPUS, True)
        assert path.read_text() == whole


# --- lengths ---


@given(
    st.integers(0, 2**63),
    st.integers(-50, 300) | st.integers(CANARY_JOBS, CANARY_JOBS + 50),
    st.integers(LEAST, 3000),
    st.sampled_from([[category] for category in CATEGORIES] + [CATEGORIES]),
)
def test_prompts_have_exactly_the_tokens_asked_for(seed, job, tokens, categories):
    prompt = prompts(seed, prompt_tokens=tokens, categories=categories)(job)
    assert prompt_tokens(prompt.text) == tokens == prompt.attributes.prompt_tokens
    assert prompt.attributes.category in categories
    assert prompt.attributes.output_tokens == 9


def test_so_have_prompts_of_drawn_lengths_on_an_endpoint_without_chat():
    run = Run(endpoint="/v1/completions")
    lengths = Lengths(distribution="lognormal", mean=200, std=150, min=LEAST + 20, max=2000)
    make = prompts(run=run, texts=measured(run), prompt_tokens=lengths)
    for job in range(400):
        prompt = make(job)
        assert prompt_tokens(prompt.text) == prompt.attributes.prompt_tokens


def test_lengths_that_the_text_does_not_have_are_one_sentence():
    workload = Workload(kind="text")
    check_lengths(TEXTS, workload, [LEAST, MOST])
    with pytest.raises(UserError, match=f"{LEAST - 1} tokens can't be had: .* at least that"):
        check_lengths(TEXTS, workload, [LEAST - 1, MOST])
    with pytest.raises(UserError, match=f"{MOST + 1} tokens can't be had: .* for {MOST}"):
        check_lengths(TEXTS, workload, [MOST + 1])


# --- what is drawn ---


@given(st.integers(0, 2**63), st.lists(st.sampled_from(CATEGORIES), min_size=1, unique=True))
def test_each_category_has_its_share_of_any_run(seed, categories):
    make = prompts(seed, categories=categories)
    drawn = [make(job).attributes.category for job in range(8 * len(categories))]
    for begin in range(0, len(drawn), len(categories)):
        assert sorted(drawn[begin : begin + len(categories)]) == sorted(categories)


def test_ranks_that_make_only_some_of_the_jobs_make_the_same_prompts():
    one, other = prompts(5), prompts(5)
    everything = [one(job) for job in range(200)]
    for rank in range(3):
        for job in range(197 - rank, 0, -3):  # in any order
            assert other(job) == everything[job]


def test_no_two_prompts_begin_alike_and_none_is_of_another_run():
    make, another = prompts(1), prompts(2)
    texts = [make(job).text for job in range(5000)]
    texts += [make(-1 - job).text for job in range(100)]
    texts += [make(CANARY_JOBS + job).text for job in range(100)]
    assert len({text[:OPENING_CHARACTERS] for text in texts}) == len(texts)
    assert [another(job).text for job in range(100)] != texts[:100]
    assert repetition(texts) == ()


def test_when_there_are_no_more_beginnings_the_user_is_told():
    make = prompts(categories=["code"])
    (note,) = repetition(make(job).text for job in range(10_000))
    again = int(re.match(r"workload: (\d+) of the first 10000 prompts begin as", note)[1])
    assert 1000 < again < 9000


def test_sentences_and_functions_are_drawn_first():
    make = prompts(prompt_tokens=100)
    for job in range(300):
        text = make(job).text
        assert text[0].isupper() or text.startswith(("def ", "async "))


def test_what_is_asked_stands_after_the_passage():
    make = prompts(prompt_tokens=100)
    by_category = {make(job).attributes.category: make(job).text for job in range(4)}
    assert by_category["copy"].endswith("word for word, and write nothing else.")
    asked = Counter(
        prompt.text.rpartition("\n\n")[2]
        for job in range(96)
        if (prompt := make(job)).attributes.category == "chat"
    )
    assert len(asked) == 6 and set(asked.values()) == {4}
    bodies = WorkloadBodies(RUN, "m", make)
    for job in range(4):
        prompt, opening = make(job), bodies.opening(job)
        is_copy = prompt.attributes.category == "copy"  # to which an echo is the right reply
        assert opening == ("" if is_copy else prompt.text[:64])
        assert json.loads(bodies.body(job))["messages"] == [
            {"role": "user", "content": prompt.text}
        ]


def test_categories_are_different_ones_and_of_this_kind_alone():
    with pytest.raises(ValueError, match="categories must be different"):
        Workload(kind="text", categories=["code", "code"])
    with pytest.raises(ValueError, match="categories goes with kind text"):
        Workload(kind="synthetic", categories=["code"])


def test_a_replay_is_of_the_same_corpus(tmp_path):
    make = prompts(77, prompt_tokens=100)
    workload = Workload(kind="text", prompt_tokens=100)
    config = {"seed": 77, "run": RUN.model_dump(), "workload": workload.model_dump()}
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    hashes = [make(job).sha256 for job in range(6)]
    pq.write_table(
        pa.table({"job": range(6), "prompt_sha256": hashes}), tmp_path / "requests.parquet"
    )
    replay = Workload(kind="replay", file=str(tmp_path))
    earlier = read_earlier(replay)

    def hashes_of(texts):
        again = make_prompts(RUN, replay, 1, Materials(texts=texts, earlier=earlier))
        return lambda job: again(job).sha256

    check_same(earlier, hashes_of(TEXTS), 6)
    prose = TEXTS.passages["prose"]
    shouted = replace(prose, text=prose.text.upper())  # stands for another Python's
    other = replace(TEXTS, passages=TEXTS.passages | {"prose": shouted})
    with pytest.raises(UserError, match=r"can't be made again: .* Python"):
        check_same(earlier, hashes_of(other), 6)


def test_canaries_are_of_all_categories_and_the_same_in_each_repeat():
    run = {"iters": 40, "inflight": 2, "ranks": 2}
    config = parse_config(
        {"name": "t", "models": {"m": {}}, "run": run, "workload": {"kind": "text"}}
    )
    (point,) = [settings(config, cell, 1) for cell in cells(config)]
    assert ruled_out(point) is None
    materials = Materials(texts=TEXTS)
    one, other = (plan(point, 1, seed, materials).prompts for seed in (5, 6))
    assert one == other
    assert sorted(prompt.attributes.category for prompt in one) == sorted(CATEGORIES)


# --- the server as the tokenizer ---


def answers(reply, tokenizer, usage=True):
    def tokenize(request):
        body = json.loads(request.body)
        tokens = pieces_of(body["content"])
        return reply(json.dumps(tokenizer(body, tokens)).encode())

    def template(request):
        (message,) = json.loads(request.body)["messages"]
        return reply(json.dumps({"prompt": f"{BEFORE}{message['content']}{AFTER}"}).encode())

    def complete(request):
        (message,) = json.loads(request.body)["messages"]
        counts = {"prompt_tokens": prompt_tokens(message["content"])} if usage else {}
        choice = {"message": {"content": "a"}, "finish_reason": "length"}
        return reply(json.dumps({"choices": [choice], "usage": counts}).encode())

    replies = {"/v1/chat/completions": complete}
    return replies | ({"/tokenize": tokenize, "/apply-template": template} if tokenizer else {})


def llama_cpp(body, tokens):
    if body.get("with_pieces"):
        return {"tokens": [{"id": 0, "piece": piece} for piece in tokens]}
    return {"tokens": [0] * len(tokens)}


def vllm(body, tokens):
    marks = str.maketrans({" ": "Ġ", "\n": "Ċ"})
    strings = [piece.translate(marks) for piece in tokens]
    return {"tokens": [0] * len(tokens)} | (
        {"token_strs": strings} if body.get("return_token_strs") else {}
    )


@pytest.mark.parametrize("tokenizer", [llama_cpp, vllm])
def test_a_server_that_names_its_tokens_makes_lengths_exact(
    make_server, reply, tmp_path, tokenizer
):
    server = make_server(answers(reply, tokenizer))
    api = ServerApi(server.url)
    texts = measurement.measure(api, RUN, None, "m", CORPUS, tmp_path, "a" * 64)
    assert texts.exact and len(server.seen) < 600
    make = prompts(texts=texts, prompt_tokens=LEAST + 90)
    for job in range(40):
        assert prompt_tokens(make(job).text) == LEAST + 90
    count = len(server.seen)
    again = measurement.measure(api, RUN, None, "m", CORPUS, tmp_path, "a" * 64)
    assert len(server.seen) == count + 1  # the one about the server itself
    make_again = prompts(texts=again, prompt_tokens=LEAST + 90)
    assert [make_again(job) for job in range(40)] == [make(job) for job in range(40)]


@pytest.mark.parametrize("tokenizer", [None, lambda body, tokens: {"tokens": [0] * len(tokens)}])
def test_without_names_of_tokens_lengths_are_estimated(make_server, reply, tmp_path, tokenizer):
    server = make_server(answers(reply, tokenizer))
    texts = measurement.measure(ServerApi(server.url), RUN, None, "m", CORPUS, tmp_path, "a" * 64)
    assert not texts.exact and list(tmp_path.iterdir()) == []
    make = prompts(texts=texts, prompt_tokens=1000)
    for job in range(40):
        assert prompt_tokens(make(job).text) == pytest.approx(1000, rel=0.4)


def test_without_anything_to_count_by_it_is_one_sentence(make_server, reply):
    server = make_server(answers(reply, None, usage=False))
    with pytest.raises(UserError, match=r"neither a /tokenize that says .* nor `usage`"):
        measurement.measure(ServerApi(server.url), RUN, None, "m", CORPUS, None, None)


def test_a_tokenizer_that_merges_across_borders_is_seen():
    """As a prompt's last word and what follows it become one token, no sum holds."""

    def merging(text):
        return tokens_of(text) - text.endswith("t")

    api = SimpleNamespace(token_pieces=pieces_of)
    samples = {kind: measurement._beginning(text, 200) for kind, text in CORPUS.texts.items()}
    assert not measurement._counted(api, RUN, CORPUS, merging, samples, None).exact


def test_a_damaged_file_of_measured_texts_is_measured_anew(tmp_path):
    path = tmp_path / "text.npz"
    whole = stored.packed(TEXTS)
    for data in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(data)
        assert stored.read(path, CORPUS) is None
    path.write_bytes(whole)
    assert stored.read(path, CORPUS).tails == TEXTS.tails
