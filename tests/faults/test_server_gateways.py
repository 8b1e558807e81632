"""Other people's gateways: paths that they forbid, lack or answer late, headers that they need."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.servers.misbehaving import Misbehaving, Talk, chunked
from tests.servers.misbehaving import reply as http_reply

from mls.commands.probe import probe_server
from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.protocol.request import Target
from mls.server.api import RefusedError, ServerApi
from mls.server.probe import probe, snapshot

CHAT = "/v1/chat/completions"
OPTIONAL = ["/health", "/v1/models", "/props", "/slots", "/metrics", "/tokenize"]


def config(url: str, **keys: Any) -> Any:
    server = {"url": url} | keys.pop("server", {})
    return parse_config({"models": {"m": keys.pop("model", {})}, "server": server, **keys})


def probe_of(url: str, **keys: Any) -> Any:
    return probe(config(url, **keys), "m", url)


USAGE = {"prompt_tokens": 60, "completion_tokens": 16}


def whole_reply() -> bytes:
    choice = {"message": {"content": "Hi"}, "finish_reason": "length"}
    return json.dumps({"choices": [choice], "usage": USAGE}).encode()


def stream() -> bytes:
    chunks = [
        {"choices": [{"delta": {"content": "Hi"}}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": USAGE},
    ]
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


@pytest.fixture
def chat(reply: Any) -> Any:
    """The answer of a plain OpenAI-compatible server, streamed where the request says `stream`."""

    def answer(request: Any) -> Any:
        if not json.loads(request.body)["stream"]:
            return reply(whole_reply())
        return reply(stream(), kind="text/event-stream")

    return answer


def paths(server: Any) -> list[str]:
    return [request.path for request in server.seen]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 429, 500, 501, 502, 503])
def test_what_is_forbidden_is_absent(make_server: Any, chat: Any, reply: Any, status: int) -> None:
    gateway = make_server(
        {CHAT: chat} | dict.fromkeys(OPTIONAL, reply(b'{"message": "Forbidden"}', status))
    )
    answer = probe_of(gateway.url)
    assert [path for path, there in answer.endpoints.items() if there] == [CHAT]
    assert answer.warnings == [] and answer.streaming
    state = snapshot(ServerApi(gateway.url))
    assert {state[name] for name in ("health", "slots", "metrics", "chat_template")} == {None}


def test_health_is_asked_of_llama_cpp_only(make_server: Any, chat: Any, reply: Any) -> None:
    """For `/health` some gateways send a paid request to each of their models."""
    healthy = {CHAT: chat, "/health": reply(b'{"status": "ok"}')}
    gateway = make_server(healthy)
    assert probe_of(gateway.url).health is None
    assert "/health" not in paths(gateway)
    llama = make_server(healthy | {"/props": reply(b'{"total_slots": 8}')})
    assert probe_of(llama.url).health == "ok"
    assert paths(llama).count("/health") == 1
    assert snapshot(ServerApi(llama.url))["health"] == "ok"


@pytest.mark.parametrize(
    "body", [b'{"error": "Unexpected endpoint or method."}', b"{}", b'{"status": "fine"}']
)
def test_what_answers_everything_with_200_has_no_template_to_miss(
    make_server: Any, chat: Any, reply: Any, body: bytes
) -> None:
    models = reply(b'{"data": [{"id": "gemma"}, {"id": "text-embedding-nomic"}]}')
    server = make_server(
        {CHAT: chat} | dict.fromkeys(OPTIONAL, reply(body)) | {"/v1/models": models}
    )
    answer = probe_of(server.url)
    assert (answer.chat_template, answer.health, answer.served_as) == (None, None, "gemma")
    assert answer.warnings == []


def test_a_router_whose_props_have_no_template(make_server: Any, chat: Any, reply: Any) -> None:
    props = {"role": "router", "default_generation_settings": {"params": {}, "n_ctx": 0}}
    models = [
        {"id": "nomic", "status": {"value": "unloaded"}},
        {"id": "Qwen", "status": {"value": "loaded"}},
    ]
    answers = {
        CHAT: chat,
        "/props": reply(json.dumps(props).encode()),
        "/v1/models": reply(json.dumps({"data": models}).encode()),
        "/slots": reply(b'{"error": {"code": 400, "message": "model name is missing"}}', 400),
    }
    answer = probe_of(make_server(answers).url)
    assert (answer.served_as, answer.chat_template, answer.warnings) == ("Qwen", None, [])


class Slow:
    """Completions get a reply at once; other paths get none, or a closed connection."""

    def __init__(self, hang_up: bool = False) -> None:
        self.hang_up = hang_up
        self.lines: list[str] = []

    def __call__(self, talk: Talk) -> None:
        while head := talk.head():
            line, headers = head
            self.lines.append(line.removesuffix(" HTTP/1.1"))
            body = talk.body(headers)
            if CHAT not in line:
                return talk.close() if self.hang_up else talk.hold()
            if json.loads(body)["stream"]:
                talk.send(chunked(stream(), connection="close"))
                return talk.close()
            talk.send(http_reply(whole_reply()))
        return None


@pytest.mark.parametrize("hang_up", [False, True])
def test_what_is_not_answered_is_absent_and_not_asked_again(
    hang_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mls.server.http.session._ABSENT_AFTER_S", 0.2)
    gateway = Slow(hang_up)
    with Misbehaving(hello=gateway) as server:
        begin_s = time.monotonic()
        answer = probe_of(server.url, model={"served_as": "m"})
        assert time.monotonic() - begin_s < 10
        assert [path for path, there in answer.endpoints.items() if there] == [CHAT]
        gateway.lines.clear()
        api = ServerApi(server.url)
        for _ in range(3):
            assert snapshot(api)["metrics"] is None
        # after a hang-up once more on a fresh connection: the first may have been a stale one
        assert gateway.lines.count("GET /metrics") == (2 if hang_up else 1)


def test_a_path_that_has_answered_is_waited_for(make_server: Any, reply: Any) -> None:
    """A server that is slow under load still has `/metrics`."""
    busy = threading.Event()

    def answer(request: Any) -> Any:
        time.sleep(0.6 if busy.is_set() else 0)
        return reply(b"llamacpp:a 1\n", kind="text/plain")

    api = ServerApi(make_server({"/metrics": answer}).url, timeout_s=0.3)
    assert api.metrics() == {"llamacpp:a": 1.0}
    busy.set()
    with pytest.raises(UserError, match="it didn't answer in time"):
        api.metrics()


def test_a_connection_that_the_server_closes_after_an_error_is_opened_again() -> None:
    """A server that answers 500, says keep-alive, and hangs up when the next request comes."""

    def behave(talk: Talk) -> None:
        first = talk.head()
        assert first
        line, headers = first
        body = talk.body(headers)
        if CHAT not in line:
            talk.send(http_reply(b"{}", "500 Internal Server Error"))
            talk.head()
        elif json.loads(body)["stream"]:
            talk.send(chunked(stream(), connection="close"))
        else:
            talk.send(http_reply(whole_reply()))
            talk.head()
        talk.close()

    with Misbehaving(hello=behave) as server:
        assert probe_of(server.url).streaming


def test_all_headers_go_with_all_requests(
    make_server: Any, chat: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZKEY", "s3cret")
    monkeypatch.setenv("OTHER", "t0ken")
    gateway = make_server({CHAT: chat, "/props": reply(b'{"total_slots": 8}')})
    probe_of(
        gateway.url,
        server={"headers_env": {"api-key": "AZKEY"}, "api_key_env": "OTHER"},
        run={"request_headers": {"X-Tenant": "blue"}},
    )
    headers = {"api-key": "s3cret", "X-Tenant": "blue", "Authorization": "Bearer t0ken"}
    assert len(gateway.seen) > 6
    for request in gateway.seen:
        assert headers.items() <= request.headers.items(), request.path
    completion = next(request for request in gateway.seen if request.path == CHAT)
    assert completion.headers["User-Agent"].startswith("mls/")
    assert completion.headers["Accept-Encoding"] == "identity"
    assert completion.headers["Accept"] == "text/event-stream"


def test_a_header_that_the_server_repeats_is_not_kept(
    make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZKEY", "s3/cret")
    body = b'{"choices": [{"message": {"content": "s3\\/cret s3/cret s3%2Fcret"}}]}'
    keys = {"server": {"headers_env": {"api-key": "AZKEY"}}}
    models = reply(b'{"data": [{"id": "s3/cret"}]}')
    answer = probe_of(make_server({CHAT: reply(body), "/v1/models": models}).url, **keys)
    assert answer.replies[0].content == "*** *** ***" and answer.models == ["***"]
    for status in (400, 401, 500):
        with pytest.raises(UserError) as error:
            probe_of(make_server({CHAT: reply(b"no s3/cret here", status)}).url, **keys)
        assert "no *** here" in str(error.value)


def test_a_refused_header_names_its_variable(
    make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZKEY", "s3cret")
    gateway = make_server({CHAT: reply(b'{"message": "wrong key"}', 401)})
    with pytest.raises(RefusedError) as error:
        probe_of(gateway.url, server={"headers_env": {"api-key": "AZKEY"}})
    assert "HTTP 401" in str(error.value) and "wrong key" in str(error.value)
    assert "it doesn't accept the API key in AZKEY" in str(error.value)
    with pytest.raises(RefusedError, match=r"set server.api_key_env .*server\.headers_env"):
        probe_of(gateway.url)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", CHAT])
def test_a_url_written_in_any_way(make_server: Any, chat: Any, reply: Any, suffix: str) -> None:
    server = make_server({CHAT: chat, "/v1/models": reply(b'[{"id": "m"}]')})
    assert probe_of(server.url + suffix).served_as == "m"
    assert {"/v1/models", "/props", CHAT} <= {*paths(server)}


def test_an_endpoint_with_prefix_and_query(make_server: Any, reply: Any) -> None:
    endpoint = "/api/openai/v1/completions?api-version=1"
    text = b'{"choices": [{"text": "Hi", "finish_reason": "stop"}]}'
    answers = {endpoint: reply(text), "/api/openai/v1/models": reply(b'[{"id": "m"}]')}
    server = make_server(answers)
    assert probe_of(server.url, run={"endpoint": endpoint}).served_as == "m"
    bodies = [json.loads(request.body) for request in server.seen if request.path == endpoint]
    assert bodies and all("prompt" in body and "messages" not in body for body in bodies)


def test_a_redirect_is_not_followed(make_server: Any, chat: Any) -> None:
    def redirects(talk: Talk) -> None:
        while head := talk.head():
            talk.body(head[1])
            talk.send(http_reply(b"", "307 Temporary Redirect", location=f"{CHAT}/"))

    with Misbehaving(hello=redirects) as server, pytest.raises(RefusedError) as error:
        probe_of(server.url)
    assert f"redirected to {server.url}{CHAT}/ (Location)" in str(error.value)
    assert f"set run.endpoint to {CHAT}/." in str(error.value)


def test_a_proxy_that_refuses_is_named(make_server: Any, chat: Any, reply: Any) -> None:
    url = "http://llm.example:81"
    run = {"transport": "requests"}
    proxy = make_server({})
    with pytest.raises(UserError, match=f"through the proxy {proxy.url}"):
        probe_of(url, server={"proxy": proxy.url}, run=run)
    with pytest.raises(UserError, match=r"the proxy http://127\.0\.0\.1:9 doesn't pass it on"):
        probe_of(url, server={"proxy": "http://127.0.0.1:9"}, run=run)
    passing = make_server({url + CHAT: chat})
    (warning,) = probe_of(url, server={"proxy": passing.url}, run=run).warnings
    assert warning.startswith(f"Requests go through the proxy {passing.url}")


def test_a_proxys_password_is_not_shown() -> None:
    api = ServerApi(Target("http://llm.example:81", proxy="http://me:s3cret@127.0.0.1:9"))
    with pytest.raises(UserError, match=r"the proxy http://127\.0\.0\.1:9 doesn't") as error:
        api.models()
    assert "s3cret" not in str(error.value)


def test_the_key_of_mls_probe_without_a_config(
    make_server: Any, chat: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    server = make_server({CHAT: chat})
    probe_server([f"{server.url}/v1/"], None, "gpt", "MY_KEY", tmp_path / "probe.json")
    assert {request.headers["Authorization"] for request in server.seen} == {"Bearer s3cret"}
    assert json.loads((tmp_path / "probe.json").read_text())["served_as"] == "gpt"
    with pytest.raises(UserError, match="--server: expected a URL"):
        probe_server(["localhost:80"], None, None, None, None)
