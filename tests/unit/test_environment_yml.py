"""environment.yml, for conda, has the same names and pins as pyproject.toml."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_same_names_and_pins_as_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = set(project["dependencies"]) | set(project["optional-dependencies"]["embedded"])
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    plain = {entry for entry in conda if isinstance(entry, str)}
    by_pip = {name for entry in conda if isinstance(entry, dict) for name in entry["pip"]}
    assert plain - {f"python{project['requires-python']}"} | by_pip == requirements
    assert f"python{project['requires-python']}" in plain


def test_locks_name_no_index_and_hash_everything():
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text and "--index-url" not in text, lock
        for entry in text.replace("\\\n", " ").splitlines():
            assert "--hash=sha256:" in entry, (lock, entry)
