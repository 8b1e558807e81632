"""Speculative decoding in the config, and in the command lines of the engines."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import xllamacpp
import yaml
from pydantic import ValidationError

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import parse_config
from mls.config.sections.server import Server
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.server.engine.command import engine
from mls.server.engine.speculation import check_log
from mls.server.engine.xllamacpp import assign

MODEL, DRAFT = Path("/models/m.gguf"), "/models/d.gguf"
NGRAM_KINDS = ("ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache")
REFUSAL = (
    "0.02.405.747 E srv    load_model: failed to initialize speculative decoding context: draft "
    "model vocab type must match target model to use speculation\n"
)


def config(**keys: object) -> Config:
    models = {name: {"path": f"{name}.gguf"} for name in ("big", "small")}
    return parse_config({"name": "s", "models": models | {"remote": {}}, **keys})


def parameters(server: Server) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    for name, value in json.loads(engine(server, MODEL, "m", 1).stdin)["attributes"].items():
        assign(params, name, value)
    return params


def llama_server(server: Server, tmp_path: Path) -> dict[str, str]:
    binary = tmp_path / "llama-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    of_binary = server.model_copy(update={"engine": "llama-server", "binary": str(binary)})
    return dict(itertools.pairwise(engine(of_binary, MODEL, "m", 1).argv))


def test_by_default_nothing_is_said_of_speculation(tmp_path: Path) -> None:
    assert "speculative" not in json.dumps(json.loads(engine(Server(), MODEL, "m", 1).stdin))
    assert not [option for option in llama_server(Server(), tmp_path) if "spec" in option]


@pytest.mark.parametrize("kind", NGRAM_KINDS)
def test_kinds_by_what_the_text_has_had(kind: str, tmp_path: Path) -> None:
    limit = {} if kind == "ngram-cache" else {"draft_max": 7}
    least = {"draft_min": 3} if kind == "ngram-mod" else {}
    server = Server(speculation=kind, **limit, **least)
    speculative = parameters(server).speculative
    assert [one.name for one in speculative.types] == [
        f"COMMON_SPECULATIVE_TYPE_{kind.upper().replace('-', '_')}"
    ]
    options = llama_server(server, tmp_path)
    assert options["--spec-type"] == kind
    if kind == "ngram-mod":
        assert (speculative.ngram_mod.n_max, speculative.ngram_mod.n_min) == (7, 3)
        assert options["--spec-ngram-mod-n-max"] == "7"
        assert options["--spec-ngram-mod-n-min"] == "3"
    elif limit:
        assert getattr(speculative, kind.replace("-", "_")).size_m == 7
        assert options[f"--spec-{kind}-size-m"] == "7"


def test_a_model_that_drafts(tmp_path: Path) -> None:
    server = Server(
        speculation="draft",
        draft_model=DRAFT,
        draft_max=5,
        draft_min=1,
        draft_p_min=0.5,
        threads=3,
        gpu_layers=-1,
        synthetic_acceptance_length=2.5,
    )
    speculative = parameters(server).speculative
    draft = speculative.draft
    assert [one.name for one in speculative.types] == ["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"]
    assert (draft.mparams.path, draft.n_max, draft.n_min, draft.p_min) == (DRAFT, 5, 1, 0.5)
    assert (draft.cpuparams.n_threads, draft.n_gpu_layers) == (3, -1)
    assert speculative.synth_len == 2.5
    assert {
        "--spec-type": "draft-simple",
        "--spec-draft-model": DRAFT,
        "--spec-draft-n-max": "5",
        "--spec-draft-n-min": "1",
        "--spec-draft-p-min": "0.5",
        "--spec-synth-len": "2.5",
    }.items() <= llama_server(server, tmp_path).items()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"speculation": "eagle"}, "`speculation` must be one of off, draft, ngram-simple"),
        ({"speculation": "draft"}, "`draft_model` must be set"),
        ({"speculation": "ngram-cache", "draft_max": 3}, "`draft_max` does nothing with"),
        ({"speculation": "ngram-simple", "draft_p_min": 0.5}, "`draft_p_min` does nothing with"),
        ({"speculation": "ngram-mod", "draft_max": 3}, "`draft_min` must be set beside"),
        (
            {"speculation": "ngram-mod", "draft_max": 3, "draft_min": 4},
            "`draft_min` must not be above",
        ),
        (
            {"speculation": "ngram-mod", "url": "http://127.0.0.1:1"},
            "`speculation` is of servers that are started here",
        ),
        (
            {"engine": "command", "command": ["s", "{port}"], "speculation": "ngram"},
            "`speculation` is set, and `command` passes it on to nothing",
        ),
        (
            {"engine": "command", "command": ["s", "{port}"], "draft_max": 3},
            "draft_max goes with engine xllamacpp or llama-server",
        ),
    ],
)
def test_keys_that_do_nothing_are_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Server.model_validate(keys)
    assert words in str(error.value)


def test_limits_of_drafts_stand_beside_a_cell_without_speculation() -> None:
    assert Server(draft_model="small", draft_max=3, draft_p_min=0.5).draft is None


def test_a_sweep_over_kinds_and_models() -> None:
    text = """
    sweep: {speculation: [off, draft, ngram-simple], draft_max: [2, 4]}
    server: {draft_model: small}
    """
    swept = config(**yaml.safe_load(text))
    servers = [settings(swept, cell, 1).server for cell in cells(swept)]
    assert [server.speculation for server in servers[::2]] == ["off", "draft", "ngram-simple"]
    assert [server.draft for server in servers] == [None, None, "small", "small", None, None]


@pytest.mark.parametrize(
    ("draft", "words"),
    [
        ("smal", "server.draft_model: 'smal' is not in `models` (did you mean 'small'?)"),
        ("remote", "models.remote: server.draft_model needs its file"),
    ],
)
def test_the_draft_is_one_of_the_models(draft: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        cells(config(server={"speculation": "draft", "draft_model": draft}))
    assert words in str(error.value)


def test_a_command_of_any_server_has_any_words(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = config(
        server={
            "engine": "command",
            "command": ["true", "{port}", "--config", "{speculation}.yaml"],
        },
        sweep={"speculation": [False, "ngram3"]},
    )
    words = [
        engine(settings(swept, cell, 1).server, MODEL, "m", 1).server_argv[-1]
        for cell in cells(swept)
    ]
    assert words == ["off.yaml", "ngram3.yaml"]


def test_an_engine_that_goes_on_without_its_draft_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"loading\n{REFUSAL}listening\n")
    with pytest.raises(UserError) as error:
        check_log(Server(speculation="draft", draft_model=DRAFT), log)
    # llama.cpp says so of types that are the same, too, where a single token differs
    assert "vocab type must match" not in str(error.value)
    assert "the draft model's vocabulary is not the model's" in str(error.value)
    log.write_text(REFUSAL.replace(REFUSAL.rpartition(": ")[2], "no memory\n"))
    with pytest.raises(UserError, match=r"goes on without draft: no memory\.$"):
        check_log(Server(speculation="draft", draft_model=DRAFT), log)
    check_log(Server(), log)
    log.write_text("loading\nlistening\n")
    check_log(Server(speculation="draft", draft_model=DRAFT), log)
