"""Images and audio of a dataset: what is sent of them, what is recorded, and what isn't read."""

import base64
import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.config.cells import cells
from mls.config.parse import parse_config
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.config.settings import settings
from mls.core.errors import UserError
from mls.load.workload.bodies import WorkloadBodies
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.datasets import draw_rows, read_dataset
from mls.load.workload.media import parts as media
from mls.load.workload.media.parts import check_endpoint

PNG, OTHER, WAV = b"\x89PNG\r\n\x1a\n picture", b"\x89PNG\r\n\x1a\n another", b"RIFF sound"
URL = "https://example.org/cat.png"
ENCODED = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{ENCODED}"


def image(url, **keys):
    return {"type": "image_url", "image_url": {"url": url, **keys}}


def audio(**value):
    return {"type": "input_audio", "input_audio": value}


def text(words):
    return {"type": "text", "text": words}


def user(*parts):
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.fixture
def folder(tmp_path):
    files = tmp_path / "files"
    (files / "deep").mkdir(parents=True)
    (files / "cat.png").write_bytes(PNG)
    (files / "deep" / "hello.wav").write_bytes(WAV)
    (tmp_path / "secret.png").write_bytes(OTHER)
    (files / "way out.png").symlink_to(tmp_path / "secret.png")
    return files


def dataset(folder, rows, **keys):
    path = folder.parent / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = Workload(kind="dataset", file=str(path), **({"media": str(folder)} | keys))
    return read_dataset(workload), workload


def drawn(folder, rows, requests=None, **keys):
    read, workload = dataset(folder, rows, **keys)
    return draw_rows(read, workload, 1, requests or len(rows), lambda words: len(words.split()))


def bodies(folder, row, endpoint="/v1/chat/completions"):
    rows, workload = drawn(folder, [row]), Workload(kind="dataset", file="d.jsonl")
    run = Run(endpoint=endpoint, max_tokens=9)
    return WorkloadBodies(run, "m", make_prompts(run, workload, 1, Materials(rows=rows)))


@pytest.mark.parametrize(
    "name", ["cat.png", "file:cat.png", "deep/../cat.png", "file://{}/cat.png"]
)
def test_a_file_is_what_base64_of_it_is(folder, name):
    of_file = bodies(folder, user(text("What is this?"), image(name.format(folder))))
    of_data = bodies(folder, user(text("What is this?"), image(DATA_URL)))
    assert of_file.body(0) == of_data.body(0)
    (message,) = json.loads(of_file.body(0))["messages"]
    assert message["content"] == [text("What is this?"), image(DATA_URL)]
    assert of_file.prompt_sha256(0) == of_data.prompt_sha256(0)
    attributes = of_file.attributes(0)
    assert (attributes.media_parts, attributes.media_bytes) == (1, len(PNG))
    assert of_file.opening(0) == "What is this?"


def test_each_api_has_words_of_its_own(folder):
    row = user(text("Look."), image("cat.png", detail="low"), image(URL))
    (message,) = json.loads(bodies(folder, row, "/v1/responses").body(0))["input"]
    assert message["content"] == [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "image_url": DATA_URL, "detail": "low"},
        {"type": "input_image", "image_url": URL},
    ]
    (message,) = json.loads(bodies(folder, row, "/v1/messages").body(0))["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": ENCODED}
    assert message["content"] == [
        text("Look."),
        {"type": "image", "source": source},
        {"type": "image", "source": {"type": "url", "url": URL}},
    ]


def test_audio_is_sent_with_the_format_of_its_name(folder):
    row = user(audio(data="file:deep/hello.wav"), text("Write it down."))
    (message,) = json.loads(bodies(folder, row).body(0))["messages"]
    encoded = base64.b64encode(WAV).decode()
    assert message["content"][0] == audio(data=encoded, format="wav")


def test_the_bytes_of_a_url_are_unknown_and_a_prompt_without_media_has_none(folder):
    rows = drawn(folder, [user(image("cat.png"), image(URL)), user(text("a"), text("b"))])
    mixed, plain = sorted(rows, key=lambda row: row.media is None)
    assert (mixed.media.parts, mixed.media.size, mixed.text) == (2, None, "")
    assert plain.messages == [{"role": "user", "content": "a\nb"}]


def test_other_pixels_are_another_prompt(folder):
    row = user(text("What is this?"), image("cat.png"))
    before = bodies(folder, row).prompt_sha256(0)
    (folder / "cat.png").write_bytes(OTHER)
    assert bodies(folder, row).prompt_sha256(0) != before
    assert bodies(folder, user(text("What is this?"))).prompt_sha256(0) == (
        hashlib.sha256(b"What is this?").hexdigest()
    )


def test_only_the_text_has_a_length(folder):
    rows = [user(text("x " * n), image("cat.png")) for n in range(1, 9)]
    lengths = drawn(folder, rows, 3, min_prompt_tokens=4, max_prompt_tokens=6)
    assert sorted(len(row.text.split()) for row in lengths) == [4, 5, 6]


