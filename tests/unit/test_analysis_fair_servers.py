"""Several servers in one run: the table of each, and whether they are alike and of one kind."""

import json

import pytest
from tests.unit.synthetic import Load, config, load_of, rows, table, to_table, write_repeat
from tests.unit.verdicts import CLEAN, verdicts

from mls.analysis.repeat.breakdown import parts
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.sections.run import Run


def shared_records(slower=1.0, load=CLEAN, servers=2):
    """Records of requests to servers in turn; the last server takes `slower` times as long."""
    records = rows(load)
    for row in records:
        row["server"] = row["job"] % servers
        if row["server"] == servers - 1:
            latency = row["end_ns"] - row["start_ns"]
            row["end_ns"] = row["start_ns"] + round(latency * slower)
    return records


@pytest.mark.parametrize(
    ("slower", "status"), [(1.0, "pass"), (1.09, "pass"), (1.2, "warn"), (1.5, "warn")]
)
def test_servers_that_are_apart_are_told(slower, status):
    verdict = verdicts(to_table(shared_records(slower)))["fair_servers"]
    assert verdict.status == status
    assert verdict.measured == pytest.approx((slower - 1) / ((slower + 1) / 2), abs=0.01)
    assert "50%, 50%" in verdict.message
    if status != "pass":
        assert "ms at server 2" in verdict.message


def test_a_server_that_answers_nothing_is_named():
    records = shared_records()
    for row in records:
        if row["server"] == 1:
            row["error"] = "refused"
    verdict = verdicts(to_table(records))["fair_servers"]
    assert (verdict.status, verdict.message) == ("fail", "Server 2 answered none of its requests.")


def test_one_server_is_not_judged():
    assert "fair_servers" not in verdicts(table(CLEAN))


def test_each_server_has_a_row_of_its_own():
    load = Load(places=4, requests=40, tokens=16)
    servers = parts(
        [to_table(shared_records(2.0, load)), to_table(shared_records(2.0, load))], "server"
    )
    assert [part.number for part in servers] == [1, 2]
    assert [part.requests for part in servers] == [40, 40]
    one, two = servers
    assert two.latency_ms.p50 == pytest.approx(2 * one.latency_ms.p50, rel=0.01)
    assert one.ttft_ms.p50 == pytest.approx(two.ttft_ms.p50, rel=0.01)
    assert one.completion_tokens_per_s == pytest.approx(two.completion_tokens_per_s)
    assert parts([table(CLEAN)], "server") == []


def test_servers_that_are_not_the_same_thing_are_named(tmp_path):
    sweep = config(repeats=1, sweep={"inflight": [4]})
    cell = cells(sweep)[0]
    folder = write_repeat(sweep, tmp_path, cell, 1, table(load_of(sweep, cell, 1)))
    path = folder / "run.json"
    result = json.loads(path.read_text())
    states = [{"build": "b1", "slots": 4}, {"build": "b2", "slots": 4}]
    result["server"]["each"] = [{"url": f"http://{i}", "before": s} for i, s in enumerate(states)]
    path.write_text(json.dumps(result))
    verdict = next(
        v for v in read_study(sweep, tmp_path).cells[0].verdicts if v.check == "same_thing_measured"
    )
    assert verdict.status == "fail"
    assert "build of its servers b1 and b2 in repeat 1" in verdict.message


def test_servers_that_may_be_apart_by_chance_are_unknown():
    """Of requests that vary by a third, means of 12 were once called apart in four runs of ten."""
    statuses = []
    for seed in range(40):
        load = Load(places=1, requests=24, tokens=4, noise=1.0, seed=seed)
        run = Run(inflight=1, iters=24, max_tokens=4, ranks=1)
        verdict = verdicts(to_table(shared_records(load=load)), before=None, run=run)[
            "fair_servers"
        ]
        statuses.append(verdict.status)
        if verdict.status == "unknown":
            assert "run.rounds" in verdict.message
    assert statuses.count("warn") <= 4
    assert statuses.count("unknown") >= 20
