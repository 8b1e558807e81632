"""`mls init`: a config for a server of one's own, whose lengths suit what the server says."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from mls.config.config import Config
from mls.config.parse import load_config, parse_config
from mls.core.errors import UserError
from mls.core.files import write
from mls.core.sweep_folder import sweep_folder
from mls.server.access import server_url
from mls.server.probe import probe
from mls.server.probe_result import Probe

INFLIGHT = (1, 2, 4, 8)
MOST_INFLIGHT = 64
PROMPT_WORDS, MAX_TOKENS = 192, 64
TOKENS_A_WORD = 1.5
"""Rather too many, so that a prompt surely fits."""

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
    data = config_data(name, server, model, probe(asked, "server", url))
    parse_config(data)
    write(path, _text(data, path))
    return path


def sweep_name(url: str) -> str:
    """A name for the sweep of the server at this URL: its host, port and path."""
    parts = urlsplit(url)
    place = f"{parts.hostname or ''}-{parts.port or ''}{parts.path.removesuffix('/v1')}"
    return _slug(place) or "server"


def config_data(
    name: str, server: dict[str, str], model: str | None, properties: Probe
) -> dict[str, Any]:
    """The config: the default grid, more in flight where there are more slots, lengths that fit."""
    served = model or properties.served_as or ""
    key = _slug(PurePosixPath(served).name.removesuffix(".gguf")) or "server"
    most = min(max(INFLIGHT[-1], properties.slots or 0), MOST_INFLIGHT)
    inflight = [2**n for n in range(most.bit_length())]
    return {
        "name": name,
        "title": f"{key} on {name}",
        "models": {key: {"served_as": model} if model else {}},
        "server": server,
        "run": {"rounds": 9, "iters": 24, **_lengths(properties)},
        "sweep": {"model": [key], "inflight": inflight, "ranks": [2]},
        "repeats": 3,
    }


def _lengths(properties: Probe) -> dict[str, int]:
    """Words of a prompt and tokens of a reply that a slot has room for; an unknown room has."""
    room = properties.ctx_per_slot
    if room is None:
        return {"prompt_words": PROMPT_WORDS, "max_tokens": MAX_TOKENS}
    tokens = min(MAX_TOKENS, max(1, room // 4))
    template = max(properties.prompt_tokens.values(), default=0)
    words = int((room - tokens - template) / TOKENS_A_WORD)
    return {"prompt_words": max(1, min(PROMPT_WORDS, words)), "max_tokens": tokens}


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
