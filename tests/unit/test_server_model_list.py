"""Lists of models from servers and gateways, and the model that a run asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.server.model_list import explain, is_listed, model_to_ask_for, names, read_list

CHAT, EMBEDDINGS = Run(), Run(endpoint="/v1/embeddings")
REFUSAL = UserError("http://a/v1/chat/completions refused a request with HTTP 400: no such model")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "models", "id", "name", "aliases", "status", "value", "type"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def model_list(*ids):
    return {"object": "list", "data": [{"id": each} for each in ids]}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (model_list("a", "b"), ["a", "b"]),
        ([{"id": "a"}, {"id": "b"}], ["a", "b"]),
        ({"models": [{"name": "a:latest", "model": "a:latest"}]}, ["a:latest"]),
        ({"object": "list", "data": ["a", "b"]}, ["a", "b"]),
        ({"data": [{"id": "a", "aliases": ["x", 1]}, {"id": "a"}, {"id": 5}, None]}, ["a", "x"]),
        (model_list(), []),
        ({"object": "list", "data": None}, None),
        ({"error": "Unexpected endpoint or method."}, None),
        ("nothing", None),
    ],
)
def test_lists_of_all_shapes(data, expected):
    models = read_list(data)
    assert (models if models is None else names(models)) == expected


@given(JSON)
def test_any_json_is_a_list_or_none(data):
    models = read_list(data)
    assert models is None or all(isinstance(name, str) and name for name in names(models))
    model_to_ask_for(models, CHAT)


def states(**values):
    return {"data": [{"id": name, "status": {"value": value}} for name, value in values.items()]}


@pytest.mark.parametrize(
    ("data", "run", "name"),
    [
        (model_list("a", "b"), CHAT, "a"),
        (model_list("*", "openai/*", "b"), CHAT, "b"),
        (model_list("*"), CHAT, None),
        (model_list(), CHAT, None),
        (None, CHAT, None),
        (model_list("text-embedding-3", "bge-reranker", "whisper-1", "tts-1", "gpt"), CHAT, "gpt"),
        (model_list("text-embedding-3", "gpt"), EMBEDDINGS, "text-embedding-3"),
        (model_list("gpt", "nomic-embed"), EMBEDDINGS, "nomic-embed"),
        (model_list("nomic-embed"), CHAT, "nomic-embed"),
        (model_list("battts"), CHAT, "battts"),
        ([{"id": "x", "type": "embedding"}, {"id": "y", "type": "chat"}], CHAT, "y"),
        (states(a="unloaded", b="loaded"), CHAT, "b"),
        (states(a="unloaded", b="unloaded"), CHAT, "a"),
        (states(a="loading", b="sleeping", c="downloading", d="loaded"), CHAT, "d"),
    ],
)
def test_the_model_to_ask_for(data, run, name):
    assert model_to_ask_for(read_list(data), run) == name


def test_patterns_list_what_fits_them():
    models = read_list(model_list("openai/*", "b"))
    assert is_listed("openai/gpt-4o:free", models) and is_listed("b", models)
    assert not is_listed("c", models)


@pytest.mark.parametrize(
    ("served_as", "model", "data", "words"),
    [
        (
            "gtp",
            "gtp",
            model_list("gpt"),
            "doesn't list 'gtp' (did you mean 'gpt'?); it lists gpt: set",
        ),
        ("gpt", "gpt", model_list("gpt"), None),
        ("gpt", "gpt", None, None),
        (None, "a", model_list("a"), None),
        (
            None,
            "a",
            model_list("a", "b"),
            "asked for was 'a', of those that the server lists (a, b): set",
        ),
        (None, None, model_list("*"), "it lists *: set models.m.served_as"),
        (None, None, None, "it lists none: set models.m.served_as"),
        (
            None,
            "m0",
            model_list(*(f"m{n}" for n in range(60))),
            "m7…, 60 in all): set models.m.served",
        ),
    ],
)
def test_a_refusal_says_what_the_name_has_to_do_with_it(served_as, model, data, words):
    error = explain(REFUSAL, "m", served_as, model, read_list(data))
    assert str(error).startswith(str(REFUSAL))
    assert words in str(error) if words else error is REFUSAL


@pytest.mark.parametrize(
    "text",
    [
        "Server http://a can't be reached",
        "Server http://a answered HTTP 401",
        "http://a … HTTP 404",
    ],
)
def test_other_errors_say_nothing_of_names(text):
    error = UserError(text)
    assert explain(error, "m", None, "a", read_list(model_list("a", "b"))) is error
