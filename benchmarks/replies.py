"""What looking at replies costs, and what it sees of real engines.

`python -m benchmarks.replies` prints the CPU time that the figures of a reply take after the
load, in µs a token, beside that of its parsing, which is there anyway. `--results FOLDER --config FILE`
prints what the records of a sweep have of them, one line a cell: for `benchmarks/replies.yaml`,
measured by `make report CONFIG=benchmarks/replies.yaml`, that is the table of docs/METHODS.md.
`--questions FILE` writes the dataset of `benchmarks/questions.yaml`, from Python's own reference.
"""

from __future__ import annotations

import argparse
import pydoc_data.topics
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeats import Repeat, read_cell
from mls.config.cells import cells
from mls.config.config import Config
from mls.config.parse import load_config
from mls.config.sections.replies import ThinkTags
from mls.config.sections.run import Run
from mls.load.soundness.figures import figures_of
from mls.load.soundness.form import Forms
from mls.protocol.asked import asked_of
from mls.protocol.completion import read_reply
from mls.protocol.prompts import prompt
from mls.protocol.replies.reply import Reply
from mls.protocol.sse import Piece

LENGTHS = (24, 64, 256, 1024, 4096)
ROUNDS = 7
REPLIES = 40
_TOKEN = re.compile(r"\s*\S{1,6}")
_CHECK = "replies_sound"
_QUESTIONS = (
    "What does this paragraph of Python's reference mean?",
    "Summarize this text in one sentence.",
    "Give an example in Python code of what is described here:",
    "Ask three questions about this text.",
)


# --- what it costs ---


def tokens_of(kind: str, seed: int, length: int) -> list[str]:
    """The tokens of a reply: pieces of at most six characters and the blanks before them."""
    if kind == "random words":
        text = prompt(seed, 0, length)
    elif kind == "a loop":
        text = "This is what it says, again. " * length
    else:
        text = "\n".join(pydoc_data.topics.topics.values())[1000 * seed :]
    return _TOKEN.findall(text)[:length]


def body_of(tokens: list[str], kinds: str = "content") -> list[Piece]:
    """A streamed reply, one token a chunk and one chunk a read.

    kinds: `content`, `reasoning` (three of four chunks, first) or `tags` (the same, in the text).
    """
    thoughts = 0 if kinds == "content" else len(tokens) * 3 // 4
    if kinds == "tags":
        tokens = ["<think>", *tokens[:thoughts], "</think>", *tokens[thoughts:]]
    keys = ["reasoning_content"] * thoughts if kinds == "reasoning" else []
    keys += ["content"] * (len(tokens) - len(keys))
    deltas = [{key: token} for key, token in zip(keys, tokens, strict=True)]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    events = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks]
    return list(zip([*events, b"data: [DONE]\n\n"], range(len(events) + 1), strict=True))


def microseconds_a_token(work: Callable[[], object], tokens: int) -> float:
    """The median over `ROUNDS` of the CPU time of work on this many tokens, after one round."""
    times = []
    for _ in range(ROUNDS + 1):
        begin_ns = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - begin_ns)
    return statistics.median(times[1:]) / 1e3 / tokens


def cost(kind: str, length: int, kinds: str = "content") -> tuple[float, float]:
    """(parsing, figures) of replies of this length, in µs a token. kinds: see `body_of`."""
    token_lists = [tokens_of(kind, seed, length) for seed in range(REPLIES)]
    bodies = [body_of(tokens, kinds) for tokens in token_lists]
    tags: ThinkTags = "both" if kinds == "tags" else "none"
    openings = [prompt(seed, 1, 48)[:64] for seed in range(REPLIES)]
    total = sum(map(len, token_lists))
    forms = Forms(asked_of(Run()))

    def parse() -> list[Reply]:
        return [read_reply(200, True, body, think_tags=tags) for body in bodies]

    def figures(replies: list[Reply]) -> None:
        for reply, opening in zip(replies, openings, strict=True):
            figures_of(reply, opening, forms)

    replies = parse()
    return microseconds_a_token(parse, total), microseconds_a_token(lambda: figures(replies), total)


def print_costs() -> None:
    print("replies of          tokens  parsing, µs a token  figures, µs a token")
    sorts = [(kind, kind, "content") for kind in ("random words", "prose", "a loop")]
    sorts += [(f"prose, {kinds}", "prose", kinds) for kinds in ("reasoning", "tags")]
    for name, kind, kinds in sorts:
        for length in LENGTHS:
            parsing, figures = cost(kind, length, kinds)
            print(f"{name:18} {length:7} {parsing:20.2f} {figures:20.3f}")


# --- what it sees ---


def write_questions(file: Path) -> None:
    """One question about the first paragraph of a few hundred characters of each topic."""
    rows: list[bytes] = []
    for _, text in sorted(pydoc_data.topics.topics.items()):
        paragraphs = (part.strip() for part in text.split("\n\n"))
        paragraph = next((part for part in paragraphs if 200 < len(part) < 900), None)
        if paragraph:
            question = _QUESTIONS[len(rows) % len(_QUESTIONS)]
            rows.append(orjson.dumps({"prompt": f"{question}\n\n{paragraph}"}))
    file.write_bytes(b"\n".join(rows) + b"\n")


def rows_of(config: Config, results: Path) -> Iterator[dict[str, object]]:
    """A row for each cell: shares of its replies, in %, and the statuses of its repeats."""
    for cell in cells(config):
        repeats = read_cell(config, results, cell, list(range(1, config.most_repeats + 1)))
        tables = [repeat.data.table for repeat in repeats if repeat.data]
        if not tables:
            continue
        table = pa.concat_tables(tables)
        yield dict(cell) | _shares(table) | {_CHECK: " ".join(map(_status, repeats))}


def _shares(table: pa.Table) -> dict[str, object]:
    table = table.filter(pc.is_valid(table.column("text_characters")))

    def column(name: str) -> np.ndarray:
        return pc.fill_null(table.column(name).cast(pa.float64()), 0.0).to_numpy()

    characters, loop = column("text_characters"), column("loop_characters")
    compression = column("text_compression")
    texts = pc.fill_null(table.column("output_sha256"), "").to_pylist()
    _, text, times = np.unique(texts, return_inverse=True, return_counts=True)
    shares = {
        "empty": characters == 0,
        "garbled": column("garbage_characters") > 0,
        "echoes": column("echoes_prompt") > 0,
        "loops": loop > characters / 2,
        "stuck": (loop == characters) & (loop > 0) & (column("loop_period") <= 8),
        "alike": (times[text] > 1) & (loop <= characters / 2),
    }
    return {
        "replies": table.num_rows,
        **{name: round(100 * float(rows.mean())) for name, rows in shares.items()},
        "compression": f"{np.median(compression):.1f} ({compression.min():.1f}–{compression.max():.1f})",
    }


def _status(repeat: Repeat) -> str:
    verdicts = repeat.result.verdicts if repeat.result else []
    return next((verdict.status for verdict in verdicts if verdict.check == _CHECK), "–")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, help="A folder of results.")
    parser.add_argument("--config", type=Path, help="The config that they are of.")
    parser.add_argument("--questions", type=Path, help="A file to write.")
    options = parser.parse_args()
    if options.questions:
        write_questions(options.questions)
        return
    if options.results is None:
        print_costs()
        return
    rows = list(rows_of(load_config(options.config), options.results))
    if not rows:
        return
    for line in (list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)):
        print("| " + " | ".join(map(str, line)) + " |")


if __name__ == "__main__":
    main()
