"""Whether an engine is ready: it answers, and it is what listens on its port."""

from __future__ import annotations

from collections.abc import Mapping

import psutil
import requests

_ANSWER_TIMEOUT_S = 2


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
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, timeout=_ANSWER_TIMEOUT_S, headers=dict(headers))
    except requests.RequestException:
        return f"GET {url} has no answer"
    if answer.status_code == requests.codes.ok:
        return None
    return f"GET {url} is answered with HTTP {answer.status_code}"


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
