"""A wait, without polling, for a child's end or for a signal that asks this process to end."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
from collections import deque
from types import FrameType, TracebackType

_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_on_interrupt() -> None:
    """Have SIGINT end this process at once, if it would raise KeyboardInterrupt.

    A rank needs this until it can abort its job. The exception, raised in mid-import after MPI is
    initialized, would leave the process in MPI's own exit, where it waits for the other ranks. The
    launcher does see a death by signal. A signal that is ignored (nohup) stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Undo `end_on_interrupt`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def handle_in_thread(number: signal.Signals) -> None:
    """Have this signal's present handler called in a thread of its own. Main thread only.

    A handler that takes locks needs this. In the main thread it would wait for ever for a lock
    that this thread holds, as Snakemake 9's handler does on SIGTERM.
    """
    handler = signal.getsignal(number)
    if not callable(handler):
        return

    def start(*arguments: object) -> None:
        threading.Thread(target=handler, args=arguments).start()

    signal.signal(number, start)


class SignalWait:
    """A context in which SIGINT, SIGTERM, SIGHUP and SIGCHLD only end a `wait`. Main thread only.

    A signal that is ignored (nohup) stays ignored. The class uses handlers and a wake-up socket
    and no signal mask, as numerical libraries start threads that a mask wouldn't cover. Children
    get the default handlers back when they exec.
    """

    def __enter__(self) -> SignalWait:
        self._arrivals: deque[signal.Signals] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        signals = [s for s in _END_SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]
        self._before = {s: signal.signal(s, _no_op) for s in (*signals, signal.SIGCHLD)}
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
        """The signal that asks this process to end; None when a child ended or time was up."""
        if not self._arrivals:
            select.select([self._reader], [], [], timeout_s)
            with contextlib.suppress(BlockingIOError):
                self._arrivals.extend(map(signal.Signals, self._reader.recv(4096)))
        number = self._arrivals.popleft() if self._arrivals else None
        return None if number == signal.SIGCHLD else number


def _no_op(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing. Python writes to the wake-up socket only if there is one."""
