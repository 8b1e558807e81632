"""A server's own figures during load: its page of metrics, or llama.cpp's busy slots."""

from __future__ import annotations

from collections import deque

from mls.core.errors import UserError
from mls.protocol.engines.registry import GENERIC, by_owners
from mls.server import router
from mls.server.api import ServerApi
from mls.server.model_list import owners

BUSY = "slots:busy"
"""Name of the number of busy slots beside those of `/metrics`."""


class LoadFigures:
    """The figures of one server, by one small request a sample.

    `/slots` is asked only where there is no page of metrics, which has the busy slots as its
    requests at work. What isn't answered once isn't asked again; but a router, which has neither
    until it has loaded the model, is asked for both in turn until one is answered.
    """

    def __init__(self, api: ServerApi, model: str | None) -> None:
        """model: the name in the requests, of servers that may have several."""
        self._api, self._model = api, model
        self._path = _path(api)
        self._waits = _is_routed(api, model)
        self._sources = deque((self._metrics, self._slots))

    def sample(self) -> dict[str, float] | None:
        """Name → figure; empty where it has none now, None where it never will."""
        if not self._sources:
            return None
        source = self._sources[0]
        figures = source()
        if figures:
            self._sources = deque([source])
        elif figures is None and self._waits:
            self._sources.rotate()
        elif figures is None:
            self._sources.popleft()
        return figures or ({} if self._sources else None)

    def _metrics(self) -> dict[str, float] | None:
        try:
            return self._api.metrics(self._path, self._model)
        except UserError:  # busy, or gone
            return {}

    def _slots(self) -> dict[str, float] | None:
        try:
            slots = self._api.slots()
        except UserError:
            return None
        if slots is None:
            return None
        return {BUSY: float(sum(bool(slot.get("is_processing")) for slot in slots))}


def _path(api: ServerApi) -> str:
    """Path of the server's metrics by what it is."""
    try:
        return by_owners(owners(api.models())).metrics_path
    except UserError:
        return GENERIC.metrics_path


def _is_routed(api: ServerApi, model: str | None) -> bool:
    """Whether the server is a router, which is asked for the model's figures from now on."""
    try:
        return model is not None and router.follow(api, model)
    except UserError:
        return False
