"""Types of the texts in the config, each with the checks that its use needs."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[ -~]*$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]


SECRET_INPUT = "secret_input"
"""Type of an error whose message must not show what was written."""

_SECRET_NAME = re.compile(
    r"auth(orization)?\b|api[-_]?key|(access|functions|subscription)[-_]key|token(?!s)|secret"
    r"|cookie|passw|credential|signature",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(basic|bearer|token|apikey)\s+\S|(sk|hf|pk|gsk)[-_][\w-]{8}", re.IGNORECASE
)


def _no_secret(name: str) -> str:
    if _SECRET_NAME.search(name):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a header {name} would be stored with the results: let `server.headers_env` name an environment "
            "variable that holds its value (or `server.api_key_env`, for a bearer key)",
            {"name": name},
        )
    return name


def no_secret_values(headers: dict[str, str]) -> dict[str, str]:
    """The same headers. Raises an error that names the first one whose value looks like a key."""
    for name, value in headers.items():
        if _SECRET_VALUE.match(value):
            raise PydanticCustomError(
                SECRET_INPUT,
                "the value of {name} looks like a key, and would be stored with the results: let "
                "`server.headers_env` name an environment variable that holds it",
                {"name": name},
            )
    return headers


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
PublicHeaderName = Annotated[HeaderName, AfterValidator(_no_secret)]


_SECRET_VARIABLE = re.compile(
    r"(^|_)(api_?key|access_?key|auth|token|secret|passw(or)?d|credentials?)$", re.IGNORECASE
)
_KEY_OPTION = re.compile(r"--?(api|admin|access)[-_]key(=|$)", re.IGNORECASE)


def no_secret_variables(environment: dict[str, str]) -> dict[str, str]:
    """The same variables. Raises an error that names the first one that seems to hold a secret."""
    for name, value in environment.items():
        if _SECRET_VARIABLE.search(name) or _SECRET_VALUE.match(value):
            raise PydanticCustomError(
                SECRET_INPUT,
                "the value of {name} would be stored with the results: export it before starting, as the "
                "server inherits the environment (its own API key is that of `server.api_key_env`)",
                {"name": name},
            )
    return environment


def no_key_options(words: list[str]) -> list[str]:
    """The same words of a command line. Raises an error when one of them seems to be of a key."""
    if any(_KEY_OPTION.match(word) or _SECRET_VALUE.match(word) for word in words):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a key on a command line can be read by every user of the host, and would be stored with the "
            "results: let `server.api_key_env` name the variable that holds it, which the server gets as "
            "MLS_API_KEY, LLAMA_API_KEY and VLLM_API_KEY",
        )
    return words


_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _variable(name: str) -> str:
    if not _VARIABLE.match(name):
        raise PydanticCustomError(
            SECRET_INPUT,
            "expected the name of an environment variable, such as MY_KEY (never the key itself)",
        )
    return name


def _http_url(url: str) -> str:
    if not re.match(r"^https?://[^\s/]+", url):
        raise ValueError("expected a URL such as http://127.0.0.1:8090")
    if "@" in urlsplit(url).netloc:
        raise PydanticCustomError(
            SECRET_INPUT,
            "a user or password in a URL would be stored with the results: leave them out "
            "(`server.api_key_env` names a variable with a key; a proxy's may be in HTTP_PROXY)",
        )
    return url.rstrip("/")


def _server_url(url: str) -> str:
    if re.match(r"^http\+unix://%2F\S+$", url, re.IGNORECASE):
        return url.rstrip("/")
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
Profile = Annotated[Literal["off", "nsys", "ncu"], BeforeValidator(word)]
