"""The page's table of parts: the prompt tokens that the cache had of a shared prefix."""

from tests.unit.pages import Page, page
from tests.unit.synthetic import config, load_of, rows, to_table, write_repeat

from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.report.plots.parts import HEADINGS, part_rows


def test_a_shared_prefix_shows_what_the_server_took_from_its_cache(tmp_path):
    workload = {"kind": "shared_prefix", "prompt_tokens": 300, "prefix_tokens": 256, "groups": 2}
    sweep = config(workload=workload, sweep={"cache_prompt": [False, True], "inflight": [2]})
    for cell in cells(sweep):
        for repeat in (1, 2):
            records = rows(load_of(sweep, cell, repeat))
            for row in records:
                tokens = 256 + row["job"] % 2 if cell["cache_prompt"] else 0
                row |= {"prefix_group": row["job"] % 2, "cached_tokens": tokens}
            write_repeat(sweep, tmp_path, cell, repeat, to_table(records))
    parts = part_rows(read_study(sweep, tmp_path))
    figures = {(row.cell, row.part): dict(zip(HEADINGS, row.figures, strict=True)) for row in parts}
    for group, tokens in ((1, "256"), (2, "257")):
        off = figures["cache_prompt False", f"prefix {group}"]
        on = figures["cache_prompt True", f"prefix {group}"]
        assert (off["cached"], on["cached"]) == ("0", tokens)
        assert off["prompt tokens"] == on["prompt tokens"] == "60.0"
    text = " ".join(Page(page(sweep, tmp_path)).text)
    assert "prefix 2" in text.partition("Stages, turns, prefixes, adapters and servers")[2]


def test_an_adapter_has_a_row_by_its_name(tmp_path):
    adapters = [{"name": "base"}, {"name": "french", "model": "fr"}]
    run = {"iters": 32, "max_tokens": 32, "adapters": adapters}
    sweep = config(run=run, sweep={"inflight": [2]}, repeats=1)
    records = rows(load_of(sweep, cells(sweep)[0], 1))
    for row in records:
        # the canaries have none
        row["adapter"] = None if row["job"] % 4 == 0 else int(row["job"] % 4 == 3)
    write_repeat(sweep, tmp_path, cells(sweep)[0], 1, to_table(records))
    parts = part_rows(read_study(sweep, tmp_path))
    assert [(row.part, row.figures[0]) for row in parts] == [
        ("adapter base", "16"),
        ("adapter french", "8"),
    ]
