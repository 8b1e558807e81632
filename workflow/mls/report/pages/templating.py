"""The Jinja2 environment of all pages: it escapes all values, and a missing value is an error."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

_PARTS = ("common", "drawings", "welch", "cells", "start")
"""The script's files in `templates/script`, in their order."""


def templates() -> Environment:
    """The environment; its globals are the pages' only script, and the policy that allows it."""
    environment = Environment(
        loader=PackageLoader("mls.report"),
        autoescape=select_autoescape(["html", "j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    text = script()
    environment.globals |= {"script": Markup(text), "policy": policy(text)}  # safe: of this package
    return environment


def script() -> str:
    """The script as it stands between its tags."""
    folder = files("mls.report") / "templates" / "script"
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _PARTS]
    return '(() => {\n"use strict";\n' + "".join(parts) + "})();\n"


def policy(text: str) -> str:
    """The Content-Security-Policy under which nothing is loaded and nothing but this script runs."""
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
