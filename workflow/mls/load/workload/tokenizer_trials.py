"""Texts of an exact number of tokens for the server under test.

The server is its own tokenizer. The built-in words that are one token each, wherever they stand in
a prompt, are selected. A text of n of them has n tokens, plus those that the chat template and the
tokenizer add around it. Long random texts test this sum. The `usage` of one completion gives the
remaining overhead, such as a token that begins every prompt.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mls.config.sections.run import Run
from mls.core.digest import data_sha256
from mls.core.errors import UserError
from mls.core.files import write
from mls.load.workload.calibration import Calibration
from mls.protocol.body import body_fields, prompt_field
from mls.protocol.prompts import WORDS
from mls.server.api import ServerApi
from mls.server.tokenizer import prompt_counter

_LEAST_WORDS = 50
_TRIALS = (2, 5, 40, 300, 1500)
_USAGE_WORDS = (8, 72)


def calibrate(
    api: ServerApi,
    run: Run,
    system: str | None,
    served_as: str | None,
    cache: Path | None,
    model_sha256: str | None,
) -> Calibration:
    """The calibration by the server, or from a file below `cache` for the same model and template.

    Without the model's hash no file is used, since another model may come to the same address.
    Raises `UserError`.
    """
    props = api.props() or {}
    chat = run.chats
    key = [model_sha256, props.get("build_info"), run.endpoint]
    path = None
    if cache and model_sha256:
        digest = data_sha256([*key, chat and [props.get("chat_template"), system], WORDS])
        path = cache / f"{digest[:32]}.json"
        calibration = _read(path)
        if calibration:
            return calibration
    calibration = _exact(api, run, system, served_as) or _estimated(api, run, system, served_as)
    if path:
        write(path, calibration.model_dump_json() + "\n")
    return calibration


def _read(path: Path) -> Calibration | None:
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _exact(
    api: ServerApi, run: Run, system: str | None, served_as: str | None
) -> Calibration | None:
    """The calibration by the server's tokenizer; None without one, or when words aren't tokens."""
    counter = prompt_counter(api, run, system, served_as)
    if counter is None:
        return None

    def tokens(text: str) -> int:
        return counter(text) or 0

    first = {word: tokens(word) for word in WORDS}
    least = min(first.values())
    opener = next(word for word, count in first.items() if count == least)
    words = tuple(w for w in WORDS if first[w] == least and tokens(f"{opener} {w}") == least + 1)
    source = random.Random(0)
    for count in _TRIALS:
        if len(words) < _LEAST_WORDS:
            return None
        if tokens(" ".join(source.choices(words, k=count))) != least - 1 + count:
            return None
    usage = prompt_usage(api, run, system, served_as, " ".join(words[: _USAGE_WORDS[0]]))
    overhead = least - 1 if usage is None else usage - _USAGE_WORDS[0]
    return Calibration(words=words, overhead=overhead, per_word=1, exact=True)


def _estimated(api: ServerApi, run: Run, system: str | None, served_as: str | None) -> Calibration:
    """The calibration by the `usage` of two prompts of different lengths. Raises `UserError`."""
    source = random.Random(0)
    texts = [source.sample(WORDS, k=count) for count in _USAGE_WORDS]
    usage = [prompt_usage(api, run, system, served_as, " ".join(text)) for text in texts]
    if usage[0] is None or usage[1] is None or usage[1] <= usage[0]:
        raise UserError(
            f"workload: the server at {api.url} has neither /tokenize nor `usage`, so prompts of a "
            "length in tokens can't be made; use workload.kind words or dataset."
        )
    per_word = (usage[1] - usage[0]) / (_USAGE_WORDS[1] - _USAGE_WORDS[0])
    overhead = max(0, round(usage[0] - per_word * _USAGE_WORDS[0]))
    return Calibration(words=tuple(WORDS), overhead=overhead, per_word=per_word, exact=False)


def prompt_usage(
    api: ServerApi, run: Run, system: str | None, served_as: str | None, text: str
) -> int | None:
    """The prompt tokens of a text, by the `usage` of a completion of one token."""
    one: dict[str, Any] = {"stream": False, "max_tokens": 1, "cache_prompt": False}
    short = run.model_copy(update=one)
    body = body_fields(short, served_as) | prompt_field(short, text, system)
    return api.complete(run.endpoint, body, run.timeout_s).prompt_tokens
