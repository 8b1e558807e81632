"""The base of all sections of the config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all config sections: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def refuse_keys_of_other_kinds(
    section: Section,
    kind: str,
    keys: Mapping[str, Sequence[str]],
    always: Set[str],
    selector: str = "kind",
) -> None:
    """Raise `ValueError` for a key that was set and has no meaning for a section of this kind.

    keys: the keys of each kind. always: the keys that every kind has. selector: the key that says
    the kind.
    """
    fields = type(section).model_fields
    for key in sorted(section.model_fields_set - {*always, *keys[kind]}):
        if getattr(section, key) != fields[key].default:
            fits = " or ".join(each for each in keys if key in keys[each])
            raise ValueError(f"{key} goes with {selector} {fits}, not with {selector} {kind}")
