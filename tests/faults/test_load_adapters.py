"""Adapters on the wire and in the records, and servers that lack what is asked for."""

import json

import pytest
from tests.faults.driving import assert_good, rows
from tests.servers.misbehaving import Misbehaving
from tests.unit.synthetic import to_table

from mls.analysis.repeat.breakdown import parts
from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.protocol.request import Target
from mls.server.adapters import check_adapters
from mls.server.api import ServerApi

pytestmark = pytest.mark.timeout(60)
ADAPTERS = [
    {"name": "off", "lora": [{"id": 0, "scale": 0.0}]},
    {"name": "on", "weight": 3, "lora": [{"id": 1}]},
]
THERE = [{"id": 0, "path": "/a.gguf", "scale": 1.0}, {"id": 1, "path": "/b.gguf", "scale": 1.0}]


@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_the_server_is_asked_for_what_the_records_say(transport):
    with Misbehaving({}) as server:
        records = rows(server.url, transport=transport, iters=24, adapters=ADAPTERS)
        asked = {request.job: json.loads(request.body)["lora"] for request in server.requests}
    for row in records:
        assert_good(row)
        assert asked[row["job"]][0]["id"] == row["adapter"]
    counts = [sum(row["adapter"] == number for row in records) for number in (0, 1)]
    assert [(part.number, part.requests) for part in parts([to_table(records)], "adapter")] == [
        (1, counts[0]),
        (2, counts[1]),
    ]
    assert 0 < counts[0] < counts[1]


def check(make_server, reply, there, endpoint="/v1/chat/completions"):
    answers = {} if there is None else {"/lora-adapters": reply(json.dumps(there).encode())}
    api = ServerApi(Target(make_server(answers).url))
    check_adapters(api, Run.model_validate({"adapters": ADAPTERS, "endpoint": endpoint}))


@pytest.mark.parametrize("there", [THERE, None])
def test_a_server_that_has_them_or_does_not_say_is_asked(make_server, reply, there):
    check(make_server, reply, there)


@pytest.mark.parametrize(
    "there, words", [(THERE[:1], "LoRA 1, and the server has 0 (/a.gguf);"), ([], "has none;")]
)
def test_an_adapter_that_the_server_lacks_is_one_sentence(make_server, reply, there, words):
    with pytest.raises(UserError) as error:
        check(make_server, reply, there)
    assert str(error.value).startswith("run.adapters: o") and words in str(error.value)


def test_an_endpoint_that_drops_them_is_one_sentence(make_server, reply):
    with pytest.raises(UserError, match="from every endpoint but /v1/messages"):
        check(make_server, reply, THERE, "/v1/messages")


def test_a_model_that_a_llama_cpp_would_answer_with_its_own_is_one_sentence(make_server, reply):
    """Real ones do so for any name; a router has several."""
    answers = {"/lora-adapters": [], "/v1/models": {"data": [{"id": "own", "aliases": ["other"]}]}}
    server = make_server({path: reply(json.dumps(each).encode()) for path, each in answers.items()})
    adapters = [{"name": "alone"}, {"name": "mine", "model": "other"}]
    check_adapters(ServerApi(Target(server.url)), Run.model_validate({"adapters": adapters}))
    adapters[1]["model"] = "tuned"
    with pytest.raises(UserError, match=r"mine asks for the model tuned, .* \(own, other\); ask"):
        check_adapters(ServerApi(Target(server.url)), Run.model_validate({"adapters": adapters}))


@pytest.mark.parametrize("models", [{"data": []}, {"data": [{"id": "tuned-*"}]}, {"error": "no"}])
def test_a_model_that_no_list_speaks_against_is_asked_for(make_server, reply, models):
    answers = {"/lora-adapters": [], "/v1/models": models}
    server = make_server({path: reply(json.dumps(each).encode()) for path, each in answers.items()})
    run = Run.model_validate({"adapters": [{"name": "mine", "model": "tuned-1"}]})
    check_adapters(ServerApi(Target(server.url)), run)
