"""Replay: exactly the prompts of an earlier run, or a sentence that says why not."""

import hashlib
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.core.errors import UserError
from mls.load.workload.builder import Materials, make_prompts
from mls.load.workload.calibration import Calibration
from mls.load.workload.replay import check_same, read_earlier
from mls.protocol.prompts import WORDS

CALIBRATION = Calibration(words=tuple(WORDS), overhead=10, per_word=1, exact=True)


def earlier_run(folder, requests=6, seed=77, **workload):
    """A repeat's folder as a run leaves it, as far as a replay looks."""
    model, run = Workload.model_validate(workload), Run(prompt_words=20)
    prompts = make_prompts(run, model, seed, Materials(CALIBRATION))
    texts = [prompts(job).text for job in range(requests)]
    folder.mkdir()
    config = {"seed": seed, "run": run.model_dump(), "workload": model.model_dump()}
    (folder / "run.json").write_text(json.dumps({"config": config}))
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    table = pa.table({"job": range(requests), "prompt_sha256": hashes})
    pq.write_table(table, folder / "requests.parquet")
    return texts


def replay(path, calibration=CALIBRATION):
    workload = Workload(kind="replay", file=str(path))
    earlier = read_earlier(workload)
    materials = Materials(calibration, earlier=earlier)
    return earlier, make_prompts(Run(prompt_words=3), workload, 1, materials)


def check(earlier, prompts, requests):
    check_same(earlier, lambda job: prompts(job).sha256, requests)


@pytest.mark.parametrize("workload", [{}, {"kind": "synthetic", "prompt_tokens": 50}])
def test_says_what_was_said(tmp_path, workload):
    texts = earlier_run(tmp_path / "run", **workload)
    earlier, prompts = replay(tmp_path / "run")
    assert [prompts(job).text for job in range(6)] == texts
    check(earlier, prompts, 6)
    shutil.make_archive(str(tmp_path / "one"), "zip", tmp_path, "run")
    check(*replay(tmp_path / "one.zip"), 4)


def test_another_tokenizer_is_noticed(tmp_path):
    earlier_run(tmp_path / "run", kind="synthetic", prompt_tokens=50)
    other = CALIBRATION.model_copy(update={"words": CALIBRATION.words[1:]})
    with pytest.raises(UserError, match="prompt 0 of the earlier run can't be made again"):
        check(*replay(tmp_path / "run", other), 6)


@pytest.mark.parametrize("requests", [7, None])
def test_more_than_there_was_is_one_sentence(tmp_path, requests):
    earlier_run(tmp_path / "run")
    with pytest.raises(UserError, match="the earlier run had 6 requests"):
        check(*replay(tmp_path / "run"), requests)


def test_what_can_not_be_replayed_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        replay(tmp_path / "nothing")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match="is not a repeat"):
        replay(tmp_path / "text.zip")
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        earlier_run(tmp_path / "two" / name)
    shutil.make_archive(str(tmp_path / "two"), "zip", tmp_path / "two")
    with pytest.raises(UserError, match="holds 2 repeats"):
        replay(tmp_path / "two.zip")
    earlier_run(tmp_path / "talk", kind="conversation")
    with pytest.raises(UserError, match="whose prompts are not its own"):
        replay(tmp_path / "talk")
