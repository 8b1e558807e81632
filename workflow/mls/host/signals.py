"""Waiting, without polling, for a child to end or for a signal that asks this process to end."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections import deque
from types import FrameType, TracebackType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_interrupt() -> None:
    """Have SIGINT end this process where it is, if it would raise KeyboardInterrupt.

    For a rank until it can abort its job. Raised in mid-import, with MPI initialized and nobody
    there to abort, that exception leaves the process in MPI's own exit, waiting for the other
    ranks; a death by signal is seen by the launcher. A signal that is ignored (nohup) stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Undo `end_on_interrupt`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def handle_in_thread(number: signal.Signals) -> None:
    """Have this signal's present handler called in a thread of its own. Main thread only.

    For a handler that takes locks: called in the main thread while that holds one of them, it
    would wait for itself for ever, as Snakemake 9's does on SIGTERM.
    """
    handler = signal.getsignal(number)
    if not callable(handler):
        return

    def start(*arguments: object) -> None:
        threading.Thread(target=handler, args=arguments).start()

    signal.signal(number, start)


class SignalWait:
    """Within: SIGINT, SIGTERM, SIGHUP and SIGCHLD do nothing but end a `wait`. Main thread only.

    A signal that this process was told to ignore (nohup) stays ignored. Handlers and a wake-up
    socket, not a signal mask: numerical libraries start threads that a mask wouldn't cover.
    Children get the default handlers back when they exec.
    """

    def __enter__(self) -> SignalWait:
        self._came: deque[signal.Signals] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        caught = [s for s in _ENDING if signal.getsignal(s) is not signal.SIG_IGN]
        self._before = {s: signal.signal(s, _nothing) for s in (*caught, signal.SIGCHLD)}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout_s: float | None = None) -> signal.Signals | None:
        """The signal that asks to end; None when a child ended or the time was up."""
        if not self._came:
            select.select([self._reader], [], [], timeout_s)
            with contextlib.suppress(BlockingIOError):
                self._came.extend(map(signal.Signals, self._reader.recv(4096)))
        number = self._came.popleft() if self._came else None
        return None if number == signal.SIGCHLD else number


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler: that it is one is what makes Python write to the wake-up socket."""
