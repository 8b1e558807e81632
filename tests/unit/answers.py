"""The answer of a page as plain text."""

from __future__ import annotations

import re

from mls.analysis.answer import Answer
from mls.analysis.study import Study
from mls.report.text.answer import sentences


def answer_text(answer: Answer, study: Study) -> str:
    """All sentences of the answer, without markup and with ordinary spaces."""
    several = len(answer.models) > 1
    lines = [
        line
        for model in answer.models
        for line in sentences(model, answer.rate, study.varying, several)
    ]
    return re.sub(r"<[^>]+>", "", " ".join(lines)).replace("\u202f", " ").replace("\u2060", "")
