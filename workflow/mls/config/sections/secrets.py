"""Secrets in the config, which is stored with the results: each place refuses what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_plus

from pydantic_core import PydanticCustomError

SECRET_INPUT = "secret_input"
"""Type of an error whose message must not show what was written."""

_NAME = re.compile(
    r"auth(orization)?\b|api[-_]?key|(access|functions|subscription)[-_]key|token(?!s)|secret"
    r"|cookie|passw|credential|signature",
    re.IGNORECASE,
)
"""Of headers, and of parameters in a URL's query."""
_PARAMETERS = re.compile(r"([?&#])([^=&#]+)(?:=([^&#]*))?")
"""Of a URL: (what is before it, its name, its value; None without `=`)."""
_PARAMETER = re.compile(r"(key|code|sig|pwd|auth)$", re.IGNORECASE)
"""Further names in a query, whole."""
_VARIABLE = re.compile(
    r"(^|[_-])(api_?key|access_?key|auth|token|secret|passw(or)?d|credentials?)$", re.IGNORECASE
)
_FIELD = re.compile(
    r"(api|access|secret|subscription)[-_]?key$|(access|api|auth|bearer|refresh)[-_]?token$"
    r"|^authorization$|secret$|passw(or)?d$|credentials?$",
    re.IGNORECASE,
)
"""Of JSON fields, among which are `stop_token`, `cache_key` and the like."""
_OPTION = re.compile(
    r"--?((api|admin|access)[-_]keys?|((hf|access|auth)[-_])?token|hft|passw(or)?d)$", re.IGNORECASE
)
_VARIABLE_OPTIONS = ("-env", "-genv")
"""MPICH's options that are followed by a variable's name and its value."""
_SCHEME = re.compile(r"(basic|bearer|token|apikey)\s+\S", re.IGNORECASE)
_KEY = re.compile(
    r"((sk|hf|pk|gsk|ghp|glpat|nvapi|xai|eyJ)[-_]|eyJ)[\w-]{8}|AIza[\w-]{16}", re.IGNORECASE
)
_USER = re.compile(r"^[^/?#]*//[^/?#]*@|^[^/?#@\s]+:[^/?#@\s]+@")
"""What begins a URL with a user or password, also one that lacks its scheme; not a shell's `"$@"`."""


def seems_key(text: str) -> bool:
    """Whether a text looks like a key, or like a header's value that holds one."""
    return bool(_SCHEME.match(text) or _KEY.match(text))


def has_user(url: str) -> bool:
    """Whether a URL, or what may be meant as one, has a user or password before its host."""
    return bool(_USER.search(url))


def has_key_in_query(url: str) -> bool:
    """Whether a parameter in a URL's query or fragment seems to hold a key."""
    return any(map(_is_key, _PARAMETERS.finditer(url)))


def may_show(text: str) -> bool:
    """Whether a message may show a text of the config that isn't what was expected."""
    return not (
        has_user(text)
        or has_key_in_query(text)
        or _SCHEME.search(text)
        or any(_KEY.match(word) for word in re.split(r"[^\w-]+", text))
    )


def without_secrets(url: str) -> str:
    """A URL to show: `***` stands for user and password, and for each key in its query."""
    url = re.sub(r"//[^/?#]*@", "//***@", url, count=1)
    return _PARAMETERS.sub(
        lambda each: (
            f"{each[1]}{'' if each[3] is None else each[2] + '='}***" if _is_key(each) else each[0]
        ),
        url,
    )


def _is_key(parameter: re.Match[str]) -> bool:
    name, value = (unquote_plus(part or "") for part in parameter.groups()[1:])
    if not value:
        return seems_key(name)
    return bool(_NAME.search(name) or _PARAMETER.match(name) or seems_key(value))


def no_secret_header(name: str) -> str:
    """The header's name. Raises an error when it seems to be of a header with a secret."""
    if _NAME.search(name):
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
        if seems_key(value):
            raise PydanticCustomError(
                SECRET_INPUT,
                "the value of {name} looks like a key, and would be stored with the results: let "
                "`server.headers_env` name an environment variable that holds it",
                {"name": name},
            )
    return headers


def no_secret_variables(environment: dict[str, str]) -> dict[str, str]:
    """The same variables. Raises an error that names the first one that seems to hold a secret."""
    for name, value in environment.items():
        if _VARIABLE.search(name) or _holds_key(value):
            raise PydanticCustomError(
                SECRET_INPUT,
                "the value of {name} would be stored with the results: export it before starting, as the "
                "server inherits the environment (its own API key is that of `server.api_key_env`)",
                {"name": name},
            )
    return environment


def no_secret_fields(fields: dict[str, object]) -> dict[str, object]:
    """The same fields of a JSON body. Raises an error that names the first one with a key in it."""
    for path, value in _texts(fields):
        if any(map(_FIELD.search, path)) or _KEY.match(value) or has_user(value):
            raise PydanticCustomError(
                SECRET_INPUT,
                "the value of {name} would be stored with the results: leave it out, and let "
                "`server.headers_env` name an environment variable with the key, for a header",
                {"name": ".".join(path)},
            )
    return fields


def _texts(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """(names of the fields that lead to it, text) of each text that isn't empty."""
    if isinstance(value, str) and value:
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, (*path, str(name)))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)


def no_key_options(words: list[str]) -> list[str]:
    """The same words of a server's command line. Raises an error when one seems to be of a key."""
    if has_key_option(words):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a key on a command line can be read by every user of the host, and would be stored with the "
            "results: let `server.api_key_env` name the variable that holds it, which the server gets as "
            "MLS_API_KEY, LLAMA_API_KEY and VLLM_API_KEY",
        )
    return words


def has_key_option(words: Sequence[str]) -> bool:
    """Whether a word of a command line seems to hold a key, or to be followed by one."""
    followers = any(
        (_OPTION.match(word) and not after.startswith("-"))
        or (before in _VARIABLE_OPTIONS and _VARIABLE.search(word))
        for before, word, after in zip(["", *words], words, [*words[1:], "-"], strict=False)
    )
    return followers or any(map(_holds_key, words))


def _holds_key(word: str) -> bool:
    """Whether a word, or the value after its `=` or `:`, is a key, or a URL with one."""
    if seems_key(word) or has_user(word) or has_key_in_query(word):
        return True
    name, mark, value = re.match(r"([\w.-]*)([=:]?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    if not mark or not value.strip():
        return False
    if mark == ":":
        return bool(_NAME.search(name)) or seems_key(value.strip())
    own_name = name.lstrip("-")
    is_option = _OPTION.match(f"--{own_name}") or _VARIABLE.search(own_name)
    return bool(is_option) or seems_key(value) or has_user(value)


def no_key_in_query(url: str) -> str:
    """The same URL, or path with a query. Raises an error when a key seems to be in the query."""
    if has_key_in_query(url):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a key in a URL's query would be stored with the results: leave it out "
            "(`server.headers_env` and `server.api_key_env` name variables with keys for headers; a "
            "model behind a signed URL can be downloaded beforehand, and named by `path`)",
        )
    return url


def no_user(url: str) -> str:
    """The same URL. Raises an error when a user or password is in it."""
    if has_user(url):
        raise PydanticCustomError(
            SECRET_INPUT,
            "a user or password in a URL would be stored with the results: leave them out "
            "(`server.api_key_env` names a variable with a key; a proxy's may be in HTTP_PROXY)",
        )
    return url
