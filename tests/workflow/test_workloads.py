"""Workloads on the real engine: exact lengths by its own count."""

import json

import pytest
from tests.workflow.one_repeat import measure

from mls.load.workload.text import stored
from mls.load.workload.text.corpus import read_corpus

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize(
    "model, endpoint, workload",
    [
        ("smollm2", "/v1/chat/completions", {"system": ""}),
        ("shallow_smollm2", "/completion", {}),
        ("shallow_smollm2", "/v1/responses", {"system": ""}),
        ("shallow_smollm2", "/v1/messages", {"system": ""}),
        (
            "shallow_gemma3",
            "/v1/completions",
            {},
        ),  # the engine's own template alone has 24 tokens of Gemma
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_prompt_tokens_are_those_asked_for(tmp_path, request, model, endpoint, workload):
    lengths = {"distribution": "empirical", "values": [16, 60, 200]}
    rows, checks = measure(
        tmp_path,
        request.getfixturevalue(model),
        run={"endpoint": endpoint, "ranks": 1, "inflight": 1, "iters": 4, "max_tokens": 2},
        workload={"kind": "synthetic", "prompt_tokens": lengths, **workload},
        seed=1,
    )  # fmt: skip
    assert {row["prompt_tokens_asked"] for row in rows} == {16, 60, 200}
    assert [row["prompt_tokens"] for row in rows] == [row["prompt_tokens_asked"] for row in rows]
    for check in ("prompts_as_asked", "work_as_asked", "books_agree"):
        assert checks[check]["status"] == "pass", checks[check]
    assert {row["finish_reason"] for row in rows} == {"length"}
    assert all(row["chunks"] == 2 for row in rows)


@pytest.mark.parametrize(
    ("endpoint", "pooling"), [("/v1/embeddings", 1), ("/v1/rerank", 4)], ids=["mean", "rank"]
)
def test_embeddings_and_scores_have_latency_and_rates_without_tokens(
    tmp_path, shallow_smollm2, endpoint, pooling
):
    lengths = {"distribution": "uniform", "min": 20, "max": 80}
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        server={
            "parallel": 2,
            "ctx": 1024,
            "extra_args": ["embedding=true", f"pooling_type={pooling}"],
        },
        run={"endpoint": endpoint, "ranks": 1, "inflight": 2, "iters": 8},
        workload={"kind": "synthetic", "prompt_tokens": lengths},
    )
    assert [row["error"] for row in rows] == [None] * 8
    assert [row["prompt_tokens"] for row in rows] == [row["prompt_tokens_asked"] for row in rows]
    assert all(row["chunks"] == 0 and row["completion_tokens"] is None for row in rows)
    summary = json.loads((tmp_path / "out" / "run.json").read_text())["summary"]
    assert summary["latency_ms"]["n"] == 8 and summary["ttft_ms"]["n"] == 0
    assert summary["throughput"]["requests_per_s"] > 0
    assert summary["throughput"]["prompt_tokens_per_s"] > 0
    for check in ("work_as_asked", "prompts_as_asked", "books_agree"):
        assert checks[check]["status"] == "pass", checks[check]
    for check in ("concurrency_held", "client_kept_up"):
        assert checks[check]["status"] in ("pass", "fail")  # never unknown, on any machine
    assert summary["inflight"]["max"] == 2


@pytest.mark.parametrize(
    "extra",
    [
        {"grammar": 'root ::= "yes" | "no"'},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"type": "string", "enum": ["yes", "no"]}},
            }
        },
    ],
    ids=["grammar", "response_format"],
)
def test_what_the_config_adds_to_a_request_shapes_the_reply(tmp_path, shallow_smollm2, extra):
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 4, "max_tokens": 8, "ignore_eos": False,
             "prompt_words": 8, "request_extra": extra, "keep_output": True},
    )  # fmt: skip
    outputs = {row["output"].strip().strip('"') for row in rows}  # JSON may end in blanks
    assert outputs <= {"yes", "no"}
    assert checks["replies_sound"]["status"] == "pass"
    assert {row["json_form"] for row in rows} == {None if "grammar" in extra else "fits"}
    assert checks["work_as_asked"]["status"] == "pass"


