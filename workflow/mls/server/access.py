"""How a server is reached: its URL, its keys, and the proxy on the way, if any.

Probe, control plane and load share the result, which the host of rank 0 resolves once.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from mls.config.sections.run import Run
from mls.config.sections.secrets import may_show
from mls.config.sections.server import Server
from mls.config.sections.types import ServerUrl
from mls.core.errors import UserError
from mls.host.usage.sockets import here
from mls.protocol.address import endpoint_url
from mls.protocol.request import LEAST_SECRET, Target

_URL: TypeAdapter[str] = TypeAdapter(ServerUrl)


def target_of(url: str, server: Server, run: Run) -> Target:
    """The server at `url`, as a run's requests reach it.

    Raises `UserError` for an invalid URL, for a key's variable that isn't set, and for a proxy that
    the run's transport can't use.
    """
    root = server_url(url)
    endpoint_url(root, run.endpoint)
    names = (*([server.api_key_env] if server.api_key_env else []), *server.headers_env.values())
    return Target(
        root,
        api_key(server),
        proxy_for(root, server, run),
        {header: _header(header, name) for header, name in server.headers_env.items()},
        names,
    )


def server_url(url: str) -> str:
    """A server's URL, validated. Raises `UserError`, whose message hides a password."""
    try:
        return _URL.validate_python(url)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        value = f", not {url!r}" if may_show(url) else ""
        raise UserError(f"--server: {message}{value}.") from None


def api_key(server: Server) -> str | None:
    """The key from the variable that `server.api_key_env` names; None when the config has none.

    Raises `UserError` when the variable is unset or its value can't be sent.
    """
    name = server.api_key_env
    if name is None:
        return None
    key = _variable("server.api_key_env", name)
    if " " in key:
        raise UserError(f"The API key in {name} has characters that can't be sent in a header.")
    return key


def key_advice(target: Target) -> str:
    """Advice for the user whose server answers a completion with HTTP 401 or 403."""
    if not target.secrets:
        return (
            "it wants an API key; set server.api_key_env to the name of the environment variable "
            "that holds it (server.headers_env where it goes into a header of its own)"
        )
    which = f" in {' and '.join(target.key_variables)}" if target.key_variables else ""
    place = (
        "" if target.headers else " (server.headers_env, where it goes into a header of its own)"
    )
    return f"it doesn't accept the API key{which}; set the right one{place}"


def proxy_for(url: str, server: Server, run: Run) -> str | None:
    """The proxy on the way to a server: the config's, else the environment's; None without one.

    `NO_PROXY` counts as it does for `requests`. The environment's proxy doesn't apply to servers on
    this host. Raises `UserError` where the run's transport can't use a proxy.
    """
    if url.startswith("http+unix:"):
        return None
    if server.proxy:
        if run.transport == "epoll":
            raise UserError(
                "server.proxy: the epoll transport speaks to the server itself; "
                "set run.transport to requests, or leave server.proxy out."
            )
        return server.proxy
    # `mls serve` asks for keys only, and need not import it
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy or here(url):
        return None
    if run.transport == "epoll":
        host = urlsplit(url).hostname
        raise UserError(
            f"{_variable_of(proxy, url)} names the proxy {without_password(proxy)} for {url}, but "
            f"the epoll transport speaks to the server itself: add {host} to NO_PROXY, or set "
            "server.proxy and run.transport: requests."
        )
    return proxy


def without_password(proxy: str) -> str:
    """A proxy's URL without user name and password."""
    return f"{proxy.rpartition('//')[0]}//{proxy.rpartition('@')[2]}" if "@" in proxy else proxy


def _variable_of(proxy: str, url: str) -> str:
    """The name of the environment variable that holds the proxy."""
    scheme = urlsplit(url).scheme
    variables = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    return next((name for name in variables if os.environ.get(name) == proxy), variables[0])


def _header(header: str, name: str) -> str:
    value = _variable(f"server.headers_env.{header}", name)
    if len(value) < LEAST_SECRET:
        raise UserError(
            f"server.headers_env.{header}: {name} holds fewer than {LEAST_SECRET} characters, too "
            "few for a secret; a header that is none belongs in run.request_headers."
        )
    return value


def _variable(key: str, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(
            f"{key}: the environment variable {name} is not set; export {name}=… before starting."
        )
    if not value.isascii() or not value.isprintable():
        what = "API key" if key == "server.api_key_env" else "value"
        raise UserError(f"The {what} in {name} has characters that can't be sent in a header.")
    return value
