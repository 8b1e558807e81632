"""`make report SERVER=…`: a server of one's own, without a file to write."""

import sys

import pytest
import yaml
from tests.conftest import Reply, http_server
from tests.servers.honest import HonestServer

from mls.commands.init import MAX_TOKENS, PROMPT_WORDS, init
from mls.config.parse import load_config


def test_init_asks_a_llama_server_what_it_is(checkout, tmp_path):
    description = ("--config", "config.yaml", "--output", "results/models/smollm2.json")
    process = checkout.mls("model", "smollm2", *description)
    assert process.returncode == 0, process.stdout + process.stderr
    path = tmp_path / "own.yaml"
    python = f"{sys.executable} -m mls init $MLS_SERVER --output {path}"
    served = ("--config", "config.yaml", "--cell", "model=smollm2", "--log", str(tmp_path / "log"))
    process = checkout.mls("serve", *served, "--", "sh", "-c", python)
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.strip() == str(path)
    config = load_config(path)
    assert [*config.models] == ["smollm2"]
    assert config.sweep["inflight"][:4] == [1, 2, 4, 8]
    assert config.name == config.server.url.removeprefix("http://").replace(":", "-")


def test_a_sweep_by_its_address_alone(checkout):
    """The config is made, may be edited, and is used again as it is."""
    with HonestServer() as server:
        port = server.server_address[1]
        url = f"http://127.0.0.1:{port}"
        folder = checkout.results / "sweeps" / f"127.0.0.1-{port}"
        assert checkout.mls("init", url).stdout.strip() == str(
            (folder / "config.yaml").relative_to(checkout.folder)
        )
        data = yaml.safe_load((folder / "config.yaml").read_text())
        data["environment"] = {"manager": "current"}
        data["run"] = {"iters": 2, "max_tokens": 4}
        data["sweep"]["inflight"] = [1]
        data["repeats"] = 1
        edited = yaml.safe_dump(data)
        (folder / "config.yaml").write_text(edited)
        process = checkout.report("--server", url)
        assert process.returncode == 0, process.stdout + process.stderr
        assert (folder / "config.yaml").read_text() == edited
        assert (folder / "report.html").read_bytes() == (
            checkout.results / "report.html"
        ).read_bytes()
        process = checkout.report("--server", url, "--model", "another")
    assert process.returncode == 1
    assert "is of another server, model or key" in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("status", [401, 503])
def test_a_server_that_refuses_is_one_sentence(checkout, status):
    refusal = Reply(b'{"error": {"message": "not for you"}}', status)
    paths = ("/health", "/v1/models", "/v1/chat/completions", "/v1/completions", "/props")
    with http_server(dict.fromkeys(paths, refusal)) as server:
        process = checkout.report("--server", server.url)
    said = process.stderr.splitlines()
    assert process.returncode == 1 and len(said) == 1, said
    assert said[0].startswith("mls init: ") and server.url in said[0]


@pytest.mark.parametrize(("longest_s", "shorter"), [(60, False), (0.3, True)])
def test_a_server_that_takes_long_gets_shorter_requests(tmp_path, monkeypatch, longest_s, shorter):
    """A reply of this one takes 10 ms a token."""
    monkeypatch.setattr("mls.commands.init.LONGEST_S", longest_s)
    with HonestServer() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        run = load_config(init(url, None, None, tmp_path / "config.yaml")).run
    assert (run.max_tokens < MAX_TOKENS / 2, run.prompt_words < PROMPT_WORDS / 2) == (shorter,) * 2


def test_mls_init_of_a_server_that_is_not_there(checkout):
    process = checkout.mls("init", "http://127.0.0.1:9")
    assert process.returncode == 1
    assert "can't be reached: connection refused" in process.stderr
    assert not (checkout.results / "sweeps" / "127.0.0.1-9").exists()
