"""Pictures and adapters on the real engine: small files of random weights, written here."""

import json
from collections import defaultdict

import pytest
from tests.gguf_files import write_adapter, write_projector
from tests.pictures import png
from tests.workflow.one_repeat import measure

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory, shallow_smollm2):
    """An adapter without effect, and a strong one."""
    folder = tmp_path_factory.mktemp("adapters")
    files = {folder / "none.gguf": 0.0, folder / "strong.gguf": 1.0}
    for file, strength in files.items():
        write_adapter(shallow_smollm2, file, strength)
    return [str(file) for file in files]


@pytest.fixture(scope="module")
def projector(tmp_path_factory, shallow_smollm2):
    path = tmp_path_factory.mktemp("projector") / "projector.gguf"
    write_projector(path, shallow_smollm2)
    return path


@pytest.mark.parametrize("endpoint", ["/completion", "/v1/responses"])
def test_replies_are_of_the_adapter_that_the_record_names(
    tmp_path, shallow_smollm2, adapters, endpoint
):
    (tmp_path / "d.jsonl").write_text('{"prompt": "Tell me a story about a dog."}')
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={
            "parallel": 1,  # replies of one batch may differ in their last bits
            "ctx": 512,
            "extra_args": [f"lora_adapters={adapters}"],
        },
        run={
            "endpoint": endpoint,
            "ranks": 1,
            "inflight": 1,
            "iters": 12,
            "max_tokens": 12,
            "temperature": 0,
            "keep_output": True,
            "adapters": [
                {"name": "model-alone", "lora": [{"id": 0, "scale": 0}]},
                {"name": "without-effect", "lora": [{"id": 0}]},
                {"name": "strong", "lora": [{"id": 1}]},
            ],
        },
        workload={"kind": "dataset", "file": str(tmp_path / "d.jsonl"), "replace": True},
    )
    texts = defaultdict(set)
    for row in rows:
        assert row["error"] is None and row["adapter"] is not None
        texts[row["adapter"]].add(row["output"])
    assert len(texts[0]) == len(texts[2]) == 1
    assert texts[0] == texts[1] != texts[2]
    assert checks["books_agree"]["status"] == "pass", checks["books_agree"]


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_the_engine_sees_the_pictures_that_the_records_count(
    tmp_path, shallow_smollm2, projector, endpoint
):
    black, white = (png(20, 20, shade) for shade in (0, 255))
    (tmp_path / "black.png").write_bytes(black)
    (tmp_path / "white.png").write_bytes(white)
    shown = [(), ("black",), ("white",), ("black", "white")]
    rows = [
        [
            {"type": "text", "text": "What is this?"},
            *({"type": "image_url", "image_url": {"url": f"{name}.png"}} for name in names),
        ]
        for names in shown
    ]
    lines = [json.dumps({"messages": [{"role": "user", "content": row}]}) for row in rows]
    (tmp_path / "d.jsonl").write_text("\n".join(lines * 3))
    records, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={
            "parallel": 2,
            "ctx": 1024,
            "extra_args": [f"mmproj.path={projector}"],
        },
        run={
            "endpoint": endpoint,
            "ranks": 1,
            "inflight": 2,
            "iters": 12,
            "max_tokens": 12,
            "temperature": 0,
            "keep_output": True,
        },
        workload={"kind": "dataset", "file": str(tmp_path / "d.jsonl"), "media": str(tmp_path)},
    )
    tokens, texts = defaultdict(set), defaultdict(set)
    for row in records:
        assert row["error"] is None, row["error_text"]
        kind = row["prompt_sha256"], row["media_parts"], row["media_bytes"]
        tokens[row["media_parts"] or 0].add(row["prompt_tokens"])
        texts[kind].add(row["output"])
    sizes = sorted(size or 0 for _, _, size in texts)
    assert sizes == sorted([0, len(black), len(white), len(black) + len(white)])
    (none,), (one,), (two,) = (tokens[parts] for parts in range(3))
    assert two - one == one - none >= 4
    assert len(texts) == len(shown) and all(len(each) == 1 for each in texts.values())
    assert len({next(iter(each)) for each in texts.values()}) == len(shown)
    assert checks["books_agree"]["status"] == "pass", checks["books_agree"]
