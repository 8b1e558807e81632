"""Small file systems of a test's own, to fill up or to make read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs with these mount options in a new folder. Skips the test where that is forbidden."""
    folder.mkdir()
    process = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder])
    if process.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


def with_shm(options: str, *command: str) -> list[str]:
    """The command with a /dev/shm of its own, which has these mount options.

    Skips the test where a mount namespace is forbidden.
    """
    process = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if process.returncode:
        pytest.skip("a mount namespace is not permitted here")
    mount = f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mount, "sh", *command]