UNUSABLE = {
    "no url": (image(None), "has an image without url"),
    "missing": (image("dog.png"), "names 'dog.png', which workload.media lacks"),
    "outside": (image("../secret.png"), "names '../secret.png', which is outside of workload.media"),
    "link": (image("way out.png"), "names 'way out.png', which is outside of workload.media"),
    "absolute": (image("file:/etc/passwd"), "names '/etc/passwd', which is outside of workload.media"),
    "folder": (image("deep"), "names 'deep', which workload.media lacks"),
    "no name": (image("\0"), "names '\\x00', which workload.media lacks"),
    "bare base64": (image("A" * 5000), f"names '{'A' * 40}', which workload.media lacks"),
    "no image": (image("deep/hello.wav"), "names 'hello.wav', by its ending no image"),
    "other data": (image("data:text/plain,x"), "has a data URL that is no data:image/…;base64,…"),
    "no base64": (image("data:image/png;base64,???"), "has an image or audio that is not base64"),
    "no bytes": (image("data:image/png;base64,"), "has an image or audio that is empty"),
    "no data": (audio(format="wav"), "has audio without data"),
    "no format": (audio(data=ENCODED), "has audio without format"),
    "video": (
        {"type": "video_url", "video_url": {"url": URL}},
        "has parts other than text, image_url and input_audio",
    ),
}  # fmt: skip


@pytest.mark.parametrize("part, reason", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_part_leaves_its_row_out(folder, part, reason):
    read, _ = dataset(folder, [user(image("cat.png")), user(part, text("a")), user(image(URL))])
    assert len(read.rows) == 2
    assert read.notes[0].endswith(f"(the first: row 2, the first user message {reason}).")


def test_no_file_is_read_where_the_config_names_no_folder(folder):
    with pytest.raises(UserError) as error:
        dataset(folder, [user(image("cat.png"))], media=None)
    assert "names the file 'cat.png', and workload.media names no folder" in str(error.value)


def test_more_than_a_rank_can_keep_is_one_sentence_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(media, "MOST_BYTES", 2**20)
    with (folder / "huge.png").open("wb") as stream:
        os.ftruncate(stream.fileno(), 2**40)
    with pytest.raises(UserError, match="more than 1 MiB of images and audio"):
        drawn(folder, [user(image("huge.png"))])


def test_what_many_rows_name_is_kept_once(folder, monkeypatch):
    monkeypatch.setattr(media, "MOST_BYTES", 2 * len(PNG))
    rows = drawn(
        folder, [user(text(str(n)), image(("cat.png", DATA_URL)[n % 2])) for n in range(9)]
    )
    kept = {id(row.messages[0]["content"][1]["image_url"]["url"]) for row in rows}
    assert len(kept) == 1


@pytest.mark.parametrize(
    "endpoint, part, what",
    [
        ("/v1/completions", image(URL), "images"),
        ("/completion", image(URL), "images"),
        ("/v1/embeddings", image(URL), "images"),
        ("/v1/rerank", image(URL), "images"),
        ("/v1/messages", audio(data=ENCODED, format="wav"), "audio"),
        ("/v1/messages", image(URL), None),
        ("/v1/responses", audio(data=ENCODED, format="wav"), "audio"),
    ],
)
def test_an_endpoint_without_words_for_it_is_one_sentence(endpoint, part, what):
    contents = ["a", [text("a"), part]]
    if what is None:
        check_endpoint(Run(endpoint=endpoint), "d.jsonl", contents)
        return
    with pytest.raises(UserError) as error:
        check_endpoint(Run(endpoint=endpoint), "d.jsonl", contents)
    assert str(error.value) == (
        f"run.endpoint: {endpoint} takes no {what}, which rows of d.jsonl have; use "
        "/v1/chat/completions, or a dataset without them."
    )


@given(data=st.binary(min_size=1, max_size=300), kind=st.sampled_from(["png", "jpeg", "webp"]))
def test_all_bytes_arrive(tmp_path_factory, data, kind):
    folder = tmp_path_factory.mktemp("media")
    (folder / f"it.{kind}").write_bytes(data)
    built = bodies(folder, user(image(f"it.{kind}")))
    ((part,),) = [each["content"] for each in json.loads(built.body(0))["messages"]]
    head, _, encoded = part["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(encoded)) == (f"data:image/{kind};base64", data)
    assert built.attributes(0).media_bytes == len(data)


def test_the_files_of_the_folder_are_inputs_of_the_measurement(folder):
    (folder.parent / "d.jsonl").write_text("{}")
    keys = {"kind": "dataset", "file": str(folder.parent / "d.jsonl"), "media": str(folder)}
    config = parse_config({"models": {"m": {}}, "server": {"url": "http://h"}, "workload": keys})
    files = [path for path in settings(config, cells(config)[0], 1).files if path.is_file()]
    assert [path.name for path in files] == ["d.jsonl", "cat.png", "hello.wav", "way out.png"]
    for name, problem in (("nowhere", "is not there"), ("cat.png", "is a file")):
        keys["media"] = str(folder / name)
        config = parse_config(
            {"models": {"m": {}}, "server": {"url": "http://h"}, "workload": keys}
        )
        with pytest.raises(UserError, match=rf"workload\.media: .*{problem}"):
            _ = settings(config, cells(config)[0], 1).files
