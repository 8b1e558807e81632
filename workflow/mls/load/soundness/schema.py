"""Whether a JSON value fits a schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mls.protocol.asked import Schema

Fits = Callable[[Any], bool | None]
"""Value → whether it fits; None where the schema can't tell."""


def fits(schema: Schema) -> Fits:
    """The judge of values by this schema. It loads nothing that a `$ref` of the schema names."""
    # Most runs have no schema, and need not import this
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError:
        return lambda value: None
    validator = kind(schema, registry=Registry())

    def judge(value: Any) -> bool | None:
        try:
            return bool(validator.is_valid(value))
        except (Unresolvable, RecursionError):
            return None

    return judge
