"""The embedded engine's process: reads its parameters as JSON on stdin, serves until a signal.

With exit status `EX_USAGE` the last line of output is a sentence for the user.
"""

from __future__ import annotations

import ast
import enum
import json
import os
import signal
import sys
import time
from typing import Any

from mls.core.errors import UserError, nearest
from mls.core.libraries import advice, lacking

_LOG_QUIET_S = 0.3
_LOG_WAIT_S = 3.0


def main() -> int:
    """Start the server and wait for a signal. Returns an exit status when it can't be started."""
    # A signal ends the process at once, which has nothing to save. An exception would wait in the
    # server's destructor for replies that never end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = json.load(sys.stdin)
    try:
        import xllamacpp
    except ImportError as error:
        libraries = lacking(str(error))
        print(
            f"server.engine: xllamacpp can't be imported ({error}); "
            f"{advice(libraries) if libraries else 'install it'}, "
            "or set server.engine to llama-server or server.url.",
            file=sys.stderr,
        )
        return os.EX_USAGE
    parameters = xllamacpp.CommonParams()
    try:
        for name, value in request["attributes"].items():
            assign(parameters, name, value)
        for argument in request["extra_args"]:
            name, _, text = argument.partition("=")
            assign(parameters, name, text, from_text=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return os.EX_USAGE
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        _wait_for_log()
        print(f"xllamacpp: {error}", file=sys.stderr)
        return 1
    print(f"listening on {server.listening_address}", flush=True)
    while True:
        signal.pause()


def _wait_for_log() -> None:
    """Wait until llama.cpp's logger, a thread, has written why it failed: no exit waits for it."""
    size, quiet_since = -1, time.monotonic()
    deadline = quiet_since + _LOG_WAIT_S
    while (now := time.monotonic()) < min(deadline, quiet_since + _LOG_QUIET_S):
        if (latest := os.fstat(sys.stderr.fileno()).st_size) != size:
            size, quiet_since = latest, now
        time.sleep(_LOG_QUIET_S / 10)


def assign(parameters: Any, name: str, value: Any, *, from_text: bool = False) -> None:
    """Set an attribute, nested by dots, to a value of its present type.

    from_text: whether the value is text of the config's `extra_args`. Raises `UserError`.
    """
    holder, last = _walk(parameters, name)
    now = getattr(holder, last)
    try:
        if last == "lora_adapters":
            holder.lora_adapters = _loras(value)
            return
        setattr(holder, last, _read(value, now) if from_text else _as_type(value, now))
    except (TypeError, ValueError, SyntaxError, OverflowError, AssertionError) as error:
        raise UserError(
            f"server.extra_args: {name}={value} can't be set ({error}); "
            f"expected a value of type {type(now).__name__}."
        ) from None


def _loras(text: str) -> list[Any]:
    """Adapters of a Python list of their files, each with its whole effect unless a request says."""
    from xllamacpp import CommonAdapterLoraInfo

    adapters = []
    for path in ast.literal_eval(text):
        adapter = CommonAdapterLoraInfo()
        adapter.path, adapter.scale = path, 1.0
        adapters.append(adapter)
    return adapters


def _walk(parameters: Any, name: str) -> tuple[Any, str]:
    *parents, last = name.split(".")
    holder = parameters
    for part in [*parents, last]:
        attributes = [key for key in dir(holder) if not key.startswith("_")]
        if part not in attributes:
            raise UserError(
                "server.extra_args: xllamacpp has no parameter "
                f"{name!r}{nearest(part, attributes)}; expected attribute=value, with dots for "
                "nested ones."
            )
        if part is not last:
            holder = getattr(holder, part)
    return holder, last


def _read(text: str, now: Any) -> Any:
    if isinstance(now, bool):
        words = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
        if text.lower() not in words:
            raise ValueError("expected true or false")
        return words[text.lower()]
    if isinstance(now, str):
        return text
    if isinstance(now, int | float):
        # An enumeration of the engine takes its number
        return type(now)(float(text) if isinstance(now, float) else int(text))
    return _as_type(ast.literal_eval(text), now)


def _as_type(value: Any, now: Any) -> Any:
    if isinstance(now, enum.Enum) and isinstance(value, str):
        return type(now)[value]
    if isinstance(now, list) and now and isinstance(now[0], enum.Enum):
        return [_as_type(each, now[0]) for each in value]
    return set(value) if isinstance(now, set) else value


if __name__ == "__main__":
    sys.exit(main())
