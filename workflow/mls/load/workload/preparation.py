"""The materials of prompts and schedules, gathered on rank 0 before the load."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from mls.config.sections.load import Load
from mls.config.settings import Settings
from mls.core.errors import UserError
from mls.core.files import read_json
from mls.core.run_result import Template
from mls.load.workload.blocks.agents import read_agents
from mls.load.workload.blocks.prompts import check_blocks
from mls.load.workload.builder import Materials, draw, make_prompts
from mls.load.workload.calibration import least_tokens
from mls.load.workload.context_length import check_files
from mls.load.workload.conversations.dialogues import read_dialogues
from mls.load.workload.conversations.reply_lengths import with_reply_lengths
from mls.load.workload.conversations.template import keeps_history
from mls.load.workload.datasets import choose, draw_rows, read_dataset
from mls.load.workload.media.parts import check_endpoint
from mls.load.workload.replay import check_same, read_earlier
from mls.load.workload.text.corpus import read_corpus
from mls.load.workload.text.limits import check_lengths, repetition
from mls.load.workload.text.measurement import measure
from mls.load.workload.tokenizer_trials import calibrate
from mls.load.workload.traces import Trace, read_trace
from mls.server.api import ServerApi

_MOST_JOBS = 10_000


def prepare(
    settings: Settings,
    seed: int,
    results: Path,
    api: ServerApi,
    served_as: str | None,
    canary_seed: int = 0,
) -> Materials:
    """Read the files, and calibrate prompts with the server's tokenizer. Raises `UserError`.

    results: the config's folder, in which calibrations are cached. canary_seed: of all cells.
    """
    workload, run = settings.workload, settings.run
    blocks = workload.kind == "blocks"
    trace = read_trace(settings.load, blocks) if settings.load.kind == "trace" else None
    if blocks and workload.file:
        trace = read_agents(workload, settings.requests)
    _check_lengths(settings, trace)
    calibration = rows = dialogues = earlier = canary_rows = texts = None
    notes = trace.notes if trace else ()
    if workload.kind == "replay":
        earlier = read_earlier(workload)
        workload, seed = earlier.workload, earlier.seed
    if workload.in_tokens:
        folder = results / "tokens"
        sha256 = (
            _model_sha256(results, str(settings.cell["model"]))
            if settings.server.starts_llama_cpp  # Others may be given another template
            else None
        )
        values = trace.prompt_tokens if trace else None
        jobs = range(min(settings.requests or _MOST_JOBS, _MOST_JOBS))
        lengths = [draw(workload.prompt_tokens, seed, job, "prompt", values) for job in jobs]
        if workload.kind == "text":
            corpus = read_corpus(folder if sha256 else None)
            texts = measure(api, run, workload.system, served_as, corpus, folder, sha256)
            check_lengths(texts, workload, lengths)
        else:
            calibration = calibrate(api, run, workload.system, served_as, folder, sha256)
            prefix = workload.prefix_tokens if workload.kind == "shared_prefix" else 0
            least_tokens(calibration, [tokens - prefix for tokens in lengths])
            if blocks and trace is not None and trace.prompt_tokens is not None:
                check_blocks(
                    settings.load.file or workload.file,
                    trace.row.tolist(),
                    trace.blocks,
                    trace.prompt_tokens.tolist(),
                    calibration,
                    workload.block_tokens,
                )
    if workload.kind == "dataset":
        count = len(trace.at_s) if trace and settings.requests is None else settings.requests
        if earlier:
            count = len(earlier.sha256)
        dataset = read_dataset(workload)
        rows = draw_rows(dataset, workload, seed, count, api.tokenize)
        check_endpoint(run, workload.file or "", (row.messages[-1]["content"] for row in rows))
        notes += dataset.notes
        own = workload.model_copy(update={"replace": False})
        with contextlib.suppress(UserError):  # too few rows: without canaries, then
            canary_rows = draw_rows(
                dataset, own, canary_seed, settings.replies.canaries, api.tokenize
            )
    if workload.converses and workload.file:
        conversations = read_dialogues(workload, run)
        path, notes = conversations.path, notes + conversations.notes
        dialogues = choose(
            path, conversations.rows, workload, seed, settings.requests, api.tokenize
        )
        if workload.output_tokens and workload.output_tokens.distribution == "dataset":
            dialogues = [with_reply_lengths(dialogue, api.tokenize) for dialogue in dialogues]
    check_files(settings, trace, rows, dialogues, api)
    template = Template(
        tokens=calibration.overhead if calibration and calibration.exact else None,
        keeps_history=keeps_history(api, run, workload.system, served_as, dialogues)
        if workload.converses and run.cache_prompt
        else None,
    )
    materials = Materials(
        *(calibration, rows, dialogues, trace, earlier, notes, canary_rows, texts, template)
    )
    if texts is None and earlier is None:
        return materials
    prompts = make_prompts(run, settings.workload, seed, materials)
    if earlier:
        check_same(earlier, lambda job: prompts(job).sha256, settings.requests)
    if texts and settings.requests:
        sent = range(min(settings.requests, _MOST_JOBS))
        materials = replace(materials, notes=notes + repetition(prompts(job).text for job in sent))
    return materials


def _check_lengths(settings: Settings, trace: Trace | None) -> None:
    """Raise `UserError` when the config takes lengths from a trace that has none."""
    if trace is None:
        return
    load: Load = settings.load
    for key in ("prompt_tokens", "output_tokens"):
        lengths, values = getattr(settings.workload, key), getattr(trace, key)
        if lengths and lengths.distribution == "trace" and values is None:
            raise UserError(
                f"workload.{key}: {load.file} has no column to take the lengths from; "
                f"name it in load.columns.{key}."
            )


def _model_sha256(results: Path, model: str) -> str | None:
    description = read_json(results / "models" / f"{model}.json")
    digest = description.get("sha256") if isinstance(description, dict) else None
    return digest if isinstance(digest, str) else None
