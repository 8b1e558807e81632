"""The URL of a server's endpoint and of its root, in whichever form the config has them."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit

from mls.config.sections.secrets import without_secrets
from mls.core.errors import UserError
from mls.protocol.values import plain

_ENDPOINTS = (
    ["chat", "completions"],
    ["completions"],
    ["responses"],
    ["messages"],
    ["completion"],
    ["infill"],
    ["embeddings"],
    ["rerank"],
    ["score"],
)
_VERSION = "v1"


def endpoint_url(url: str, endpoint: str) -> str:
    """The URL that requests are POSTed to: the endpoint below the server's URL.

    Path segments that end the URL and begin the endpoint count once: `/v1` may stand in either or
    in both, and the URL may be the endpoint's own. Raises `UserError` for the URL of another
    endpoint and for a URL with a query.
    """
    parts = urlsplit(url)
    words = _words(parts.path)
    endpoint_words = _words(endpoint.partition("?")[0])
    most = min(len(words), len(endpoint_words))
    overlap = next((n for n in range(most, 0, -1) if words[-n:] == endpoint_words[:n]), 0)
    if parts.query or parts.fragment or (not overlap and _endpoint_words(words)):
        root, own = _split(parts)
        place = f"server.url (--server) to {root}" if root != url else ""
        other = (
            f"run.endpoint (--endpoint) to {own}" if own != "/" else "run.endpoint, with the query"
        )
        advice = " and ".join(filter(None, [place, other]))
        raise UserError(f"{plain(url)} is not a server's URL but an endpoint's: set {advice}.")
    return f"{_origin(parts)}{_path(words[: len(words) - overlap])}{endpoint}"


def root_url(url: str, endpoint: str) -> str:
    """The server's root: paths such as `/v1/models` and `/props` lie below it.

    The root ends before `/v1` and before the endpoint's own path segments. A path prefix belongs to
    the root, whether the URL or the endpoint has it. Raises as `endpoint_url` does.
    """
    parts = urlsplit(endpoint_url(url, endpoint))
    words = _words(parts.path)
    own = _endpoint_words(words)
    words = words[: len(words) - own] if own else _words(urlsplit(url).path)
    if words[-1:] == [_VERSION]:
        words.pop()
    return _origin(parts) + _path(words)


def redirection(url: str, location: str) -> str:
    """The predicate of a sentence about `url`: where it is redirected, and what to do about it.

    location: the header `Location`, absolute or relative.
    """
    try:
        to = urlsplit(without_secrets(urljoin(url, location)))
    except ValueError:
        return f"redirected to {plain(without_secrets(location))} (Location), which is no URL"
    where = f"redirected to {plain(to.geturl())} (Location), which is not followed"
    if not _endpoint_words(_words(to.path)):
        return f"{where}; set server.url to the API's own URL"
    root, endpoint = _split(to)
    same = root == _split(urlsplit(url))[0]
    keys = [] if same else [f"server.url to {plain(root)}"]
    return f"{where}; set {' and '.join([*keys, f'run.endpoint to {plain(endpoint)}'])}"


def _split(parts: SplitResult) -> tuple[str, str]:
    """(root, endpoint with `/v1` and query) of an endpoint's URL; (root, `/`) of any other URL."""
    words = _words(parts.path)
    own = _endpoint_words(words)
    if own and words[-own - 1 : -own] == [_VERSION]:
        own += 1
    root = _origin(parts) + _path(words[: len(words) - own])
    end = "/" if parts.path.endswith("/") or not own else ""
    query = f"?{parts.query}" if parts.query and own else ""
    return root, _path(words[len(words) - own :]) + end + query


def _endpoint_words(words: list[str]) -> int:
    """The number of segments at a path's end that are an endpoint's; 0 when none are."""
    return next((len(each) for each in _ENDPOINTS if words[-len(each) :] == each), 0)


def _words(path: str) -> list[str]:
    return [word for word in path.split("/") if word]


def _path(words: list[str]) -> str:
    return "".join(f"/{word}" for word in words)


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"
