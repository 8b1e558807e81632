"""The tokens of a text's passages, by the server under test, before the load.

The server says where each token of the whole text ends. A passage's tokens, from the end of its
first word to its own, are those in between: a tokenizer's merges don't reach across a place at
which a token ends. The first word is counted in its place, after what the chat template puts there,
and so is what follows a passage, such as a question. Random prompts test the sum.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from mls.config.sections.run import Run
from mls.config.sections.workload import Category
from mls.core.digest import data_sha256
from mls.core.errors import UserError
from mls.core.files import write
from mls.load.workload.text import stored
from mls.load.workload.text.corpus import Corpus
from mls.load.workload.text.passages import Passages, Starts, find_starts, word_ends
from mls.load.workload.text.tasks import KINDS, Kind, Tail, tails
from mls.load.workload.text.texts import Texts
from mls.load.workload.tokenizer_trials import prompt_usage
from mls.server.api import ServerApi
from mls.server.tokenizer import PromptCounter, prompt_counter

PromptTokens = Callable[[str], int]
"""A user's text → tokens of the prompt that it becomes."""

_SAMPLE_CHARACTERS = (200, 2000)
_PART_CHARACTERS = 40_000  # that are tokenized at once
_MARGIN = 400  # beyond which one token's place doesn't tell on another's
_TRIAL_TOKENS = (40, 150, 600, 1500)  # beside those of the longest tail
_TRIALS = 2  # of each length


def measure(
    api: ServerApi,
    run: Run,
    system: str | None,
    served_as: str | None,
    corpus: Corpus,
    folder: Path | None,
    model_sha256: str | None,
) -> Texts:
    """The texts of a run, measured by the server, or from a file below `folder`.

    Such a file is of the same model, template and corpus. Without the model's hash none is used,
    since another model may come to the same address. Raises `UserError`.
    """
    props = api.props() or {}
    path = None
    if folder and model_sha256:
        template = run.chats and [props.get("chat_template"), system]
        key = [model_sha256, props.get("build_info"), run.endpoint, template, corpus.sha256]
        path = folder / f"text-{data_sha256(key)[:32]}.npz"
        texts = stored.read(path, corpus)
        if texts:
            return texts
    samples = {kind: _beginning(text, _SAMPLE_CHARACTERS[0]) for kind, text in corpus.texts.items()}
    usage = prompt_usage(api, run, system, served_as, samples["prose"])
    counter = prompt_counter(api, run, system, served_as)
    texts = counter and _counted(api, run, corpus, counter, samples, usage)
    if texts is None:
        return _estimated(api, run, system, served_as, corpus, samples)
    if path and texts.exact:
        write(path, stored.packed(texts))
    return texts


def _counted(
    api: ServerApi,
    run: Run,
    corpus: Corpus,
    counter: PromptCounter,
    samples: dict[Kind, str],
    usage: int | None,
) -> Texts | None:
    """The texts by the server's tokenizer; None where it doesn't say which token ends where.

    usage: tokens of the sample of prose by a completion; the template may add some unsaid.
    """
    borders = {kind: _borders(api, text) for kind, text in corpus.texts.items()}
    bare = counter(samples["prose"])
    if bare is None:
        return None
    unsaid = 0 if usage is None else usage - bare

    def tokens(text: str) -> int:
        return (counter(text) or 0) + unsaid

    passages: dict[Kind, Passages] = {}
    for kind, starts in find_starts(corpus.texts).items():
        places = borders[kind]
        if places is None:
            return None
        passages[kind] = _passages(corpus.texts[kind], starts, places, tokens)
    after = {
        (category, kind): tuple(
            Tail(tail, tokens(samples[kind] + tail) - tokens(samples[kind]))
            for tail in tails(category, kind, run.chats)
        )
        for category in get_args(Category)
        for kind in KINDS[category]
    }
    texts = Texts(corpus.facts, True, passages, after)
    return replace(texts, exact=_holds(texts, tokens))


