"""A request as a server reads it."""

from __future__ import annotations

import httptools


class ParsedRequest:
    """One HTTP request from its bytes. Raises `httptools.HttpParserError`."""

    def __init__(self, wire: bytes) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.url = b""
        self.complete = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(wire)
        self.method = parser.get_method()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
