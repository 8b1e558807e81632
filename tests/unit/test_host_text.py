"""Locales that can't encode a name or a message."""

import json
import os
import subprocess
import sys

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def mls(variables, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "mls", *arguments],
        env=os.environ | variables,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_a_name_beyond_the_locale_is_one_sentence(tmp_path):
    config = {"models": {"m": {"path": "größe.gguf"}}}
    (tmp_path / "c.json").write_text(json.dumps(config))
    process = mls(ASCII, *("model", "m", "--config", "c.json", "--output", "d.json"), cwd=tmp_path)
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert b"set PYTHONUTF8=1" in process.stderr


def test_a_run_refuses_such_a_folder_before_it_measures(tmp_path):
    options = ("--server", "http://127.0.0.1:9", "--output", str(tmp_path / "ö"))
    process = mls(ASCII, "run", *options, cwd=tmp_path)
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert b"set PYTHONUTF8=1" in process.stderr
    assert [path.name for path in tmp_path.rglob("*.*")] == ["failure.json"]


def test_the_command_prints_any_text():
    program = """
import contextlib, sys
from mls import cli
sys.argv = ["mls", "--help"]
with contextlib.suppress(SystemExit):
    cli.main()
print("4 × …")
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert process.stdout.endswith(b"4 \\xd7 \\u2026\n")
