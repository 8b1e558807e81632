"""Roots of Debian, and commands in them as on a machine of their own."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fresh import registry

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The mount and process namespaces end with the command, however it ends.
_ALONE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
# The root is the namespace's own: in a chroot the kernel grants no user namespaces. The shell
# stays, as a machine's first process does, and reaps orphans. The command has a session of its own:
# process groups from outside have no number here, and a signal to one would reach that of
# `make test-fresh`.
_ENTER = """
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
cp --dereference --remove-destination /etc/resolv.conf etc/resolv.conf
pivot_root . mnt
cd /root
umount --lazy /mnt
shift
setsid --wait env -i "$@" || exit $?
exit 0
"""


@dataclass(frozen=True)
class Root:
    """A root of Debian in a folder."""

    name: str
    folder: Path

    def path(self, inside: str) -> Path:
        """The path of one of its files on this machine."""
        return self.folder / inside.removeprefix("/")

    def run(self, command: str, more: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit status and output of a shell command.

        Its environment has only what reaches a registry, and the variables in `more`.
        """
        variables = {"PATH": PATH, "HOME": "/root"} | registry.variables() | dict(more or {})
        for file in registry.certificates():
            self.path(str(file)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, self.path(str(file)))
        assignments = [f"{name}={value}" for name, value in variables.items()]
        process = subprocess.run(
            [*_ALONE, "sh", "-c", _ENTER, "sh", self.folder, *assignments, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return process.returncode, process.stdout

    @contextlib.contextmanager
    def copy(self, beside: Path) -> Iterator[Root]:
        """A copy of the root, for as long as the block lasts."""
        with tempfile.TemporaryDirectory(prefix=f"{self.name}-", dir=beside) as folder:
            copy = Root(self.name, Path(folder) / "root")
            subprocess.run(["cp", "-a", "--reflink=auto", self.folder, copy.folder], check=True)
            yield copy


def base(suite: str, packages: list[str], url: str, folder: Path) -> Root:
    """A minimal root with these packages, built unless the folder has one. Raises `SystemExit`."""
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    root = Root(suite, folder / f"{suite}-{digest}")
    if root.folder.exists():
        return root
    print(f"{suite}: a root of {url} with {' '.join(packages)}", flush=True)
    part = Root(suite, folder / f"{suite}-{digest}.part")
    shutil.rmtree(part.folder, ignore_errors=True)
    command = [*_ALONE, "debootstrap", "--variant=minbase", suite, part.folder, url]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    status, output = process.returncode, process.stdout
    if not status:
        part.path("/etc/apt/apt.conf.d/90registry").write_text(registry.apt_settings())
        install = f"apt-get update && apt-get install --yes {' '.join(packages)}"
        status, output = part.run(install, {"DEBIAN_FRONTEND": "noninteractive"})
    if status:
        shutil.rmtree(part.folder, ignore_errors=True)
        tail = "\n".join(output.splitlines()[-9:])
        raise SystemExit(f"{suite}: the root could not be made (exit status {status}):\n{tail}")
    part.folder.rename(root.folder)
    return root


def mirror() -> str:
    """The URL of the Debian mirror of this machine's apt. Raises `SystemExit` if there is none."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    urls = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for url in urls:
        if re.search(r"/debian/?$", url):
            return url
    raise SystemExit(
        "This machine's apt knows no mirror of Debian, from which a root could be made."
    )
