"""Measured texts in a file, for the repeats that follow: all but the texts themselves."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from mls.load.workload.text.corpus import Corpus
from mls.load.workload.text.passages import Passages
from mls.load.workload.text.tasks import Tail
from mls.load.workload.text.texts import Texts

_TAILS = "tails"
_ARRAYS = [field.name for field in fields(Passages) if field.name != "text"]


def packed(texts: Texts) -> bytes:
    """The contents of such a file."""
    arrays = {
        f"{kind}.{name}": getattr(passages, name)
        for kind, passages in texts.passages.items()
        for name in _ARRAYS
    }
    tails = [
        [*pair, [[tail.text, tail.tokens] for tail in after]] for pair, after in texts.tails.items()
    ]
    file = io.BytesIO()
    np.savez_compressed(file, **(arrays | {_TAILS: np.array(json.dumps(tails))}))
    return file.getvalue()


def read(path: Path, corpus: Corpus) -> Texts | None:
    """Texts of the same corpus; None where there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            passages = {
                kind: Passages(text, **{name: file[f"{kind}.{name}"] for name in _ARRAYS})
                for kind, text in corpus.texts.items()
            }
            tails = {
                (category, kind): tuple(Tail(*pair) for pair in after)
                for category, kind, after in json.loads(str(file[_TAILS]))
            }
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return Texts(corpus.facts, True, passages, tails)
