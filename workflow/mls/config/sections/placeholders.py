"""Placeholders in the words of a command line: `{port}`; `{{` and `}}` are literal braces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Formatter


def placeholders(words: Sequence[str]) -> list[str]:
    """The names of all placeholders, each once. Raises `ValueError` for a brace of none."""
    names = (name for word in words for _, name in _parts(word) if name is not None)
    return list(dict.fromkeys(names))


def with_clear_braces(words: list[str]) -> list[str]:
    """The same words. Raises `ValueError` for a brace that is of no placeholder and not doubled."""
    placeholders(words)
    return words


def fill(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """The words with the values of all their placeholders. Raises `KeyError` without a value."""
    return [
        "".join(
            literal + ("" if name is None else str(values[name])) for literal, name in _parts(word)
        )
        for word in words
    ]


def fill_some(words: Sequence[str], values: Mapping[str, object]) -> list[str]:
    """The words with these values. All other placeholders, and doubled braces, stay as they are."""
    texts = {name: _literal(str(value)) for name, value in values.items()}
    return [
        "".join(
            _literal(literal) + ("" if name is None else texts.get(name, f"{{{name}}}"))
            for literal, name in _parts(word)
        )
        for word in words
    ]


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _parts(word: str) -> Iterator[tuple[str, str | None]]:
    """(literal text, name of the placeholder after it; None without one)."""
    try:
        parts = list(Formatter().parse(word))
    except ValueError:
        parts = [("", "", "", None)]
    for literal, name, form, conversion in parts:
        if name is not None and (not name.isidentifier() or form or conversion):
            raise ValueError(
                f"expected a placeholder such as {{port}} in the braces of {word!r}; "
                "literal ones are {{ and }}"
            )
        yield literal, name
