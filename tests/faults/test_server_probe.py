"""The probe against good servers, faulty servers and hostile ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.servers.misbehaving import Misbehaving, Talk

from mls.config.parse import parse_config
from mls.core.errors import UserError
from mls.server.access import api_key
from mls.server.api import ServerApi
from mls.server.probe import probe, probe_all, snapshot

CHAT = "/v1/chat/completions"
KEY = "sk-not-to-be-seen"


def config(**keys: Any) -> Any:
    return parse_config({"models": {"m": keys.pop("model", {})}, "server": {}, **keys})


def probe_of(server: Any, /, **keys: Any) -> Any:
    server_keys = {"url": server.url} | keys.pop("server", {})
    return probe(config(server=server_keys, **keys), "m", server.url)


def refusal(server: Any, /, **keys: Any) -> str:
    with pytest.raises(UserError) as error:
        probe_of(server, **keys)
    return str(error.value)


@pytest.fixture
def chat(reply: Any) -> Any:
    """The answer of a plain OpenAI-compatible server, streamed where the request says `stream`."""
    usage = {"prompt_tokens": 60, "completion_tokens": 16}

    def answer(request: Any) -> Any:
        if not json.loads(request.body)["stream"]:
            whole = {"choices": [{"message": {"content": "Hi"}}], "usage": usage}
            return reply(json.dumps(whole).encode())
        chunks = [{"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [], "usage": usage}]
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return reply((text + "data: [DONE]\n\n").encode(), kind="text/event-stream")

    return answer


@pytest.fixture
def models(reply: Any) -> Any:
    return reply(b'{"data": [{"id": "first"}, {"id": "second"}]}')


def test_plain_server_passes(make_server: Any, chat: Any, models: Any) -> None:
    answer = probe_of(make_server({CHAT: chat, "/v1/models": models}))
    assert answer.served_as == "first"
    assert answer.slots is None
    assert answer.ctx_per_slot is None
    assert answer.streaming
    assert answer.endpoints == {
        "/health": False,
        "/v1/models": True,
        "/props": False,
        "/slots": False,
        "/metrics": False,
        "/tokenize": False,
        CHAT: True,
    }
    assert not answer.prompt_tokens_measured
    assert answer.warnings == []


def test_each_path_of_a_server_s_state_is_asked_once(
    make_server: Any, chat: Any, models: Any, reply: Any
) -> None:
    answers = {CHAT: chat, "/v1/models": models}
    llama_cpp = {"/props": reply(b'{"total_slots": 1}'), "/slots": reply(b"[]")}
    for server in (make_server(answers), make_server(answers | llama_cpp)):
        probe_of(server)
        paths = [request.path for request in server.seen]
        assert {path: paths.count(path) for path in ("/props", "/slots", "/v1/models")} == {
            "/props": 1,
            "/slots": 1,
            "/v1/models": 1,
        }


def test_all_servers_are_asked_and_what_they_differ_in_is_warned_of(
    make_server: Any, chat: Any, models: Any, reply: Any
) -> None:
    def server(build: str) -> Any:
        facts = {"build_info": build, "total_slots": 3, "chat_template": "{}"}
        props = json.dumps(facts).encode()
        return make_server({CHAT: chat, "/v1/models": models, "/props": reply(props)})

    alike, same, other = server("b1"), server("b1"), server("b2")
    for second, differ in ((same, []), (other, ["The servers differ in build: b1, b2."])):
        urls = [alike.url, second.url]
        run_config = config(server={"urls": urls}, run={"inflight": 6})
        answer = probe_all(run_config, "m", urls)
        assert [answer.url, *(each.url for each in answer.others)] == urls
        # six in flight on twice three slots: nobody waits
        assert answer.warnings == differ
        assert all(any(request.path == CHAT for request in each.seen) for each in (alike, second))
    assert probe_of(alike).others == []


def test_a_server_of_embeddings_passes(make_server: Any, reply: Any) -> None:
    usage = {"prompt_tokens": 60, "total_tokens": 60}
    vector = {"data": [{"index": 0, "embedding": [0.5] * 8}], "usage": usage}
    server = make_server({"/v1/embeddings": reply(json.dumps(vector).encode())})
    answer = probe_of(server, run={"endpoint": "/v1/embeddings", "max_tokens": 10**6})
    assert answer.warnings == [] and not answer.streaming
    assert [(r.content, r.stream, r.prompt_tokens) for r in answer.replies] == [
        ("an embedding of length 8", False, 60)
    ] * 2


def test_server_with_nothing_but_completions_passes(make_server: Any, chat: Any) -> None:
    answer = probe_of(make_server({CHAT: chat}), model={"served_as": "mine"})
    assert (answer.models, answer.served_as) == (None, "mine")


def test_server_whose_every_other_page_is_a_web_app(
    make_server: Any, chat: Any, reply: Any
) -> None:
    page = reply(b"<html>app</html>", kind="text/html")
    pages = dict.fromkeys(
        ["/health", "/v1/models", "/props", "/slots", "/metrics", "/tokenize"], page
    )
    answer = probe_of(make_server({CHAT: chat, **pages}))
    assert (answer.models, answer.slots, answer.build) == (None, None, None)


def test_a_model_that_is_not_listed_is_a_warning_unless_it_is_refused(
    make_server: Any, chat: Any, models: Any, reply: Any
) -> None:
    words = "doesn't list 'secnd' (did you mean 'second'?); it lists first, second"
    server = make_server({CHAT: chat, "/v1/models": models})
    answer = probe_of(server, model={"served_as": "secnd"})
    assert answer.served_as == "secnd"
    assert [words in warning for warning in answer.warnings] == [True]
    assert {
        json.loads(request.body)["model"] for request in server.seen if request.path == CHAT
    } == {"secnd"}
    unknown = reply(b'{"error": {"message": "no such model"}}', 400)
    message = refusal(
        make_server({CHAT: unknown, "/v1/models": models}), model={"served_as": "secnd"}
    )
    assert f"no such model; the server {words}: set models.m.served_as to one of them." in message


def test_not_a_chat_server(make_server: Any) -> None:
    server = make_server({})
    assert f"{server.url}{CHAT} answered HTTP 404" in refusal(server)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>Welcome to nginx</html>", "text/html"),
        (b'{"status": "fine"}', "application/json"),
        (b"[1, 2]", "application/json"),
        (b"data: hello\n\n", "text/event-stream"),
        (b"", "text/plain"),
    ],
)
def test_answers_that_are_no_completion(
    make_server: Any, reply: Any, body: bytes, kind: str
) -> None:
    message = refusal(make_server({CHAT: reply(body, kind=kind)}))
    assert "not a completion server; check the URL" in message


def test_a_stream_that_ends_before_it_begins(make_server: Any, reply: Any) -> None:
    """As of a gateway that has lost the server behind it."""
    message = refusal(make_server({CHAT: reply(b"", kind="text/event-stream")}))
    assert "answered HTTP 200 and nothing else: what is behind it is gone, or" in message


def test_error_with_status_200(make_server: Any, reply: Any) -> None:
    server = make_server({CHAT: reply(b'{"error": {"message": "no template"}}')})
    assert "answered with an error: no template" in refusal(server)


def test_request_refused(make_server: Any, reply: Any) -> None:
    server = make_server({CHAT: reply(b'{"error": {"message": "too long"}}', 400)})
    assert "refused a request with HTTP 400: too long" in refusal(server)


def test_reply_cut_off(make_server: Any, reply: Any) -> None:
    server = make_server({CHAT: reply(b'{"choices": []}', cut=4)})
    assert f"Server {server.url} can't be reached: it closed the connection" in refusal(server)


def test_nobody_there() -> None:
    with pytest.raises(
        UserError, match=r"http://127\.0\.0\.1:1 can't be reached: connection refused"
    ):
        ServerApi("http://127.0.0.1:1").health()


def test_an_answer_that_drips_in_ends_at_the_limit() -> None:
    """Each byte arrives in time; the whole answer never would."""

    def drips(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nX-More: " + b"and more " * 100, size=1, pause_s=0.05)
        talk.close()

    with Misbehaving(hello=drips) as server:
        api = ServerApi(server.url, timeout_s=0.2)
        assert api.props() is None
        with pytest.raises(UserError, match="it didn't answer in time"):
            api.complete(CHAT, {"messages": []}, timeout_s=1)


def test_unknown_host() -> None:
    with pytest.raises(UserError, match=r"http://no-such-host\.invalid can't be reached: "):
        ServerApi("http://no-such-host.invalid").health()


def test_still_loading(make_server: Any, reply: Any) -> None:
    loading = reply(b'{"error": {"message": "Loading model"}}', 503)
    for paths in (["/health", "/props", "/v1/models", CHAT], [CHAT]):
        server = make_server(dict.fromkeys(paths, loading))
        assert "is still loading its model" in refusal(server)


def test_server_without_streaming_is_warned_of(make_server: Any, reply: Any) -> None:
    whole = reply(b'{"choices": [{"message": {"content": "Hi"}}]}')
    answer = probe_of(make_server({CHAT: whole}))
    assert not answer.streaming
    assert any("doesn't stream" in warning for warning in answer.warnings)
    assert any("no `usage`" in warning for warning in answer.warnings)


def test_context_is_counted_with_the_template(make_server: Any, chat: Any, reply: Any) -> None:
    # 49 tokens of text, 60 with the template; 128 for the reply
    props = {"total_slots": 2, "default_generation_settings": {"n_ctx": 180}}
    answers = {
        CHAT: chat,
        "/props": reply(json.dumps(props).encode()),
        "/tokenize": reply(json.dumps({"tokens": list(range(49))}).encode()),
    }
    message = refusal(make_server(answers), run={"max_tokens": 128})
    assert "a prompt of about 60 tokens and a reply of 128 need 188, and a slot has 180" in message
    answer = probe_of(make_server(answers), run={"max_tokens": 120})
    assert answer.prompt_tokens == {48: 60}
    assert answer.warnings[0].startswith("Inflight 8 on 2 slots: 6 requests")


def test_key_is_wanted(make_server: Any, reply: Any) -> None:
    server = make_server({CHAT: reply(status=401)})
    assert "wants an API key; set server.api_key_env" in refusal(server)


@pytest.mark.parametrize("status", [401, 403])
def test_wrong_key_is_never_shown(
    make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    message = refusal(
        make_server({CHAT: reply(f"bad key {KEY}".encode(), status)}),
        server={"api_key_env": "MY_KEY"},
    )
    assert f"HTTP {status}" in message
    assert "MY_KEY" in message
    assert KEY not in message


def test_key_that_the_server_repeats_is_not_shown(
    make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = make_server({CHAT: reply(f"what is {KEY}?".encode(), 400)})
    message = refusal(server, server={"api_key_env": "MY_KEY"})
    assert "what is ***?" in message
    assert KEY not in message
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", [None, "", " "])
def test_key_variable_unset(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UserError, match="the environment variable MY_KEY is not set"):
        api_key(config(server={"api_key_env": "MY_KEY"}).server)


def test_key_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "geheim\nü")
    with pytest.raises(UserError, match="MY_KEY") as error:
        api_key(config(server={"api_key_env": "MY_KEY"}).server)
    assert "geheim" not in str(error.value)


def test_snapshot_of_a_plain_server_is_small(make_server: Any, chat: Any, reply: Any) -> None:
    metrics = reply(b"python_gc 3\nllamacpp:n_decode_total 4\n", kind="text/plain")
    state = snapshot(ServerApi(make_server({CHAT: chat, "/metrics": metrics}).url))
    assert state["metrics"] == {"llamacpp:n_decode_total": 4.0}
    assert state["slots"] is None


HOSTILE = [
    b"[" * 100_000,
    b'{"error":' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'{"data": [{"id": 5, "aliases": 7}, {"id": "a", "aliases": {"b": 1}}, null]}',
    b'{"default_generation_settings": [], "total_slots": "8", "build_info": {}, "model_path": 1}',
    b'{"default_generation_settings": {"n_ctx": 1e9}, "total_slots": 99999999999999999999}',
    b'[{"n_ctx": "x"}, {"n_ctx": -1}]',
    b'[{"is_processing": []}, 1]',
    b'{"tokens": {"a": 1}}',
    b'{"choices": [{"message": {"content": ["a"]}, "finish_reason": {}}], "usage": [], '
    b'"timings": 1}',
    b'{"choices": [{"text": "\\ud800"}]}',
    b"llamacpp:a NaN\nllamacpp:b +Inf\nllamacpp:c 1e999\n\xff\xfe",
    b"\x00\xff\x1b[2J",
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: body[:40].decode("latin-1"))
def test_hostile_answers_of_all_endpoints(
    make_server: Any, chat: Any, reply: Any, body: bytes
) -> None:
    """The probe gives a result that can be stored, or one sentence, whatever the paths answer."""
    paths = ["/health", "/v1/models", "/props", "/slots", "/metrics", "/tokenize"]
    server = make_server({CHAT: chat} | dict.fromkeys(paths, reply(body)))
    answer = probe_of(server)
    json.loads(answer.model_dump_json())
    json.dumps(snapshot(ServerApi(server.url)), allow_nan=False)
    try:
        probe_of(make_server({CHAT: reply(body)}))
    except UserError as error:
        assert str(error).isprintable()


def test_hostile_names_are_shown_on_one_line(make_server: Any, chat: Any, reply: Any) -> None:
    names = ["../../etc/passwd", "<script>alert(1)</script>", "\x1b[2Jx\r\ny", "n" * 5000]
    models = reply(json.dumps({"data": [{"id": name} for name in names]}).encode())
    (warning,) = probe_of(
        make_server({CHAT: chat, "/v1/models": models}), model={"served_as": "mine"}
    ).warnings
    assert warning.isprintable() and len(warning) < 1000


def test_a_key_that_the_server_repeats_is_not_kept(
    make_server: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    whole = {"choices": [{"message": {"content": f"Key {KEY}"}}], "system_fingerprint": KEY}
    answers = {
        CHAT: reply(json.dumps(whole).encode()),
        "/v1/models": reply(json.dumps({"data": [{"id": KEY}]}).encode()),
        "/props": reply(json.dumps({"build_info": KEY, "model_path": KEY}).encode()),
    }
    answer = probe_of(make_server(answers), server={"api_key_env": "MY_KEY"})
    assert answer.replies[0].content == "Key ***"
    assert KEY not in answer.model_dump_json()
