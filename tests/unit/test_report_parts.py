"""The page's table of parts: what a shared prefix is worth to the cache."""

from tests.unit.pages import Page, page
from tests.unit.synthetic import config, load_of, rows, to_table, write_repeat

from mls.analysis.study import read_study
from mls.config.cells import cells
from mls.report.plots.parts import HEADINGS, part_rows


def test_a_shared_prefix_shows_what_the_server_took_from_its_cache(tmp_path):
    workload = {"kind": "shared_prefix", "prompt_tokens": 300, "prefix_tokens": 256, "groups": 2}
    planned = config(workload=workload, sweep={"cache_prompt": [False, True], "inflight": [2]})
    for cell in cells(planned):
        for repeat in (1, 2):
            made = rows(load_of(planned, cell, repeat))
            for row in made:
                cached = 256 + row["job"] % 2 if cell["cache_prompt"] else 0
                row |= {"prefix_group": row["job"] % 2, "cached_tokens": cached}
            write_repeat(planned, tmp_path, cell, repeat, to_table(made))
    parts = part_rows(read_study(planned, tmp_path))
    figures = {(row.cell, row.part): dict(zip(HEADINGS, row.figures, strict=True)) for row in parts}
    for group, cached in ((1, "256"), (2, "257")):
        off = figures["cache_prompt False", f"prefix {group}"]
        on = figures["cache_prompt True", f"prefix {group}"]
        assert (off["cached"], on["cached"]) == ("0", cached)
        assert off["prompt tokens"] == on["prompt tokens"] == "60.0"
    text = " ".join(Page(page(planned, tmp_path)).text)
    assert "prefix 2" in text.partition("Stages, turns, prefixes and servers")[2]
