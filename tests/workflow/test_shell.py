"""What a config says reaches commands as the words that it is, whatever a shell would make of it.

And an API key reaches the server, and nothing else: no file, log, command line or error text.
"""

import contextlib
import json
import re
import shlex

import psutil
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Reply, http_server
from tests.workflow.checkout import ROOT, Checkout

from mls.config.parse import parse_config
from mls.core.errors import UserError

KEY = "sk-" + 3 * "not-to-be-seen-"  # as a whole not even in this file, which is in the checkout
MARK = 'x\'; touch pwned; $(touch pwned) `touch pwned` "$HOME" | & #'
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


def guarded(command_lines):
    """Completions for those who have the key, told to no one else; who asks is looked at meanwhile."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4}

    def chat(seen):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command_lines.append(" ".join(process.cmdline()))
        if seen.headers.get("Authorization") != f"Bearer {KEY}":
            return Reply(b"no key", 401)
        said = {"choices": [{"delta": {"content": KEY}, "finish_reason": KEY}], "usage": usage}
        if not json.loads(seen.body)["stream"]:
            said["choices"][0]["message"] = said["choices"][0].pop("delta")
            return Reply(json.dumps(said | {"system_fingerprint": KEY}).encode())
        body = f"data: {json.dumps(said)}\n\ndata: [DONE]\n\n"
        return Reply(body.encode(), kind="text/event-stream")

    return chat


def refusing(seen):
    """Repeats the key that it was given, as some do."""
    said = {"error": {"message": f"{seen.headers['Authorization']} is not a key"}}
    return Reply(json.dumps(said).encode(), 400)


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
    # jobs that don't wait for one another have no order
    assert sorted(commands(odd)) == sorted(
        [word.replace(plain, NASTY) for word in command] for command in expected
    )


def test_every_command_takes_the_place_of_its_shell(odd):
    """So that Snakemake is its parent, with which it ends (a page was rendered on for 5 s and more)."""
    write(odd, "harmless", "http://127.0.0.1:9")
    assert [command[0] for command in commands(odd)] == ["exec"] * 6


def test_a_model_that_the_config_does_not_have_is_one_sentence(odd):
    write(odd, "harmless", "http://127.0.0.1:9")
    done = odd.snakemake("--dry-run", "results/models/another.json")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "No rule to produce results/models/another.json" in said and "Traceback" not in said


@pytest.fixture(scope="module")
def ran(odd):
    """(command lines seen, all that was printed) of a whole run there, its archive, and a failed run."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVER_KEY", KEY)
        with http_server({"/v1/chat/completions": guarded(seen)}) as server:
            made = write(odd, MARK, server.url)
            del made["baseline"]  # there is none
            made["server"]["api_key_env"] = "SERVER_KEY"
            made["run"]["keep_output"] = True
            odd.write(made)
            done = [odd.snakemake()]
        with http_server({"/v1/chat/completions": refusing}) as server:
            run = ["run", "--api-key-env", "SERVER_KEY", "--iters", "2", "--inflight", "1"]
            further = [
                ["archive", "--config", "config.yaml"],
                [*run, "--server", server.url, "--output", "refused"],
                ["probe", "--config", "config.yaml", "--model", "m", "--server", server.url],
            ]
            done += [odd.mls(*command) for command in further]
    printed = [each.stdout + each.stderr for each in done]
    assert [each.returncode for each in done] == [0, 0, 1, 1], printed
    return seen, "".join(printed)


def test_a_whole_run_leaves_no_trace_of_a_shell(odd, ran):
    assert (odd.folder / f"results {MARK}" / "report.html").exists()
    assert not [*odd.folder.parent.rglob("pwned")]


def test_the_api_key_is_nowhere(odd, ran):
    seen, printed = ran
    assert any("mls.worker" in line for line in seen)
    assert not [line for line in seen if KEY in line]
    assert "is not a key" in printed and KEY not in printed
    files = [path for path in odd.folder.rglob("*") if path.is_file()]
    assert {"run.json", "telemetry.parquet", "failure.json", "run.log"} <= {f.name for f in files}
    assert [path for path in files if path.suffix == ".zip"]
    told = [path for path in files if KEY.encode() in path.read_bytes()]
    told += [path for path in files if path.suffix == ".parquet" and KEY in str(rows(path))]
    assert told == []


def rows(parquet):
    return pq.read_table(parquet).to_pylist()
