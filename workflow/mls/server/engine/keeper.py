"""The process between `mls serve` and a server of any kind, which may start processes of its own.

It adopts what the server's processes leave behind, and ends all of them with the server, or when
its own parent ends or asks it to. It reads `{argv, env, parent}` as JSON on standard input, and
ends as the server does: with its exit status, or by its signal.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from typing import Any

from mls.host.processes.descendants import adopting_orphans, end_children
from mls.host.processes.lifetime import die_with_parent
from mls.host.processes.signals import SignalWait

END_GRACE_S = 10
_CANNOT_EXECUTE = 126  # As of shells
_BY_SIGNAL = 128


def main() -> int:
    """Keep the server. Returns its exit status; 128 + n after signal n to this process."""
    message: dict[str, Any] = json.load(sys.stdin)
    with SignalWait() as signals, adopting_orphans():
        die_with_parent(signal.SIGTERM, message["parent"])
        keeper = os.getpid()
        try:
            server = subprocess.Popen(
                message["argv"],
                env=message["env"],
                stdin=subprocess.DEVNULL,
                # It may end its own process group
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, keeper),
            )
        except OSError as error:
            print(f"error: {message['argv'][0]} can't be started: {error.strerror}")
            return _CANNOT_EXECUTE
        while (status := _reap(server.pid)) is None:
            if sig := signals.wait():
                end_children(grace_s=END_GRACE_S)
                return _BY_SIGNAL + sig
        end_children()
    if status < 0:
        _end_by(signal.Signals(-status))
    return status


def _reap(server: int) -> int | None:
    """Reap all children that have ended. Returns the server's return code; None while it runs."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == server:
            code = os.waitstatus_to_exitcode(status)


def _end_by(sig: signal.Signals) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sig != signal.SIGKILL:
        signal.signal(sig, signal.SIG_DFL)
    signal.raise_signal(sig)


if __name__ == "__main__":
    sys.exit(main())
