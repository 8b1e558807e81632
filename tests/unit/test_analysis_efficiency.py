"""Cost, energy and the Pareto front, each against a computation by hand."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pages import Page, page
from tests.unit.synthetic import Load, config, rows, table, to_table, write_repeat, write_results
from tests.unit.telemetry import telemetry

from mls.analysis.efficiency.cost import COST
from mls.analysis.efficiency.pareto import front, pareto
from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.config.decisions import rules_digest
from mls.report.plots.pareto import pareto_plot
from mls.report.plots.svg import style

pytestmark = pytest.mark.slow

LOADS = {1: Load(places=1, requests=40, ttft_ms=50, itl_ms=10), 4: Load(places=4, itl_ms=20)}
"""inflight → a load without noise: 16 tokens, 60 of them in a prompt, the first after 50 ms."""


def steady(results, **keys):
    """The study of two cells whose figures can be worked out by hand."""
    sweep = config(
        sweep={"inflight": [1, 4]}, repeats=2, run={"iters": 40, "max_tokens": 16}, **keys
    )
    for cell in cells(sweep):
        for repeat in (1, 2):
            write_repeat(sweep, results, cell, repeat, table(LOADS[cell["inflight"]]))
    return read_study(sweep, results)


def test_cost_is_the_price_of_an_hour_over_the_tokens_of_an_hour(tmp_path):
    study = steady(tmp_path, price={"per_hour": 3.6})
    for cell in study.cells:
        load = LOADS[cell.cell["inflight"]]
        latency_s = (load.ttft_ms + 15 * load.itl_ms) / 1000
        requests_per_hour = load.places / latency_s * 3600
        out, in_, both = (cell.estimates[name].value for name in COST[3:])  # of the whole run
        assert out == pytest.approx(3.6 / (requests_per_hour * 16) * 1e6, rel=1e-6)
        assert in_ == pytest.approx(3.6 / (requests_per_hour * 60) * 1e6, rel=1e-6)
        assert both == pytest.approx(3.6 / (requests_per_hour * 76) * 1e6, rel=1e-6)


def test_the_cost_in_the_window_goes_by_the_rates_that_the_page_shows(tmp_path):
    sweep = config(price={"per_hour": 2.5}, repeats=3)
    write_results(sweep, tmp_path)
    for cell in read_study(sweep, tmp_path).cells:
        rate = cell.estimates["throughput.completion_tokens_per_s"]
        cost = cell.estimates["throughput.cost_per_million_completion_tokens"]
        for value, of in ((cost.value, rate.value), (cost.low, rate.high), (cost.high, rate.low)):
            assert value == pytest.approx(2.5 / (of * 3600) * 1e6)


def test_without_a_price_or_a_count_of_tokens_the_cost_is_unknown(tmp_path):
    assert not {*COST} & {*steady(tmp_path / "free").cells[0].estimates}
    sweep = config(sweep={}, repeats=1, run={"inflight": 4}, price={"per_hour": 1})
    uncounted = [row | {"prompt_tokens": None} for row in rows(LOADS[4])]
    folder = tmp_path / "uncounted"
    write_repeat(sweep, folder, cells(sweep)[0], 1, to_table(uncounted))
    estimates = read_study(sweep, folder).cells[0].estimates
    assert {name.partition(".")[2] for name in COST if name in estimates} == {
        "cost_per_million_completion_tokens"
    }


def test_a_price_decides_on_no_run():
    assert rules_digest(config()) == rules_digest(config(price={"per_hour": 2.5}))


def test_the_page_says_the_cost_at_the_best_cell_that_meets_the_objectives(tmp_path):
    sweep = config(price={"per_hour": 2.5}, slo={"ttft_ms": {"p95": 150}}, repeats=3)
    write_results(sweep, tmp_path)
    study = read_study(sweep, tmp_path)
    within = [c for c in study.cells if c.estimates["ttft_ms.p95"].value <= 150]
    assert 0 < len(within) < len(study.cells)
    best = max(within, key=lambda c: c.estimates["throughput.completion_tokens_per_s"].value)
    cost = 2.5 / (best.estimates["throughput.completion_tokens_per_s"].value * 3600) * 1e6
    text = "".join(Page(page(sweep, tmp_path)).text)
    assert f"At $2.5 an hour, inflight {best.cell['inflight']} costs ${cost:.2f} (" in text
    assert "Cost of a million tokens out by inflight" in text


def test_speed_of_a_user_is_the_reciprocal_of_tpot_and_throughput_is_of_a_host(tmp_path):
    points = pareto(steady(tmp_path)).points
    assert [point.user.value for point in points] == pytest.approx([1000 / 10, 1000 / 20])
    assert [point.on_front for point in points] == [True, True]


@pytest.mark.parametrize(
    ("cards", "per", "share"),
    [
        ({"gpu0": {"server_memory_mib": 9.0}, "gpu1": {"server_memory_mib": 9.0}}, "GPU", 2),
        ({"gpu0": {"server_memory_mib": 9.0}, "gpu1": {"utilization": 50}}, "GPU", 1),
        ({"gpu0": {"utilization": 50}}, "GPU", 1),
        ({"gpu0": {"utilization": 0}}, "server", 1),
        ({"gpu0": {"utilization": 50}, "gpu1": {"utilization": 50}}, "server", 1),
    ],
    ids=["two", "one of two", "the only one", "idle", "nothing tells"],
)
def test_throughput_is_divided_by_the_cards_that_serve(tmp_path, cards, per, share):
    sweep = config(sweep={}, repeats=2, run={"inflight": 4})
    records = rows(LOADS[4])
    for repeat in (1, 2):
        samples = telemetry(cards, records)
        cell = cells(sweep)[0]
        write_repeat(sweep, tmp_path, cell, repeat, table(LOADS[4]), telemetry=samples)
    study = read_study(sweep, tmp_path)
    data = pareto(study)
    rate = study.cells[0].estimates[study.rate.metric].value
    assert data.per == per
    assert data.points[0].share.value == pytest.approx(rate / share)


def test_the_front_of_a_few_points_by_hand():
    points = [(1, 9), (2, 9), (3, 5), (3, 6), (4, 1), (2, 7), (4, 1), (0, 9)]
    assert [points[i] for i in front(points)] == [(2, 9), (3, 6), (4, 1), (4, 1)]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30))
def test_the_front_is_what_no_point_dominates(points):
    def dominated(one):
        return any(a >= one[0] and b >= one[1] and (a, b) != one for a, b in points)

    best = front(points)
    assert sorted(best) == [i for i, one in enumerate(points) if not dominated(one)]
    assert all(points[a] <= points[b] or points[a][0] == points[b][0] for a, b in pairwise(best))


def test_energy_of_the_cpu_by_its_counter_over_the_tokens(tmp_path):
    sweep = config(sweep={}, repeats=2, run={"inflight": 4})
    samples = telemetry({"host": {"cpu": 1.0, "energy_j": lambda s: 500 + 40 * s}}, rows(LOADS[4]))
    for repeat in (1, 2):
        cell = cells(sweep)[0]
        write_repeat(sweep, tmp_path, cell, repeat, table(LOADS[4]), telemetry=samples)
    estimates = read_study(sweep, tmp_path).cells[0].estimates
    load = LOADS[4]
    seconds = load.requests / load.places * (load.ttft_ms + 15 * load.itl_ms) / 1000
    assert estimates["cpu.power_w"].value == pytest.approx(40)
    joules = 40 * seconds / (load.requests * load.tokens) * 1000
    assert estimates["cpu.energy_j_per_1000_tokens"].value == pytest.approx(joules)
    text = "".join(Page(page(sweep, tmp_path)).text)
    assert "CPU energy" in text and "Energy of the CPU by inflight" in text


def test_energy_of_a_host_that_the_server_is_not_on_is_not_the_servers(tmp_path):
    sweep = config(sweep={}, repeats=1, run={"inflight": 4})
    samples = telemetry(
        {"host": {"energy_j": lambda s: 40 * s}, "gpu0": {"utilization": 9.0}}, rows(LOADS[4])
    )
    folder = write_repeat(sweep, tmp_path, cells(sweep)[0], 1, table(LOADS[4]), telemetry=samples)
    recorded = json.loads((folder / "run.json").read_text())
    recorded["host"] = {"server": "elsewhere"}
    (folder / "run.json").write_text(json.dumps(recorded))
    study = read_study(sweep, tmp_path)
    summary = study.cells[0].repeats[0].result.summary
    assert summary.cpu is None and summary.gpu.serving is None
    assert pareto(study).per == "server"


def test_points_of_the_front_with_long_names_have_numbers(tmp_path):
    axes = {"inflight": [2, 4], "prompt_words": [16, 24], "max_tokens": [8, 16]}
    sweep = config(sweep=axes, repeats=2)
    write_results(sweep, tmp_path)
    study = read_study(sweep, tmp_path)
    with style():
        plot = pareto_plot("pareto", study)
    best = [p for p in pareto(study).points if p.on_front]
    assert len(best) > 1
    assert "1: inflight " in plot.note and ">1</text>" in plot.svg
    with style():
        plot = pareto_plot("pareto", steady(tmp_path / "few"))
    assert ">inflight 1</text>" in plot.svg and ">inflight 4</text>" in plot.svg
    assert "beats in both: inflight 4; inflight 1." in plot.note
