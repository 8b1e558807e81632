"""A server in processes of its own, with a known CPU time for each request.

`python -m tests.mpi.burning ARRANGEMENT` prints its URL, and serves until it is killed.
"""

import os
import signal
import socket
import sys
import threading
import time

from tests.servers.honest import Handler, HonestServer

BURN_S = 0.05
ARRANGEMENTS = ("alone", "engine below", "shared socket", "shared port", "process a request")


def burn() -> None:
    until = time.thread_time() + BURN_S
    while time.thread_time() < until:
        pass


def engine(listener: socket.socket) -> None:
    """Burn once for each connection."""
    while True:
        connection, _ = listener.accept()
        with connection:
            burn()


class Burning(Handler):
    arrangement = ""
    engine = ("", 0)

    def do_POST(self) -> None:  # noqa: N802  the library's name
        if self.arrangement == "alone":
            burn()
        elif self.arrangement == "process a request":
            child = os.fork()
            if not child:
                burn()
                os._exit(0)
            os.waitpid(child, 0)
        else:
            with socket.create_connection(self.engine) as connection:
                connection.recv(1)  # the engine closes it after its work
        super().do_POST()


class OnePort(HonestServer):
    allow_reuse_port = True


def child(work, *arguments) -> None:
    """Call `work` in a forked process, which ends with this one."""
    if not os.fork():
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        work(*arguments)
        os._exit(0)


def end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def serve(port: int) -> None:
    OnePort(port, Burning).serve_forever()


def main(arrangement: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Burning.arrangement = arrangement
    if arrangement not in ("alone", "process a request"):
        listener = socket.create_server(("127.0.0.1", 0))
        Burning.engine = listener.getsockname()
        child(engine, listener)
        listener.close()
    if arrangement == "shared port":
        with socket.socket() as free:  # not listening: it keeps the port for the workers
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            for _ in range(2):
                child(serve, port)
            print(f"http://127.0.0.1:{port}", flush=True)
            signal.pause()
    server = OnePort(0, Burning)
    if arrangement == "shared socket":
        for _ in range(2):
            child(server.serve_forever)
        print(server.url, flush=True)
        signal.pause()
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
