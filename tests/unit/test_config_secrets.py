"""The config has no place for a secret: what it holds is stored with the results."""

import pytest

from mls.config.config import ModelSource
from mls.config.sections.run import Run
from mls.config.sections.server import Server

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


@pytest.mark.parametrize("name", ["Authorization", "proxy-authorization", "X-API-Key", "Cookie"])
def test_a_header_with_a_key_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} would be stored .* `server.api_key_env`"):
        Run(request_headers={name: "Bearer s3cret"})


def test_others_are_taken():
    assert Run(request_headers={"X-Tenant": "a"}).request_headers == {"X-Tenant": "a"}
    assert Server(url="http://127.0.0.1:8090/a@b").url == "http://127.0.0.1:8090/a@b"
