"""Whether an engine is ready: it answers, and it is what listens on its port."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException

import psutil

_ANSWER_TIMEOUT_S = 2
# The engine is on this host: the environment's proxies don't apply
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def reason_to_wait(
    pid: int, port: int, url: str, headers: Mapping[str, str], *, with_children: bool
) -> str | None:
    """Why the engine isn't ready yet, as a clause; None when it is.

    url: the page that it answers with 200 when it is ready. with_children: whether a process below
    `pid` may be the one that listens.
    """
    if not _may_listen(pid, port, with_children):
        return f"none of its processes listens on port {port}"
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with _DIRECT.open(request, timeout=_ANSWER_TIMEOUT_S) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, HTTPException):
        return f"GET {url} has no answer"
    return None if status == HTTPStatus.OK else f"GET {url} is answered with HTTP {status}"


def _may_listen(pid: int, port: int, with_children: bool) -> bool:
    """Whether one of the processes listens on the port; True where their sockets are hidden."""
    try:
        root = psutil.Process(pid)
        processes = [root, *(root.children(recursive=True) if with_children else [])]
    except psutil.NoSuchProcess:
        return False
    is_hidden = False
    for process in processes:
        try:
            sockets = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            is_hidden = True
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets):
            return True
    return is_hidden
