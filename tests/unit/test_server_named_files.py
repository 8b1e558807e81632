"""Files that the words of a managed server name, in whatever form an engine wants them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.sections.server import Server
from mls.server.weights.named_files import named_files


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a b.gguf"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("form", ["--mmproj={}", "--mmproj\n{}", "{}"])
def test_a_name_may_have_blanks_where_it_is_a_word_or_follows_the_sign(file, form):
    words = form.format(file).split("\n")
    assert named_files(Server(engine="llama-server", binary="b", extra_args=words)) == [file]


@pytest.mark.parametrize(
    "word",
    [
        "--lora={0},{1}",
        "--lora-scaled={0}:0.5,{1}:2",
        "lora_adapters=['{0}', '{1}']",
        '{{"model": "{0}", "other": "{1}"}}',
        "exec serve --lora {0} --lora {1}",
        "a={0};b={1};a={0}",
    ],
)
def test_names_are_found_within_a_word(tmp_path, word):
    files = [tmp_path / "1.gguf", tmp_path / "2.gguf"]
    for each in files:
        each.write_bytes(b"weights")
    assert named_files(Server(extra_args=[word.format(*files)])) == files
    files[1].unlink()
    assert named_files(Server(extra_args=[word.format(*files)])) == files[:1]


def test_words_and_variables_of_a_command_count(file):
    command = ["serve", "{model}", "--port={port}", "--lora-modules", f"x={file}"]
    assert named_files(Server(engine="command", command=command)) == [file]
    words = ["serve", "--port={port}"]
    variables = {"LLAMA_ARG_MMPROJ": str(file)}
    assert named_files(Server(engine="command", command=words, environment=variables)) == [file]


def test_nothing_counts_where_the_server_is_running_already(file):
    assert named_files(Server(url="http://h", extra_args=[str(file)])) == []


def test_all_parts_of_a_model_count(tmp_path):
    parts = [tmp_path / f"d-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"weights")
    assert named_files(Server(extra_args=[f"speculative.path={parts[0]}"])) == parts


def test_a_folder_counts_where_it_is_that_of_weights(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kept.bin").write_bytes(b"")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (adapter / name).write_bytes(b"")
    command = ["serve", "{port}", "--dir", str(tmp_path / "cache"), "--lora", f"x={adapter}"]
    assert [file.name for file in named_files(Server(engine="command", command=command))] == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--log-file", "{}"],
        ["--log-file={}"],
        ["-lcd", "{}"],
        ["--lookup-cache-dynamic={}"],
        ["lookup_cache_dynamic={}"],
        ["serve > {}.log"],
    ],
)
def test_what_the_server_itself_writes_does_not_count(tmp_path, words):
    """Else each repeat would make all others stale."""
    for name in ("w", "w.log"):
        (tmp_path / name).write_bytes(b"")
    words = [word.format(tmp_path / "w") for word in words]
    assert named_files(Server(extra_args=words)) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), max_size=4))
def test_any_words_are_read(words):
    """A word that is no name at all, or longer than any, is no error."""
    assert all(file.is_file() for file in named_files(Server.model_construct(extra_args=words)))


def test_the_program_and_the_libraries_beside_it_count(tmp_path, monkeypatch):
    """A build of llama.cpp leaves its program as it is, and changes libllama.so."""
    folder = tmp_path / "build" / "bin"
    folder.mkdir(parents=True)
    program, *libraries = (folder / n for n in ("llama-server", "libggml.so.0", "libllama.so"))
    for each in (program, *libraries):
        each.write_bytes(b"code")
    program.chmod(0o755)
    (folder / "notes.txt").write_text("")
    files = [program, *libraries]
    assert named_files(Server(engine="llama-server", binary=str(program))) == files
    monkeypatch.setenv("PATH", str(folder))
    words = ["llama-server", "--port={port}"]
    assert named_files(Server(engine="command", command=words)) == files
    link = tmp_path / "llama-server"
    link.symlink_to(program)
    assert named_files(Server(engine="llama-server", binary=str(link))) == [link, *libraries]
    assert named_files(Server(engine="llama-server", binary="not-there")) == []
