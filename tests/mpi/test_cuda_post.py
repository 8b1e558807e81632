"""Post-processing under real mpirun: on a card of each reply; without a card the run says why."""

import json

import pyarrow.parquet as pq
import pytest
from tests.unit.gpus import NO_CARD, needs_card, needs_none

SMALL = ("--inflight", 4, "--iters", 12, "--max-tokens", 3)


@needs_none
def test_on_without_a_card_ends_before_anything_is_sent(mpich, server, tmp_path):
    process = mpich.run(3, "--server", server.url, "--cuda-post", "--output", tmp_path, *SMALL)
    assert process.returncode != 0
    assert process.stderr.count("run.cuda_post: on, but there is no usable card") == 1
    assert NO_CARD in process.stderr and "Traceback" not in process.stderr
    assert not server.replies
    assert "no usable card" in json.loads((tmp_path / "failure.json").read_text())["message"]


@needs_none
@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_auto_without_a_card_runs_and_says_why_there_was_no_work(
    mpich, server, tmp_path, transport
):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"models: {{m: {{}}}}\nserver: {{url: '{server.url}'}}\n"
        "run: {cuda_post: auto, inflight: 4, iters: 12, max_tokens: 3, ranks: 3}\n"
    )
    options = ("--config", config, "--cell", "model=m", "--output", tmp_path)
    process = mpich.run(3, *options, "--transport", transport)
    assert process.returncode == 0, process.stdout + process.stderr
    post = json.loads((tmp_path / "run.json").read_text())["summary"]["gpu"]["post"]
    assert (post["asked"], post["reason"], post["cards"]) == ("auto", NO_CARD, [])
    assert pq.read_table(tmp_path / "requests.parquet")["post_ms"].null_count == 12


@needs_card
@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_every_reply_is_post_processed_on_a_card(mpirun, server, tmp_path, transport):
    options = ("--cuda-post", "--transport", transport, "--output", tmp_path, *SMALL)
    process = mpirun.run(3, "--server", server.url, *options)
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads((tmp_path / "run.json").read_text())
    assert result["summary"]["requests"]["ok"] == 12
    table = pq.read_table(tmp_path / "requests.parquet")
    for name in ("post_ms", "post_copy_ms", "post_kernel_ms"):
        assert all(value > 0 for value in table[name].to_pylist()), name