def _borders(api: ServerApi, text: str) -> NDArray[np.int64] | None:
    """The characters up to the end of each of a text's tokens; None where they can't be told."""
    borders = []
    for begin in range(0, len(text), _PART_CHARACTERS):
        low, high = max(0, begin - _MARGIN), begin + _PART_CHARACTERS
        part = text[low : high + _MARGIN]
        pieces = api.token_pieces(part)
        if pieces is None:
            return None
        joined = "".join(pieces)
        blank = len(joined) - len(part)  # some tokenizers begin every text with one
        if blank not in (0, 1) or joined[blank:] != part or joined[:blank].strip():
            return None
        ends = low + np.cumsum([len(piece) for piece in pieces]) - blank
        borders.append(ends[(ends > begin) & (ends <= high)])
    return np.concatenate(borders)


def _passages(
    text: str, starts: Starts, borders: NDArray[np.int64], tokens: PromptTokens
) -> Passages:
    ends = word_ends(text)
    ends = ends[np.isin(ends, borders)]
    up_to = np.searchsorted(borders, ends, side="right")
    first_ends = starts.at + np.array([len(word) for word in starts.first], np.int64)
    usable = np.isin(first_ends, ends)
    counts = {word: tokens(word) for word in dict.fromkeys(starts.first)}
    of_first = np.array([counts[word] for word in starts.first], np.int64)
    offset = of_first - np.searchsorted(borders, first_ends, side="right")
    return Passages(
        *(text, ends, up_to),
        *(starts.at[usable], starts.natural[usable], offset[usable]),
    )


def _holds(texts: Texts, tokens: PromptTokens) -> bool:
    """Whether random prompts of all categories have the tokens that they are meant to have."""
    source = random.Random(0)
    least = {kind: passages.least_tokens for kind, passages in texts.passages.items()}
    trials = [
        (kind, tail, least[kind] + more)
        for (_, kind), after in texts.tails.items()
        for tail in after
        for more in _TRIAL_TOKENS * _TRIALS
    ]
    for kind, tail, wanted in trials:
        passages = texts.passages[kind]
        start = source.randrange(len(passages.starts))
        end = passages.end(start, wanted)
        if end is not None and tokens(passages.cut(start, end) + tail.text) != wanted + tail.tokens:
            return False
    return True


def _estimated(
    api: ServerApi,
    run: Run,
    system: str | None,
    served_as: str | None,
    corpus: Corpus,
    samples: dict[Kind, str],
) -> Texts:
    """The texts by the `usage` of two prompts of each kind. Raises `UserError`."""
    passages: dict[Kind, Passages] = {}
    per_character: dict[Kind, float] = {}
    all_starts = find_starts(corpus.texts)
    for kind, text in corpus.texts.items():
        pair = samples[kind], _beginning(text, _SAMPLE_CHARACTERS[1])
        less, more = (prompt_usage(api, run, system, served_as, each) for each in pair)
        if less is None or more is None or more <= less:
            raise UserError(
                f"workload: the server at {api.url} has neither a /tokenize that says where tokens "
                "end nor `usage`, so prompts of a length in tokens can't be made; use workload.kind "
                "words or dataset."
            )
        rate = per_character[kind] = (more - less) / (len(pair[1]) - len(pair[0]))
        ends = word_ends(text)
        starts = all_starts[kind]
        offset = less - rate * len(pair[0]) - np.round(rate * starts.at)
        passages[kind] = Passages(
            *(text, ends, np.round(rate * ends).astype(np.int64)),
            *(starts.at, starts.natural, np.round(offset).astype(np.int64)),
        )
    after = {
        (category, kind): tuple(
            Tail(tail, round(per_character[kind] * len(tail)))
            for tail in tails(category, kind, run.chats)
        )
        for category in get_args(Category)
        for kind in KINDS[category]
    }
    return Texts(corpus.facts, False, passages, after)


def _beginning(text: str, characters: int) -> str:
    """The beginning of a text up to a word's end, of at most so many characters."""
    ends = word_ends(text[:characters])
    return text[: ends[-2]]
