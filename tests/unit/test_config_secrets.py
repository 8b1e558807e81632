"""The config has no place for a secret, as it is stored with the results."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.cells import cells
from mls.config.config import ModelSource
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.sections.secrets import may_show, without_secrets
from mls.config.sections.server import Server
from mls.config.settings import settings
from mls.core.errors import UserError

WITH_PASSWORD = "http://me:s3cret@127.0.0.1:8090"


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        (Server, {"url": WITH_PASSWORD}),
        (Server, {"urls": ["http://127.0.0.1:1", WITH_PASSWORD]}),
        (Server, {"proxy": "http://token@proxy:3128"}),
        (ModelSource, {"url": "https://me:s3cret@models.example/m.gguf"}),
    ],
)
def test_a_password_in_a_url_is_refused(section, keys):
    with pytest.raises(ValueError, match="a user or password in a URL would be stored"):
        section(**keys)


@pytest.mark.parametrize(
    "name",
    [
        *["Authorization", "proxy-authorization", "X-API-Key", "Cookie", "api-key", "apikey"],
        *[
            "Ocp-Apim-Subscription-Key",
            "x-functions-key",
            "X-Auth-Token",
            "X-Auth",
            "Client-Secret",
        ],
    ],
)
def test_a_header_with_a_key_is_refused(name):
    with pytest.raises(
        ValueError, match=f"{name} would be stored .* `server.headers_env`.* `server.api_key_env`"
    ):
        Run(request_headers={name: "s3cret"})


@pytest.mark.parametrize("value", ["Bearer s3cret", "basic bWU6czNjcmV0", "sk-s3cret-0123456"])
def test_a_value_that_looks_like_a_key_is_refused(value):
    with pytest.raises(UserError, match="the value of X-Gateway looks like a key") as error:
        parse_config({"models": {"m": {}}, "run": {"request_headers": {"X-Gateway": value}}})
    assert value not in str(error.value)


@pytest.mark.parametrize(
    "server",
    [
        {"api_key_env": "sk-s3cret-0123456"},
        {"headers_env": {"api-key": "sk-s3cret-0123456"}},
        {"url": WITH_PASSWORD},
        {"proxy": WITH_PASSWORD},
    ],
)
def test_a_key_where_none_belongs_is_not_shown(server):
    with pytest.raises(UserError) as error:
        parse_config({"models": {"m": {}}, "server": server})
    assert "s3cret" not in str(error.value)


KEY = "s3cret-0123456"
QUERIES = [
    *("?api-key=s3cret", "?api_key=s3cret", "?a=1&key=s3cret", "?code=s3cret", "?sig=s3cret"),
    *(
        "?X-Amz-Signature=s3cret",
        "?access_token=s3cret",
        "#token=s3cret",
        "?Subscription%2DKey=s3cret",
    ),
    *(
        "?sk-s3cret-0123456",
        "?q=sk-s3cret-0123456",
        "?a=Bearer%20s3cret",
        "?jwt=eyJhbGciOiJ-s3cret",
    ),
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "keys",
    [
        {"server": {"url": "http://a/v1{}"}},
        {"server": {"url": "http+unix://%2Fs.sock{}"}},
        {"server": {"url": "http//a/v1{}"}},
        {"server": {"urls": ["http://a", "http://b{}"]}},
        {"server": {"url": "http://a", "metrics_url": "http://b/metrics{}"}},
        {"server": {"proxy": "http://b{}"}},
        {"server": {"ready": "/health{}"}},
        {"run": {"endpoint": "/v1/chat/completions{}"}},
        {"models": {"m": {"url": "https://models.example/m.gguf{}"}}},
    ],
    ids=lambda keys: str(next(iter(keys.values()))),
)
def test_a_key_in_a_query_is_refused_and_not_shown(keys, query):
    text = json.dumps(keys).replace("{}", query)
    with pytest.raises(UserError, match="a key in a URL's query would be stored") as error:
        parse_config({"models": {"m": {}}} | json.loads(text))
    assert "s3cret" not in str(error.value) and "s3cret" not in repr(error.value)


@pytest.mark.parametrize(
    "query", ["?api-version=2024-10-21-preview", "?key=", "?max_tokens=8", "?q"]
)
def test_a_query_without_a_key_is_taken(query):
    assert Run(endpoint=f"/v1/chat/completions{query}").endpoint.endswith(query)
    assert may_show(query) and without_secrets(query) == query


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("url", ["http://me:s3cret@a/v1{}", "/v1{}&more=s", "https://s3cret@a{}"])
def test_a_url_to_show_has_no_secret(url, query):
    shown = without_secrets(url.format(query))
    assert "s3cret" not in shown and "***" in shown and "\0" not in shown
    assert not may_show(url.format(query))


@given(st.text("ab?&#=/:@%.-", max_size=20))
def test_a_url_without_secrets_has_none(text):
    shown = without_secrets(text)
    assert shown == without_secrets(shown)


@pytest.mark.parametrize(
    "extra",
    [
        {"api_key": KEY},
        {"metadata": {"user_api_key": KEY}},
        {"tools": [{"type": "mcp", "authorization": KEY}]},
        {"tools": [{"headers": {"X-Auth-Token": KEY}}]},
        {"user": "sk-s3cret-0123456"},
        {"api_base": "http://me:s3cret@a"},
        {"password": KEY},
    ],
)
def test_a_key_in_a_body_is_refused_and_not_shown(extra):
    with pytest.raises(UserError, match=r"run\.request_extra: the value of .* stored") as error:
        parse_config({"models": {"m": {}}, "run": {"request_extra": extra}})
    assert "s3cret" not in str(error.value)


def test_fields_that_are_no_keys_are_taken():
    extra = {
        "stop_token_ids": [1],
        "prompt_cache_key": "mine",
        "eos_token": "</s>",
        "skip_special_tokens": True,
        "stop": ["Basic", "token x"],
        "api_key": "",
        "max_tokens": None,
    }
    assert Run(request_extra=extra).request_extra == extra


@pytest.mark.parametrize(
    "words",
    [
        ["--api-key", KEY],
        [f"--api-key={KEY}"],
        ["--hf-token", KEY],
        ["-hft", KEY],
        ["--token=hf_s3cret0123"],
        [f"api_keys={KEY}"],
        ["--proxy", "http://me:s3cret@a"],
        ["--proxy=http://me:s3cret@a"],
        ["--url", "http://a?api-key=s3cret"],
        ["--header", "Authorization: s3cret"],
        ["-x", "HF_TOKEN=s3cret"],
        ["-genv", "HF_TOKEN", KEY],
    ],
    ids=" ".join,
)
def test_a_key_on_a_command_line_is_refused_and_not_shown(words):
    started = {"engine": "command", "command": ["serve", *words, "--port", "{port}"]}
    for keys in (
        {"server": {"extra_args": words}},
        {"server": started},
        {"mpi": {"launcher": shlex.join(["mpirun", *words])}},
        {"models": {"m": {"server": {"extra_args": words}}}},
    ):
        with pytest.raises(UserError, match="a key on a command line can be read") as error:
            config = parse_config({"models": {"m": {}}} | keys)
            settings(config, cells(config)[0], 1)
        assert "s3cret" not in str(error.value)


def test_options_that_are_no_keys_are_taken():
    words = [
        "--api-key-file",
        "f",
        "--tokenizer",
        "t",
        "--hf-token",
        "--ssl-keyfile=k",
        "a=b",
        "a:1",
        '--speculative-config {"num_speculative_tokens": 4} "$@"',
    ]
    assert Server(extra_args=words).extra_args == words
    assert parse_config({"models": {"m": {}}, "mpi": {"launcher": "mpirun -x HF_TOKEN -n 2"}})


@pytest.mark.parametrize(
    "keys",
    [
        {"server": {"url": "http//me:s3cret@a"}},
        {"server": {"url": "me:s3cret@a:80"}},
        {"server": {"url": "http://me:s3cret@[::1"}},
        {"run": {"request_headers": "Authorization: s3cret"}},
        {"run": {"request_headers": {"X-A": "s3crét"}}},
        {"run": {"request_headers": {"api-key: s3cret": ""}}},
        {"server": {"headers_env": {"api-key: s3cret": "A"}}},
        {"server": {"engine": "command", "command": "serve --api-key s3cret"}},
        {"server": {"engine": "command", "environment": {"HTTP_PROXY": "http://me:s3cret@a"}}},
        {"run": {"request_extra": "api_key=s3cret"}},
        {"models": {"m": {"package": "m @ https://me:s3cret@a/m.whl", "file": "m"}}},
        {"server": {"api_key": "s3cret"}},
        {"run": {"endpoint": "chat?key=s3cret"}},
    ],
    ids=str,
)
def test_what_is_wrong_for_another_reason_does_not_show_a_key_either(keys):
    with pytest.raises(UserError) as error:
        parse_config({"models": {"m": {}}} | keys)
    assert "s3cret" not in str(error.value)


def test_a_key_as_an_axis_is_refused_and_not_shown():
    server = {"engine": "command", "command": ["serve", "{who}", "--port", "{port}"]}
    data = {"models": {"m": {}}, "server": server, "sweep": {"who": ["a", "sk-s3cret-0123456"]}}
    with pytest.raises(UserError, match=r"sweep\.who: a value looks like a key") as error:
        cells(parse_config(data))
    assert "s3cret" not in str(error.value)


def test_one_authorization_is_enough():
    with pytest.raises(ValueError, match="give `api_key_env` or an Authorization"):
        Server(url="http://a", api_key_env="A", headers_env={"authorization": "B"})


def test_others_are_taken():
    headers = {"X-Tenant": "a", "X-Max-Tokens": "8", "X-Author": "me", "X-Cache-Key": "sk"}
    assert Run(request_headers=headers).request_headers == headers
    assert Server(headers_env={"api-key": "AZ"}).headers_env == {"api-key": "AZ"}
    assert Server(url="http://127.0.0.1:8090/a@b").url == "http://127.0.0.1:8090/a@b"
