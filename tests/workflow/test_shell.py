"""What a config says reaches commands as the words that it is, whatever a shell would make of it."""

import json
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflow.checkout import ROOT, Checkout

from mls.model.errors import UserError
from mls.model.validation import parse_config

SCHEMA = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
NASTY = 'x\'; touch pwned; $(touch pwned) `touch pwned` "$HOME" | & > pwned < * ? # \\ ! ~ é'
"""Without a slash, so that it can be a file's name, too."""


def strings(node, path=()):
    """Paths of all keys of the schema that take any text, or any that fits a pattern."""
    node = node | SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    if node.get("type") == "string" and not {"enum", "const"} & {*node}:
        yield path
    for inner in node.get("anyOf", []):
        yield from strings(inner, path)
    for name, inner in node.get("properties", {}).items():
        yield from strings(inner, (*path, name))
    for key, name in (("additionalProperties", "m"), ("items", 0)):
        if isinstance(node.get(key), dict):
            yield from strings(node[key], (*path, name))
    for inner in node.get("patternProperties", {}).values():
        yield from strings(inner, (*path, "m"))


KEYS = sorted({*strings(SCHEMA)}, key=str)


def with_value(path, value):
    """A config that says this at this path, and else as little as it can."""
    data = value
    for name in reversed(path):
        data = [data] if name == 0 else {name: data}
    if path[0] != "models":
        data = {"models": {"m": {}}} | data
    return data


def value_of(config, path):
    found = config.model_dump()
    for name in path:
        found = found[name]
    return found


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
@settings(max_examples=40)
@given(text=st.text(max_size=20) | st.just(NASTY) | st.from_regex(r"[;&|`$(){}<>'\" \n/.-]{1,9}"))
def test_any_text_is_kept_as_it_is_or_refused_by_a_sentence(path, text):
    """Where a shell sees it, it must come out of a shell's reading as it went in."""
    try:
        kept = value_of(parse_config(with_value(path, text)), path)
    except UserError as error:
        assert "Traceback" not in str(error) and str(error).endswith(".")
        return
    if path == ("mpi", "launcher"):
        assert shlex.split(kept) == shlex.split(text)
        assert kept == shlex.join(shlex.split(text))
    elif path[-1] in ("url", "proxy"):
        assert kept == text.rstrip("/")
    else:
        assert kept == text


def config(mark, server, files):
    """A config with `mark` in every text that a run on a server that is there can have."""
    return {
        "name": "shell",
        "title": f"title {mark}",
        "results": f"results {mark}",
        "environment": {"manager": "current"},
        "mpi": {"launcher": shlex.join(["mpirun", "-env", "MARK", mark])},
        "models": {"m": {"served_as": f"model {mark}"}},
        "server": {"url": server},
        "run": {
            "iters": 4,
            "inflight": 2,
            "max_tokens": 4,
            "request_headers": {"X-Mark": re.sub(r"[^ -~]", "", mark)},
            "request_extra": {"mark": mark},
        },
        "workload": {
            "kind": "dataset",
            "file": str(files / f"prompts {mark}.jsonl"),
            "columns": {"prompt": f"prompt {mark}"},
            "system": f"system {mark}",
        },
        "baseline": f"baseline {mark}",
        "repeats": 1,
    }


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A checkout in a folder whose name a shell would take apart."""
    return Checkout(
        tmp_path_factory.mktemp("odd") / "a 'checkout'; touch pwned; $(touch pwned) \"x"
    )


def write(checkout, mark, server):
    made = config(mark, server, checkout.folder.parent)
    file = checkout.folder.parent / f"prompts {mark}.jsonl"
    file.write_text("".join(json.dumps({f"prompt {mark}": f"Hi {i}"}) + "\n" for i in range(9)))
    checkout.write(made)
    return made


def commands(checkout):
    """The words of all shell commands that a run would give, operators among them."""
    done = checkout.snakemake("--dry-run", "--printshellcmds")
    assert done.returncode == 0, done.stdout + done.stderr
    printed = re.findall(r"^Shell command: (.*?)\n\[", done.stdout + done.stderr, re.M | re.S)
    found = [command for command in printed if command.strip() != "None"]
    assert len(found) == 6, done.stdout + done.stderr
    words = []
    for command in found:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        words.append([*lexer])
    return words


def test_printed_commands_have_the_same_words_and_operators(odd):
    plain = "harmless"
    write(odd, plain, "http://127.0.0.1:9")
    expected = commands(odd)
    write(odd, NASTY, "http://127.0.0.1:9")
    assert commands(odd) == [
        [word.replace(plain, NASTY) for word in command] for command in expected
    ]
