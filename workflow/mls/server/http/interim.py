"""Interim replies (HTTP 100 to 199), behind which the final one follows (RFC 9110, 15.2)."""

from __future__ import annotations

import http.client


class _FinalReply(http.client.HTTPResponse):
    """A reply whose head is read behind all interim ones.

    `http.client` looks behind `100 Continue` and takes another one, such as `103 Early Hints`, for
    the reply itself.
    """

    def begin(self) -> None:
        super().begin()
        # What follows 101 isn't HTTP
        while self.status < http.client.OK and self.status != http.client.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


def look_behind_interim_replies() -> None:
    """Have this process's connections read final replies, as the epoll transport does.

    It is set for all of them: the adapters for https, proxies and Unix sockets each have a class
    of connections of their own.
    """
    http.client.HTTPConnection.response_class = _FinalReply
