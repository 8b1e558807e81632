"""What the page and the tables say of requests that the client hung up on."""

import csv
import re
from html import unescape

import pytest
from tests.unit.hang_ups import RUN, TOKENS, counters, one_slot
from tests.unit.pages import page
from tests.unit.synthetic import config, to_table, write_repeat, write_results

from mls.analysis.study import read_study
from mls.analysis.tables import aggregate
from mls.config.cells import cells
from mls.report.pages.plain import plain

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_drawings")]
SHARES = [0, 0.4]


def test_a_server_that_generates_on_is_seen_beside_its_share(tmp_path):
    run = RUN.model_dump(include={"inflight", "ranks", "iters", "max_tokens"})
    cancel = {"share": 0.4, "after_s": {"min": 0.06, "max": 0.4}}
    sweep = config(run=run | {"cancel": cancel}, sweep={"cancel_share": SHARES}, repeats=2)
    write_results(sweep, tmp_path)
    for cell in cells(sweep):
        for repeat in (1, 2):
            records, made = one_slot(1.0, seed=repeat, share=cell["cancel_share"])
            before, after = counters(sum(made))
            metrics = {"metrics_before": before, "metrics_after": after}
            write_repeat(sweep, tmp_path, cell, repeat, to_table(records), slots=1, **metrics)
    html = page(sweep, tmp_path)
    assert "hung up on 0% or 40% of the requests after 0.06 to 0.4 s" in unescape(html)
    assert "Generated on" in html and "Slot free" in html and "slots freed" in html
    (sentence,) = [
        line for line in plain(read_study(sweep, tmp_path)).splitlines() if "users leave" in line
    ]
    assert sentence.startswith("Where users leave 40% of the requests, the others' TTFT is ")
    ttft, tpot = (float(ratio) for ratio in re.findall(r"is ([\d.]+) ×", sentence))
    assert ttft > 1.5 and tpot == 1
    assert "whoever comes next at the place of one waits" in sentence
    assert sentence.endswith("A check failed on one of the two cells.")  # `slots_freed`
    assert "<b>Where users leave 40% of the requests</b>, the others' TTFT" in unescape(html)
    aggregate(sweep, tmp_path)
    with (tmp_path / "cells.csv").open() as file:
        none, some = csv.DictReader(file)
    assert none["hang_ups.generated_share"] == none["hang_ups.in_reply.freed_ms"] == ""
    assert "slots_freed" not in none["verdict_failed"]
    assert float(some["hang_ups.generated_share"]) == 1
    assert float(some["hang_ups.in_reply.freed_ms"]) > TOKENS
    assert "slots_freed" in some["verdict_failed"].split()
