"""llama.cpp's router, by what a real one answered: models that are not loaded, woken, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conftest import Reply
from tests.servers.router import MODEL, OF_MODEL, ROUTER, Router
from tests.unit.engine_pages import answer

from mls.commands.outcome import Outcome
from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.protocol.request import Target
from mls.server.api import ServerApi
from mls.server.probe import probe
from mls.server.router import enter
from mls.server.state import snapshot


def assert_of_model(api: ServerApi) -> None:
    state = snapshot(api, MODEL)
    assert (state["model_path"], state["slots"]) == ("models/smollm2.gguf", 4)
    assert state["metrics"]["llamacpp:tokens_predicted_total"] == 899


@pytest.mark.parametrize("state", ["unloaded", "loading", "sleeping", "downloading"])
def test_a_model_that_does_not_answer_at_once_is_loaded_first(make_server: Any, state: str) -> None:
    router = Router(state)
    api = ServerApi(make_server(router.answers).url)
    load_s = enter([api], Run(), MODEL)
    assert load_s is not None and load_s > 0
    assert router.completions == 1
    assert_of_model(api)


def test_a_loaded_model_costs_no_completion(make_server: Any) -> None:
    router = Router("loaded")
    api = ServerApi(make_server(router.answers).url)
    assert enter([api], Run(), MODEL) is None
    assert router.completions == 0
    assert_of_model(api)


def test_a_recorded_model_that_sleeps_is_woken(make_server: Any) -> None:
    router = Router("loaded")
    models = Reply(json.dumps(answer(ROUTER, "models_sleeping")).encode())
    server = make_server(router.answers | {"/v1/models": models})
    assert enter([ServerApi(server.url)], Run(), MODEL) is not None


def test_asking_for_its_state_loads_no_model(make_server: Any) -> None:
    """Somebody else may have had the router unload it meanwhile."""
    router = Router("loaded")
    server = make_server(router.answers)
    api = ServerApi(server.url)
    enter([api], Run(), MODEL)
    router.state = "unloaded"
    assert (api.props(), api.slots(), api.metrics()) == (None, None, None)
    assert {r.path.partition("?")[2] for r in server.seen[-3:]} == {OF_MODEL[1:]}


def test_a_router_that_does_not_load_by_itself_is_one_sentence(make_server: Any) -> None:
    router = Router("unloaded", autoload=False)
    url = make_server(router.answers).url
    config = parse_config({"models": {"m": {"served_as": MODEL}}, "server": {"url": url}})
    with pytest.raises(UserError, match=r"has not loaded 'smollm2' and doesn't load .* load it"):
        probe(config, "m", url)


def test_every_router_of_a_run_loads_the_model_before_it(make_server: Any) -> None:
    routers = [Router("loaded"), Router(), Router()]
    urls = [make_server(router.answers).url for router in routers]
    config = parse_config({"models": {"m": {"served_as": MODEL}}, "server": {"urls": urls}})
    targets = [Target(url) for url in urls]
    outcome = Outcome(config, settings(config, cells(config)[0], 1), 1, targets, None)
    apis = [ServerApi(target) for target in targets]
    assert outcome.introduce(apis)[0] == MODEL
    assert [router.state for router in routers] == ["loaded"] * 3
    for api in apis:
        assert_of_model(api)
