"""`mls init`: a config for a server of one's own, whose lengths suit what the server says."""

from __future__ import annotations

import re
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import load_config, parse_config
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.sweep_folder import sweep_folder
from mls.protocol.body import sample_body, without
from mls.protocol.prompts import prompt
from mls.server.access import server_url, target_of
from mls.server.api import ServerApi
from mls.server.probe import probe
from mls.server.probe_result import Probe

INFLIGHT = (1, 2, 4, 8)
MOST_INFLIGHT = 64
PROMPT_WORDS, MAX_TOKENS = 192, 64
TOKENS_A_WORD = 1.5
"""Rather too many, so that a prompt surely fits."""

LONGEST_S = 2.0
"""Duration of a request alone above which requests get shorter, and so the sweep."""

LEAST_WORDS, LEAST_TOKENS = 16, 8
"""A slower server's requests are no shorter than that, if they fit."""

_LEAST = {"prompt_words": 1, "max_tokens": 1}


def init(url: str, model: str | None, api_key_env: str | None, output: Path | None) -> Path:
    """Ask the server what it is, and write a config for it. Returns the config's path.

    output: default: `config.yaml` in the folder of the sweep's results. A file that is there is
    kept, as it may have been edited, if it is of this server, model and key. Raises `UserError`.
    """
    url = server_url(url)
    name = sweep_name(url)
    path = (
        output or sweep_folder(Path(Config.model_fields["results"].default), name) / "config.yaml"
    )
    if path.exists():
        _check_same(path, url, model, api_key_env)
        return path
    server = {"url": url} | ({"api_key_env": api_key_env} if api_key_env else {})
    asked = parse_config(
        {
            "models": {"server": {"served_as": model} if model else {}},
            "server": server,
            "run": _LEAST | {"ranks": 1, "inflight": 1},
        }
    )
    properties = probe(asked, "server", url)
    data = config_data(name, server, model, properties)
    one_s = _duration_s(parse_config(data), url, properties)
    if one_s > LONGEST_S:
        data = config_data(name, server, model, properties, LONGEST_S / one_s)
    write(path, _text(data, path))
    return path


def sweep_name(url: str) -> str:
    """A name for the sweep of the server at this URL: its host, port and path."""
    parts = urlsplit(url)
    place = f"{parts.hostname or ''}-{parts.port or ''}{parts.path.removesuffix('/v1')}"
    return _slug(place) or "server"


def _duration_s(config: Config, url: str, properties: Probe) -> float:
    """How long one request of the config takes, alone. Raises `UserError` when it fails."""
    point = settings(config, cells(config)[0], 1)
    run = without(point.run, properties.refused)
    api = ServerApi(target_of(url, point.server, run), run=run)
    body = sample_body(run, properties.served_as, prompt(0, 0, run.prompt_words), salted=True)
    begin_s = time.monotonic()
    api.complete(run.endpoint, body, run.timeout_s)
    return time.monotonic() - begin_s


def config_data(
    name: str, server: dict[str, str], model: str | None, properties: Probe, share: float = 1
) -> dict[str, Any]:
    """The config: the default grid, more in flight where there are more slots, lengths that fit.

    share: of the usual lengths, for a slow server.
    """
    served = model or properties.served_as or ""
    key = _slug(PurePosixPath(served).name.removesuffix(".gguf")) or "server"
    most = min(max(INFLIGHT[-1], properties.slots or 0), MOST_INFLIGHT)
    inflight = [2**n for n in range(most.bit_length())]
    return {
        "name": name,
        "title": f"{key} on {name}",
        "models": {key: {"served_as": model} if model else {}},
        "server": server,
        "run": {"rounds": 9, "iters": 24, **_lengths(properties, share)},
        "sweep": {"model": [key], "inflight": inflight, "ranks": [2]},
        "repeats": 3,
    }


def _lengths(properties: Probe, share: float) -> dict[str, int]:
    """Words of a prompt and tokens of a reply that a slot has room for; an unknown room has."""
    most_words = max(LEAST_WORDS, int(share * PROMPT_WORDS))
    most_tokens = max(LEAST_TOKENS, int(share * MAX_TOKENS))
    room = properties.ctx_per_slot
    if room is None:
        return {"prompt_words": most_words, "max_tokens": most_tokens}
    tokens = min(most_tokens, max(1, room // 4))
    template = max(properties.prompt_tokens.values(), default=0)
    words = int((room - tokens - template) / TOKENS_A_WORD)
    return {"prompt_words": max(1, min(most_words, words)), "max_tokens": tokens}


def _check_same(path: Path, url: str, model: str | None, api_key_env: str | None) -> None:
    config = load_config(path)
    served = {name: m.served_as or name for name, m in config.models.items()}
    same = (
        config.server.addresses == [url]
        and (model is None or model in served.values())
        and (api_key_env is None or config.server.api_key_env == api_key_env)
    )
    if not same:
        raise UserError(
            f"{path} is of another server, model or key: edit it and give it as CONFIG, or delete it "
            "to have it made anew."
        )


def _text(data: dict[str, Any], path: Path) -> str:
    sections = [yaml.safe_dump({key: value}, sort_keys=False) for key, value in data.items()]
    head = (
        "# Made by `mls init`, or by `make report SERVER=…`; edit it as you like. Every key is in\n"
        f"# config/README.md. To measure: make report CONFIG={path}\n"
    )
    return "\n".join([head, *sections])


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
