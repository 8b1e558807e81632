"""The gate between `mls serve --at-once` and a command that starts while the server is loading.

The command does what it can without the server, such as its imports, and then waits at the gate. The
gate is a file of this host. It holds the environment variables that the command would have had from
the beginning if it had been started later.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

from mls.core.errors import UserError
from mls.core.files import write

VARIABLE = "MLS_GATE"
"""Environment variable: the gate's path."""

_LOOK_EVERY_S = 0.01


class Gate:
    """A gate, closed until it is opened; it is gone at the end of the context."""

    def __enter__(self) -> Gate:
        self._folder = tempfile.TemporaryDirectory(prefix="mls-")
        self._path = Path(self._folder.name) / "gate"
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that lead a command to the gate."""
        return {VARIABLE: str(self._path)}

    def open(self, variables: dict[str, str]) -> None:
        """Let the command pass, with these environment variables."""
        write(self._path, json.dumps(variables))

    def shut(self) -> None:
        """Tell the command that there will be no server."""
        write(self._path, json.dumps(None))


def pass_gate() -> bool:
    """Wait, asleep, until the gate is open, and take its variables into the environment.

    Returns whether there is a server. Where no gate is named, that is so at once. Raises `UserError`
    when the gate is on another host.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return True
    path = Path(name)
    while not path.exists():
        if not path.parent.exists():
            raise UserError(
                f"{VARIABLE}: {path} is not on this host; start `mls serve` without --at-once."
            )
        time.sleep(_LOOK_EVERY_S)
    variables: dict[str, str] | None = json.loads(path.read_text())
    os.environ.update(variables or {})
    return variables is not None