def test_requests_that_are_hung_up_on_are_counted_apart_and_the_others_are_answered(
    tmp_path, smollm2
):
    rows, checks = measure(
        tmp_path,
        smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 6, "max_tokens": 16, "prompt_words": 8,
             "cancel": {"share": 0.5, "after_s": {"min": 0.02, "max": 0.05}}},
        seed=1,
    )  # fmt: skip
    assert len(rows) == 6
    for row in rows:  # no engine writes 16 tokens on one thread within 0.05 s
        assert row["error"] == (None if row["cancel_after_ns"] is None else "cancelled"), row
    answered = [row for row in rows if row["error"] is None]
    assert 0 < len(answered) < 6
    assert {row["completion_tokens"] for row in answered} == {16}
    summary = json.loads((tmp_path / "out" / "run.json").read_text())["summary"]
    counts = {key: summary["requests"][key] for key in ("total", "ok", "error", "cancelled")}
    assert counts == {"total": 6, "ok": len(answered), "error": 0, "cancelled": 6 - len(answered)}
    assert summary["tokens"]["completion"] == 16 * len(answered)
    assert checks["errors"]["status"] == checks["work_as_asked"]["status"] == "pass"
    assert checks["books_agree"]["status"] == "unknown"
    assert checks["slots_freed"]["status"] in ("pass", "unknown"), checks["slots_freed"]


@pytest.mark.parametrize(
    "model, endpoint",
    [("shallow_smollm2", "/v1/chat/completions"), ("shallow_gemma3", "/completion")],
)
def test_prompts_of_real_text_have_the_tokens_asked_for(tmp_path, request, model, endpoint):
    lengths = {"distribution": "empirical", "values": [70, 110, 160]}
    rows, checks = measure(
        tmp_path,
        request.getfixturevalue(model),
        run={"endpoint": endpoint, "ranks": 1, "inflight": 1, "iters": 16, "max_tokens": 2},
        workload={"kind": "text", "prompt_tokens": lengths},
        replies={"canaries": 2},
        seed=1,
    )  # fmt: skip
    assert {row["prompt_tokens_asked"] for row in rows} == {70, 110, 160}
    assert [row["prompt_tokens"] for row in rows] == [row["prompt_tokens_asked"] for row in rows]
    own = [row["category"] for row in rows if row["canary"] is None]
    assert len(own) < len(rows)  # there are canaries, which have categories, too
    assert {row["category"] for row in rows} == {"prose", "code", "chat", "copy"}
    assert checks["prompts_as_asked"]["status"] == checks["work_as_asked"]["status"] == "pass"
    assert checks["replies_alike"]["status"] in ("pass", "unknown")
    workload = json.loads((tmp_path / "out" / "run.json").read_text())["workload"]
    corpus = read_corpus()
    assert workload["corpus"] == corpus.facts
    # what was measured once serves the next repeat
    folder = tmp_path / "results" / "tokens"
    kept, path = sorted(folder.iterdir())
    assert stored.read(path, corpus) is not None
    assert read_corpus(folder) == corpus and json.loads(kept.read_text())["prose"] == corpus.prose


def test_drafts_of_the_replies_are_those_of_the_servers_counters(tmp_path, smollm2):
    rows, checks = measure(
        tmp_path,
        smollm2,
        server={"parallel": 1, "ctx": 2048, "speculation": "ngram-simple"},
        run={"iters": 2, "inflight": 1, "ranks": 1, "max_tokens": 40, "temperature": 0},
        workload={"kind": "text", "prompt_tokens": 128, "categories": ["copy"]},
    )
    drafted = sum(row["draft_tokens"] or 0 for row in rows)
    assert drafted > 0
    assert checks["drafts_as_asked"]["status"] == "pass", checks["drafts_as_asked"]
    agreement = checks["drafts_agree"]
    assert agreement["status"] == "pass", agreement
    assert agreement["measured"] == agreement["threshold"] == drafted


def test_replies_are_as_long_as_those_of_the_conversations_of_a_file(tmp_path, shallow_smollm2):
    texts = ["Yes.", "It is warm, and it will be so tomorrow.", "one two three four five six seven"]
    talk = [
        {"role": role, "content": content}
        for text in texts
        for role, content in (("user", "And then?"), ("assistant", text))
    ]
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"messages": [*talk, {"role": "user", "content": "And?"}]}))
    rows, checks = measure(
        tmp_path,
        shallow_smollm2,
        run={"ranks": 1, "inflight": 1, "iters": 1, "max_tokens": 5},
        workload={
            "kind": "conversation",
            "file": str(path),
            "history": "dataset",
            "output_tokens": "dataset",
        },
    )
    asked = [row["completion_tokens_asked"] for row in rows]
    assert asked == [row["completion_tokens"] for row in rows] == [2, 11, 7, 5]
    assert checks["work_as_asked"]["status"] == "pass"
