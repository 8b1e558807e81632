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
# Mounts and processes of their own, of which nothing is left when the command ends, however it ends.
_ALONE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
# The root is the namespace's own, not a chroot, in which the kernel grants no user namespaces. The
# shell stays, as a machine's first process does, and takes in what others leave behind. The session is
# the command's own: whoever signals the group of another, which has no number here, signals that of
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
        """Where one of its files lies for this machine."""
        return self.folder / inside.removeprefix("/")

    def run(self, command: str, more: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit status and output of a shell command, in an environment emptied but for what reaches a registry."""
        variables = {"PATH": PATH, "HOME": "/root"} | registry.variables() | dict(more or {})
        for file in registry.certificates():
            self.path(str(file)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, self.path(str(file)))
        assigned = [f"{name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [*_ALONE, "sh", "-c", _ENTER, "sh", self.folder, *assigned, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout

    @contextlib.contextmanager
    def copy(self, beside: Path) -> Iterator[Root]:
        """A copy of it, for as long as the block lasts."""
        with tempfile.TemporaryDirectory(prefix=f"{self.name}-", dir=beside) as folder:
            copied = Root(self.name, Path(folder) / "root")
            subprocess.run(["cp", "-a", "--reflink=auto", self.folder, copied.folder], check=True)
            yield copied


def base(suite: str, packages: list[str], url: str, folder: Path) -> Root:
    """A minimal root with these packages, made unless the folder has it. Raises `SystemExit`."""
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    made = Root(suite, folder / f"{suite}-{digest}")
    if made.folder.exists():
        return made
    print(f"{suite}: a root of {url} with {' '.join(packages)}", flush=True)
    part = Root(suite, folder / f"{suite}-{digest}.part")
    shutil.rmtree(part.folder, ignore_errors=True)
    command = [*_ALONE, "debootstrap", "--variant=minbase", suite, part.folder, url]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    status, output = done.returncode, done.stdout
    if not status:
        part.path("/etc/apt/apt.conf.d/90registry").write_text(registry.apt_settings())
        install = f"apt-get update && apt-get install --yes {' '.join(packages)}"
        status, output = part.run(install, {"DEBIAN_FRONTEND": "noninteractive"})
    if status:
        shutil.rmtree(part.folder, ignore_errors=True)
        said = "\n".join(output.splitlines()[-9:])
        raise SystemExit(f"{suite}: the root could not be made (exit status {status}):\n{said}")
    part.folder.rename(made.folder)
    return made


def mirror() -> str:
    """The mirror of Debian that this machine's apt is set up for. Raises `SystemExit`."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for url in listed:
        if re.search(r"/debian/?$", url):
            return url
    raise SystemExit(
        "This machine's apt knows no mirror of Debian, from which a root could be made."
    )
