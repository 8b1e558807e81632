"""A llama.cpp router by what a real one answered, for `http_server`."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Reply
from tests.unit.engine_pages import answer, page

CHAT = "/v1/chat/completions"
SERVER, ROUTER = "llama.cpp-b11434", "llama.cpp-b11434-router"
MODEL = "smollm2"
OF_MODEL = f"?model={MODEL}&autoload=false"
WHOLE = {
    "choices": [{"message": {"content": "Hi"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 32, "completion_tokens": 1},
}


class Router:
    """The answers of a router whose model has a state, and is loaded by its first completion.

    Without the model's name, and as long as the model isn't loaded, its pages answer HTTP 400.
    """

    def __init__(self, state: str = "unloaded", autoload: bool = True) -> None:
        self.state, self.completions = state, 0
        self._autoload = autoload
        pages = {
            "/props": json.dumps(answer(SERVER, "props")),
            "/slots": json.dumps(answer(SERVER, "slots")),
            "/metrics": page(SERVER, "after"),
        }
        self.answers = {
            CHAT: self._complete,
            "/props": lambda _: self._json(
                answer(ROUTER, "props") | {"models_autoload": self._autoload}
            ),
            "/v1/models": lambda _: self._json(self._models()),
            **{path + OF_MODEL: self._page(text.encode()) for path, text in pages.items()},
        }

    def _json(self, value: Any, status: int = 200) -> Any:
        return Reply(json.dumps(value).encode(), status)

    def _models(self) -> Any:
        models = answer(ROUTER, "models")
        for entry in models["data"]:
            if entry["id"] == MODEL:
                entry["status"]["value"] = self.state
        return models

    def _page(self, body: bytes) -> Any:
        return lambda _: Reply(body) if self.state == "loaded" else self._refusal()

    def _refusal(self) -> Any:
        return self._json(answer(ROUTER, "not_loaded"), 400)

    def _complete(self, request: Any) -> Any:
        if self.state == "unloaded" and not self._autoload:
            return self._refusal()
        self.completions += 1
        self.state = "loaded"
        chunk = {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "length"}]}
        if not json.loads(request.body)["stream"]:
            return self._json(WHOLE)
        chunk["usage"] = WHOLE["usage"]
        stream = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
        return Reply(stream, kind="text/event-stream")
