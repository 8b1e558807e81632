"""A config's texts reach commands unchanged, whatever a shell would make of them.

An API key reaches the server and nothing else: no file, log, command line or error text has it.
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

KEY = "sk-" + 3 * "not-to-be-seen-"  # in parts: the checkout, which is searched, has this file
MARK = 'x\'; touch pwned; $(touch pwned) `touch pwned` "$HOME" | & #'
SCHEMA = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
NASTY = 'x\'; touch pwned; $(touch pwned) `touch pwned` "$HOME" | & > pwned < * ? # \\ ! ~ é'
"""A text without a slash, which can be a file's name, too."""


def strings(node, path=()):
    """Paths of all keys of the schema whose values are texts, free or by a pattern."""
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
    """The smallest config with this value at this path."""
    data = value
    for name in reversed(path):
        data = [data] if name == 0 else {name: data}
    if path[0] != "models":
        data = {"models": {"m": {}}} | data
    return data


def value_of(config, path):
    value = config.model_dump()
    for name in path:
        value = value[name]
    return value


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
@settings(max_examples=40)
@given(text=st.text(max_size=20) | st.just(NASTY) | st.from_regex(r"[;&|`$(){}<>'\" \n/.-]{1,9}"))
def test_any_text_is_kept_as_it_is_or_refused_by_a_sentence(path, text):
    """The launcher is read by a shell, so its words must be the same before and after."""
    try:
        value = value_of(parse_config(with_value(path, text)), path)
    except UserError as error:
        assert "Traceback (most recent call" not in str(error) and str(error).endswith(".")
        return
    if path == ("mpi", "launcher"):
        assert shlex.split(value) == shlex.split(text)
        assert value == shlex.join(shlex.split(text))
    elif path[-1] in ("url", "proxy"):
        assert value == text.rstrip("/")
    else:
        assert value == text


def config(mark, server, files):
    """A config for a running server, with `mark` in every text that such a config can have."""
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


def chat_with_key(command_lines):
    """Chat completions for requests with the key; 401 for others.

    command_lines: gets the command line of each process of this test at each request.
    """
    usage = {"prompt_tokens": 9, "completion_tokens": 4}

    def chat(request):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command_lines.append(" ".join(process.cmdline()))
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return Reply(b"no key", 401)
        reply = {"choices": [{"delta": {"content": KEY}, "finish_reason": KEY}], "usage": usage}
        if not json.loads(request.body)["stream"]:
            reply["choices"][0]["message"] = reply["choices"][0].pop("delta")
            return Reply(json.dumps(reply | {"system_fingerprint": KEY}).encode())
        body = f"data: {json.dumps(reply)}\n\ndata: [DONE]\n\n"
        return Reply(body.encode(), kind="text/event-stream")

    return chat


def refusal(request):
    """A refusal that repeats the key of the request, as some servers send."""
    body = {"error": {"message": f"{request.headers['Authorization']} is not a key"}}
    return Reply(json.dumps(body).encode(), 400)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A checkout in a folder whose name a shell would split into words."""
    return Checkout(
        tmp_path_factory.mktemp("odd") / "a 'checkout'; touch pwned; $(touch pwned) \"x"
    )


def write(checkout, mark, server):
    data = config(mark, server, checkout.folder.parent)
    file = checkout.folder.parent / f"prompts {mark}.jsonl"
    file.write_text("".join(json.dumps({f"prompt {mark}": f"Hi {i}"}) + "\n" for i in range(9)))
    checkout.write(data)
    return data


def commands(checkout):
    """The words, operators included, of each shell command that a run would give."""
    process = checkout.snakemake("--dry-run", "--printshellcmds")
    assert process.returncode == 0, process.stdout + process.stderr
    matches = re.findall(r"^Shell command: (.*?)\n\[", process.stdout + process.stderr, re.M | re.S)
    lines = [command for command in matches if command.strip() != "None"]
    assert len(lines) == 7, process.stdout + process.stderr
    words = []
    for command in lines:
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
    # jobs that don't depend on one another have no order
    assert sorted(commands(odd)) == sorted(
        [word.replace(plain, NASTY) for word in command] for command in expected
    )


def test_every_command_takes_the_place_of_its_shell(odd):
    """Snakemake is then the command's parent, and the command ends with it.

    Below a shell, a page went on rendering for 5 s and more.
    """
    write(odd, "harmless", "http://127.0.0.1:9")
    assert [command[0] for command in commands(odd)] == ["exec"] * 7


def test_a_model_that_the_config_does_not_have_is_one_sentence(odd):
    write(odd, "harmless", "http://127.0.0.1:9")
    process = odd.snakemake("--dry-run", "results/models/another.json")
    output = process.stdout + process.stderr
    assert process.returncode == 1
    assert "No rule to produce results/models/another.json" in output and "Traceback" not in output


@pytest.fixture(scope="module")
def whole_run(odd):
    """(command lines during the requests, all output) of a run, its archive, and a failed run."""
    command_lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVER_KEY", KEY)
        with http_server({"/v1/chat/completions": chat_with_key(command_lines)}) as server:
            data = write(odd, MARK, server.url)
            del data["baseline"]  # no such baseline exists
            data["server"]["api_key_env"] = "SERVER_KEY"
            data["run"]["keep_output"] = True
            odd.write(data)
            processes = [odd.snakemake()]
        with http_server({"/v1/chat/completions": refusal}) as server:
            run = ["run", "--api-key-env", "SERVER_KEY", "--iters", "2", "--inflight", "1"]
            mls_commands = [
                ["archive", "--config", "config.yaml"],
                [*run, "--server", server.url, "--output", "refused"],
                ["probe", "--config", "config.yaml", "--model", "m", "--server", server.url],
            ]
            processes += [odd.mls(*command) for command in mls_commands]
    outputs = [process.stdout + process.stderr for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 1, 1], outputs
    return command_lines, "".join(outputs)


def test_a_whole_run_leaves_no_trace_of_a_shell(odd, whole_run):
    assert (odd.folder / f"results {MARK}" / "report.html").exists()
    assert not [*odd.folder.parent.rglob("pwned")]


def test_the_api_key_is_nowhere(odd, whole_run):
    command_lines, output = whole_run
    assert any("mls.worker" in line for line in command_lines)
    assert not [line for line in command_lines if KEY in line]
    assert "is not a key" in output and KEY not in output
    files = [path for path in odd.folder.rglob("*") if path.is_file()]
    assert {"run.json", "telemetry.parquet", "failure.json", "run.log"} <= {f.name for f in files}
    assert [path for path in files if path.suffix == ".zip"]
    leaks = [path for path in files if KEY.encode() in path.read_bytes()]
    leaks += [path for path in files if path.suffix == ".parquet" and KEY in str(rows(path))]
    assert leaks == []


def rows(parquet):
    return pq.read_table(parquet).to_pylist()
