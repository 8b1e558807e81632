"""The config has no place for a secret, as it is stored with the results."""

import pytest

from mls.config.config import ModelSource
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.sections.server import Server
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


def test_one_authorization_is_enough():
    with pytest.raises(ValueError, match="give `api_key_env` or an Authorization"):
        Server(url="http://a", api_key_env="A", headers_env={"authorization": "B"})


def test_others_are_taken():
    headers = {"X-Tenant": "a", "X-Max-Tokens": "8", "X-Author": "me", "X-Cache-Key": "sk"}
    assert Run(request_headers=headers).request_headers == headers
    assert Server(headers_env={"api-key": "AZ"}).headers_env == {"api-key": "AZ"}
    assert Server(url="http://127.0.0.1:8090/a@b").url == "http://127.0.0.1:8090/a@b"
