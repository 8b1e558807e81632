"""A message's content: one text, or parts of text, images and audio, in the words of each API."""

from __future__ import annotations

import re
from typing import Any

from mls.config.sections.run import Api

Part = dict[str, Any]
"""A part by OpenAI's chat completions: `text`, `image_url` or `input_audio`."""

Content = str | list[Part]

Messages = list[dict[str, Any]]
"""A conversation: each message has its `role` and, as `content`, a `Content`."""

IMAGE_APIS: tuple[Api, ...] = ("chat", "responses", "messages")
AUDIO_APIS: tuple[Api, ...] = ("chat",)
"""The APIs that take images, and audio."""

_DATA_URL = re.compile(r"data:(?P<type>[^;,]+)(?:;[^,]*)?,(?P<data>.*)", re.DOTALL)


def content_text(content: Content) -> str:
    """The text of a message: its parts of text, a line each."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def content_for(api: Api, content: Content) -> Content:
    """The content of a user's message as the API takes it, one of `IMAGE_APIS`."""
    if isinstance(content, str) or api == "chat":
        return content
    return [_of_responses(part) if api == "responses" else _of_messages(part) for part in content]


def _of_responses(part: Part) -> Part:
    if part["type"] == "text":
        return {"type": "input_text", "text": part["text"]}
    image = part["image_url"]
    detail = {"detail": image["detail"]} if "detail" in image else {}
    return {"type": "input_image", "image_url": image["url"], **detail}


def _of_messages(part: Part) -> Part:
    if part["type"] == "text":
        return part
    url = part["image_url"]["url"]
    data = _DATA_URL.fullmatch(url)
    source = (
        {"type": "base64", "media_type": data["type"], "data": data["data"]}
        if data
        else {"type": "url", "url": url}
    )
    return {"type": "image", "source": source}
