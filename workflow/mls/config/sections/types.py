"""Types of the texts in the config, each with the checks that its use needs."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from mls.config.sections.secrets import (
    SECRET_INPUT,
    has_key_option,
    no_key_in_query,
    no_secret_header,
    no_user,
)

_SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_SHA256 = r"^[0-9a-f]{64}$"
_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_HEADER_VALUE = r"^[ -~]*$"
_HOST_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
PATH = r"^/\S*$"
PROPORTIONS = r"^\d+(\.\d+)?(,\d+(\.\d+)?)*$"

EXPECTED = {
    _SLUG: "a name of letters, digits, dots, underscores and hyphens that begins with a letter or digit",
    _SHA256: "64 hexadecimal digits in lower case",
    _HEADER_NAME: "a header's name, without blanks and colon",
    _HEADER_VALUE: "printable ASCII",
    _HOST_NAME: "a host's name or its IPv4 address",
    PATH: "a path that begins with / and has no blanks",
    PROPORTIONS: "numbers with commas between, such as 3,1",
}
"""Pattern → what it says, for people."""

Slug = Annotated[str, Field(pattern=_SLUG)]
Sha256 = Annotated[str, Field(pattern=_SHA256)]
HeaderName = Annotated[str, Field(pattern=_HEADER_NAME)]
HeaderValue = Annotated[str, Field(pattern=_HEADER_VALUE)]
HostName = Annotated[str, Field(pattern=_HOST_NAME)]
Share = Annotated[float, Field(ge=0, le=1)]
PublicHeaderName = Annotated[HeaderName, AfterValidator(no_secret_header)]


_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _variable(name: str) -> str:
    if not _VARIABLE.match(name):
        raise PydanticCustomError(
            SECRET_INPUT,
            "expected the name of an environment variable, such as MY_KEY (never the key itself)",
        )
    return name


def _http_url(url: str) -> str:
    no_user(no_key_in_query(url))
    if not re.match(r"^https?://[^\s/]+\S*$", url := url.strip()):
        raise ValueError("expected a URL such as http://127.0.0.1:8090")
    urlsplit(url)  # Raises ValueError
    return url.rstrip("/")


def _server_url(url: str) -> str:
    url = url.strip()
    if re.match(r"^http\+unix://%2F\S+$", url, re.IGNORECASE):
        return no_key_in_query(url).rstrip("/")
    return _http_url(url)


EnvName = Annotated[
    str, Field(json_schema_extra={"pattern": _VARIABLE.pattern}), AfterValidator(_variable)
]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
ServerUrl = Annotated[str, AfterValidator(_server_url)]


def _command_line(text: str) -> str:
    """The command line with its words quoted, so that a shell reads each of them literally."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"expected a command line ({str(error).lower()})") from None
    if not words:
        raise ValueError("expected a command such as mpirun")
    if has_key_option(words):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a key on a command line can be read by every user of the host, and would be stored with the "
            "results: export its variable before starting, as ranks inherit the environment",
        )
    return shlex.join(words)


def _folder(text: str) -> str:
    if not text.isprintable() or "{" in text or "}" in text:
        raise ValueError("expected a folder without braces and control characters")
    return text


CommandLine = Annotated[str, AfterValidator(_command_line)]
Folder = Annotated[str, AfterValidator(_folder)]


def word(value: object) -> object:
    """The word of a boolean, as YAML reads a bare `on` as true and a bare `off` as false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def count_or(most: int, *words: str) -> BeforeValidator:
    """A check for a whole number from 1 to `most` or one of the words; one message names both."""

    def check(value: object) -> object:
        if value not in words and not (type(value) is int and 1 <= value <= most):
            raise ValueError(f"expected a whole number from 1 to {most}, or {' or '.join(words)}")
        return value

    return BeforeValidator(check)


OnOffAuto = Annotated[Literal["off", "on", "auto"], BeforeValidator(word)]
SpeculationKind = Annotated[Slug, BeforeValidator(word)]
Profile = Annotated[Literal["off", "nsys", "ncu"], BeforeValidator(word)]
