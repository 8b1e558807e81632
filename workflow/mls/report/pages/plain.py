"""The page's answer and its checks that did not pass, as plain text for a terminal."""

from __future__ import annotations

from markupsafe import Markup

from mls.analysis.answer import answer
from mls.analysis.study import Study
from mls.host.text import one_line
from mls.report.pages.rows import MARKS, checks
from mls.report.text.answer import sentences
from mls.report.text.leavers import leavers_sentences
from mls.report.text.processes import process_sentences
from mls.report.text.speculation import speculation_sentences
from mls.report.text.stopping import search_sentences


def plain(study: Study) -> str:
    """A line for each sentence of the answer, then one for each check that did not pass."""
    whole = answer(study)
    lines = []
    for each in whole.models:
        texts = sentences(each, whole.rate, study.naming, len(whole.models) > 1)
        texts += speculation_sentences(study, each.model)
        texts += leavers_sentences(study, each.model)
        texts += search_sentences(study, each.model, study.varying)
        texts += process_sentences(study, each.model)
        lines += [_text(text) for text in texts]
    lines += [
        _text(f"{MARKS[check.status]} {check.name}, {check.where}: {check.message}")
        for check in checks(study)
    ]
    return "".join(f"{line}\n" for line in lines)


def _text(text: str) -> str:
    """One line without markup."""
    return one_line(text.striptags() if isinstance(text, Markup) else text)
