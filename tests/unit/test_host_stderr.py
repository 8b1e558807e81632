"""The last words of a rank that ends its whole job."""

import contextlib
import os
import threading
import time

import pytest

from mls.host import stderr
from mls.host.stderr import tell


@contextlib.contextmanager
def stderr_is_a_pipe(monkeypatch):
    """Make stderr a pipe; yields the end to read from.

    It can't be a fixture, as pytest replaces stderr after the fixtures.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        yield read


def test_it_waits_until_it_has_been_read(monkeypatch):
    monkeypatch.setattr(stderr, "_WITHIN_S", 60)
    order, read = [], []
    with stderr_is_a_pipe(monkeypatch) as pipe:

        def read_late():
            time.sleep(0.2)
            order.append("read")
            read.append(pipe.read(1 << 16))

        reader = threading.Thread(target=read_late)
        reader.start()
        tell("Traceback\n  a line\nRuntimeError: a bug\n")
        order.append("told")
        reader.join()
    assert order == ["read", "told"]
    assert read == [b"Traceback\n  a line\nRuntimeError: a bug\n"]


def test_a_reader_that_never_reads_does_not_hold_it_up_for_ever(monkeypatch):
    with stderr_is_a_pipe(monkeypatch) as pipe:
        tell("a sentence")
        assert pipe.read(1 << 16) == b"a sentence\n"


def test_without_a_reader_it_is_no_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    stderr = os.fdopen(writer, "w")
    monkeypatch.setattr("sys.stderr", stderr)
    tell("a sentence")
    with pytest.raises(BrokenPipeError):
        stderr.close()


def test_a_file_is_not_waited_for(monkeypatch, tmp_path):
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        tell("a sentence")
    assert (tmp_path / "stderr").read_text() == "a sentence\n"
