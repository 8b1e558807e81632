"""Failures of a server, and the record of each."""

from __future__ import annotations

import json

from tests.servers.behaviours import BODY, HALF_REPLY, UNFRAMED_HEAD, closes, resets, sends
from tests.servers.misbehaving import chunked, events, reply


def error_json(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


FAILURES = {
    "resets": (resets, "reset", 3, 0),
    "closes without a reply": (closes, "reset", 3, 0),
    "closes in mid-reply, chunked": (sends(HALF_REPLY, close=True), "closed_early", 1, 2),
    "closes in mid-reply, with a content-length": (
        sends(reply(BODY[:150], content_type="text/event-stream", content_length="9999"), True),
        "closed_early",
        1,
        2,
    ),
    "closes in mid-reply, unframed": (
        sends(UNFRAMED_HEAD + BODY[:110], True),
        "closed_early",
        1,
        2,
    ),
    "400": (sends(reply(error_json("no"), "400 Bad Request")), "http_400", 1, 0),
    "401": (sends(reply(error_json("no key"), "401 Unauthorized")), "http_401", 1, 0),
    "429 for ever": (sends(reply(b"", "429 Too Many Requests")), "http_429", 3, 0),
    "500": (sends(reply(error_json("no"), "500 Oh")), "http_500", 1, 0),
    "500 and close": (sends(reply(b"", "500 Oh", connection="close"), True), "http_500", 1, 0),
    "503 for ever, as llama-server while it is loading": (
        sends(reply(error_json("Loading model"), "503 Service Unavailable")),
        "http_503",
        3,
        0,
    ),
    "half a character at the end": (
        sends(chunked(events()[0], b'data: {"choices": [{"delta": {"content": "\xc3"}}]}\n\n')),
        "bad_reply",
        1,
        1,
    ),
    "204": (sends(b"HTTP/1.1 204 No Content\r\n\r\n"), "http_204", 1, 0),
    "HTML with status 200": (
        sends(reply(b"<html>Welcome</html>", content_type="text/html")),
        "bad_reply",
        1,
        0,
    ),
    "no body": (sends(reply(b"")), "bad_reply", 1, 0),
    "redirect": (sends(reply(b"", "302 Found", location="/elsewhere")), "http_302", 1, 0),
    "redirect that keeps the method": (
        sends(reply(b"", "307 Temporary Redirect", location="/elsewhere")),
        "http_307",
        1,
        0,
    ),
    "not HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n", close=True), "bad_http", 1, 0),
    "error in mid-stream": (
        sends(chunked(events()[0], b'data: {"error": {"message": "full"}}\n\n')),
        "server_error",
        1,
        1,
    ),
}
"""Name → (behaviour, kind of the error, attempts, chunks in the record)."""
