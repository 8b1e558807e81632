"""The config's `workload`: what is sent, and how long the replies are to be."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mls.config.sections.base import Section, refuse_keys_of_other_kinds

_FILE_CONVERSATION, _FILE_BLOCKS = "conversation with file", "blocks with file"
_KEYS: dict[str, tuple[str, ...]] = {
    "words": (),
    "synthetic": ("prompt_tokens",),
    "shared_prefix": ("prompt_tokens", "prefix_tokens", "groups"),
    "depth": ("prompt_tokens", "depth"),
    "conversation": ("prompt_tokens", "turns", "think_s"),
    _FILE_CONVERSATION: (
        "think_s",
        "file",
        "history",
        "columns",
        "replace",
        "min_prompt_tokens",
        "max_prompt_tokens",
    ),
    "dataset": (
        *("file", "columns", "replace", "media"),
        *("min_prompt_tokens", "max_prompt_tokens"),
    ),
    "replay": ("file",),
    "text": ("prompt_tokens", "categories"),
    "blocks": ("prompt_tokens", "block_tokens", "cache_tokens"),
    _FILE_BLOCKS: (
        *("prompt_tokens", "block_tokens", "file", "think_s"),
        *("max_pause_s", "max_prompt_tokens"),
    ),
}
Category = Literal["prose", "code", "chat", "copy"]
_ALWAYS = {"kind", "output_tokens", "system"}
_TEMPLATE_ROOM = 64  # tokens that a chat template may add to each turn


_LENGTHS_NEED: dict[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("max",),
    "normal": ("mean", "std", "max"),
    "lognormal": ("mean", "std", "max"),
    "empirical": ("values",),
}
_DURATIONS_NEED = _LENGTHS_NEED | {"lognormal": ("mean", "std")}


class Lengths(Section):
    """Lengths in tokens. A number is short for `fixed`, `trace` and `dataset` for these distributions.

    A length below `min` is set to `min`, one above `max` to `max`.
    """

    distribution: Literal[
        "fixed", "uniform", "normal", "lognormal", "empirical", "trace", "dataset"
    ] = Field(
        description="`fixed` (`value`), `uniform` (`min`, `max`), `normal` or `lognormal` (`mean`, "
        "`std`: those of the lengths themselves), `empirical` (`values`), `trace`: each "
        "request's own of `load.file`, or `dataset`: of replies, as long as those of a conversation's "
        "`file` (`history: dataset`)."
    )
    value: int | None = Field(None, ge=1, description="`fixed`: the length.")
    mean: float | None = Field(None, gt=0, allow_inf_nan=False, description="Mean in tokens.")
    std: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Standard deviation in tokens."
    )
    min: int = Field(1, ge=1, description="Least length.")
    max: int | None = Field(None, ge=1, description="Greatest length.")
    values: list[int] = Field(
        [], description="`empirical`: lengths to draw from, each as often as it is listed."
    )

    @model_validator(mode="after")
    def _complete(self) -> Lengths:
        _require(self, _LENGTHS_NEED)
        if self.values and min(self.values) < 1:
            raise ValueError("values must be at least 1")
        return self

    @property
    def greatest(self) -> int | None:
        """The greatest length that may occur; None when a file decides."""
        if self.distribution in ("trace", "dataset"):
            return None
        if self.distribution == "empirical":
            return max(self.values)
        return self.value if self.distribution == "fixed" else self.max


def _require(section: Lengths | Durations, needs: dict[str, tuple[str, ...]]) -> None:
    """Raise `ValueError` unless the section has what its distribution needs, in the right order."""
    for key in needs.get(section.distribution, ()):
        if getattr(section, key) in (None, []):
            raise ValueError(f"distribution {section.distribution} needs {key}")
    if section.max is not None and section.max < section.min:
        raise ValueError("max must not be less than min")


def _short_form(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("expected at least 1 token")
        return Lengths(distribution="fixed", value=value)
    if isinstance(value, str):
        if value not in ("trace", "dataset"):
            raise ValueError(
                "expected a number, `trace`, `dataset`, or a mapping with `distribution`"
            )
        return Lengths.model_validate({"distribution": value})
    return value


class Durations(Section):
    """Durations in seconds, drawn for each pause. A number is short for `fixed`, `{min, max}` for `uniform`.

    A duration below `min` is set to `min`, one above `max` to `max`.
    """

    distribution: Literal["fixed", "uniform", "lognormal", "empirical"] = Field(
        "uniform",
        description="`fixed` (`value`), `uniform` (`min`, `max`), `lognormal` (`mean`, `std`: those of "
        "the durations themselves), or `empirical` (`values`).",
    )
    value: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="`fixed`: the duration."
    )
    mean: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="`lognormal`: mean in seconds."
    )
    std: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="`lognormal`: standard deviation in seconds."
    )
    min: float = Field(0, ge=0, allow_inf_nan=False, description="Shortest duration.")
    max: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Longest duration. Default: no limit."
    )
    values: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        [], description="`empirical`: durations to draw from, each as often as it is listed."
    )

    @model_validator(mode="after")
    def _complete(self) -> Durations:
        _require(self, _DURATIONS_NEED)
        return self

    @property
    def never(self) -> bool:
        """Whether all durations are 0."""
        if self.distribution == "empirical":
            return not any(self.values)
        return self.distribution == "fixed" and not self.value


def _short_duration(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < math.inf:
            raise ValueError("expected a number of seconds of at least 0")
        return Durations(distribution="fixed", value=value)
    return value


Duration = Annotated[
    Durations, BeforeValidator(_short_duration, json_schema_input_type=float | Durations)
]
NO_PAUSE = Durations(distribution="fixed", value=0)


Length = Annotated[
    Lengths,
    BeforeValidator(
        _short_form, json_schema_input_type=int | Literal["trace", "dataset"] | Lengths
    ),
]


class Workload(Section):
    """What is sent. Default: the built-in prompts of `run.prompt_words` words.

    Lengths in tokens are exact for the server under test: it is asked for its own `/tokenize`
    before anything is measured. Where it has none, they are approximate, and a verdict says so.
    """

    kind: Literal[
        "words",
        "synthetic",
        "text",
        "shared_prefix",
        "depth",
        "blocks",
        "conversation",
        "dataset",
        "replay",
    ] = Field(
        "words",
        description="`words`; `synthetic` (random words, exact in tokens); `text` (real prose and "
        "code, of Python's documentation and sources, by `categories`); `shared_prefix` "
        "(`groups` of prompts that begin with the same `prefix_tokens`); `depth` (new tokens after "
        "`depth` tokens that are in the server's cache, as `llama-bench -d` has them); `blocks` (of the trace's `hash_ids`: "
        "equal ids are equal tokens, so prompts share their beginnings as those of the trace did; "
        "needs `prompt_tokens: trace`); `conversation` "
        "(`turns` requests one after another, each with all that was said before; with `file` all "
        "turns of its rows); `dataset`; "
        "`replay` (the prompts of an earlier run).",
    )
    prompt_tokens: Length = Field(
        Lengths(distribution="fixed", value=128),
        description="Prompt length with the chat template; `shared_prefix`: with the prefix; `depth`: beyond the depth; "
        "`conversation`: of the first turn, and what each further turn adds. A number, `trace`, or "
        "a mapping, see below. Default: 128.",
    )
    output_tokens: Length | None = Field(
        None,
        description="Tokens of each reply, in the same forms, or `dataset`: of a conversation's `file` with "
        "`history: dataset`, those of the file's own reply, counted by the server's `/tokenize`; of a "
        "turn without one `run.max_tokens`. Default: `run.max_tokens`.",
    )
    system: str | None = Field(
        None,
        description="A system message before each prompt (chat endpoints). `''` also takes the "
        "place of a chat template's own.",
    )
    categories: list[Category] = Field(
        ["prose", "code", "chat", "copy"],
        min_length=1,
        description="`text`: what the prompts are, in equal shares: `prose`; `code`; `chat`, a "
        "question about prose or code; `copy`, the task to repeat it. Default: all four.",
    )
    prefix_tokens: int = Field(
        512, ge=1, description="`shared_prefix`: tokens of the user's text that a group shares."
    )
    depth: int = Field(
        4096,
        ge=0,
        description="`depth`: tokens of the user's text that all prompts begin with, those of the "
        "warm-up too, so that they are in the cache when the load begins.",
    )
    block_tokens: int = Field(
        512,
        ge=1,
        description="`blocks`: tokens of a block; 512 in Mooncake's traces, 16 in Bailian's.",
    )
    cache_tokens: int | None = Field(
        None,
        ge=1,
        description="`blocks`: tokens that the ideal cache holds, against which the server's is held: "
        "the least recently used blocks leave it. Default: one that keeps all.",
    )
    groups: int = Field(1, ge=1, description="`shared_prefix`: number of different prefixes.")
    turns: int = Field(
        4,
        ge=1,
        le=1000,
        description="`conversation`: turns, where they aren't of a `file`. `run.iters` and "
        "`run.rounds` count conversations.",
    )
    think_s: Duration = Field(
        NO_PAUSE,
        description="`conversation`: pause between a reply and the next turn, as of a user who thinks or "
        "a tool that works: a number, or a mapping, see below; `blocks` with `file`: where the file has "
        "none. Default: none.",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="`dataset`: JSON Lines, JSON, CSV or Parquet, one row a prompt. `conversation`: "
        "likewise, one row a conversation with all its turns; among its messages "
        '`{"branches": [[message, …], …]}` has sub-agents, that go on side by side from there and are '
        'waited for, but with `"background": true`; its `tools` are sent as they are. `blocks`: a trace of '
        "agents, of kv-cache-tester or with a `session_id` in each row, instead of `load.file`: the requests of "
        "a session are sent one after another, those of sub-agents side by side, in a closed loop; `run.iters` and `run.rounds` count sessions. `replay`: "
        "folder of a repeat (with `run.json`), or an archive that holds one repeat.",
    )
    max_pause_s: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="`blocks` with `file`: longest pause before a request; longer ones of the file are cut "
        "to it. Default: no limit.",
    )
    history: Literal["dataset", "own"] = Field(
        "own",
        description="`conversation` with `file`: what a turn holds of the earlier replies: the "
        "server's `own`, or those of the `dataset`.",
    )
    columns: dict[Literal["prompt", "output_tokens"], str] = Field(
        {},
        description="`dataset`: columns of the prompt and of the reply's length. Default: `messages` (OpenAI), "
        "`conversations` or `conversation` (ShareGPT and its like), `turns` (AIPerf), all of these in "
        "`conversation` with `file`, too, `prompt` or `text`, and `output_tokens_count` (guidellm) or "
        "`output_length` (AIPerf), where there are such. The user's message may have images (`image_url`) and "
        "audio (`input_audio`). A row with an empty length has that of `workload.output_tokens`.",
    )
    media: str | None = Field(
        None,
        min_length=1,
        description="`dataset`: folder of the images and audio that messages name, as `cat.png` or "
        "`file:cat.png`; of no other files any is read. Base64 and URLs of the web need none.",
    )
    replace: bool = Field(
        False,
        description="`dataset`, `conversation` with `file`: the same row may be drawn more than once "
        "in a run.",
    )
    min_prompt_tokens: int = Field(
        1,
        ge=1,
        description="`dataset`, `conversation` with `file`: rows with fewer tokens of text are left out.",
    )
    max_prompt_tokens: int | None = Field(
        None,
        ge=1,
        description="`dataset`, `conversation` with `file`: rows with more tokens of text are left out. Of a "
        "conversation all that its last turn says counts, but for the server's own replies. `blocks` with "
        "`file`: a session ends before its first prompt with more.",
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Workload:
        kind: str = self.kind
        if self.file and self.in_sessions:
            kind = _FILE_CONVERSATION if self.converses else _FILE_BLOCKS
        refuse_keys_of_other_kinds(self, kind, _KEYS, _ALWAYS)
        if self.converses and "output_tokens" in self.columns:
            raise ValueError(
                "columns.output_tokens goes with kind dataset, not with a conversation"
            )
        if self.prompt_tokens.distribution == "dataset":
            raise ValueError(
                "prompt_tokens: dataset is no length of prompts; it goes with output_tokens"
            )
        replies = self.output_tokens and self.output_tokens.distribution
        in_file = kind == _FILE_CONVERSATION and self.history == "dataset"
        if replies == "dataset" and not in_file:
            raise ValueError(
                "output_tokens: dataset goes with kind conversation, file and history: dataset"
            )
        if self.kind in ("dataset", "replay") and not self.file:
            raise ValueError(f"kind {self.kind} needs file")
        if self.kind == "blocks" and self.prompt_tokens.distribution != "trace":
            raise ValueError("kind blocks needs prompt_tokens: trace")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be different ones")
        return self

    @property
    def converses(self) -> bool:
        """Whether requests are turns of conversations."""
        return self.kind == "conversation"

    @property
    def in_sessions(self) -> bool:
        """Whether requests are sent one after another: a conversation's, or those of an agent."""
        return self.converses or (self.kind == "blocks" and self.file is not None)

    @property
    def own_replies(self) -> bool:
        """Whether later turns of a conversation hold the server's own replies."""
        return self.converses and (self.file is None or self.history == "own")

    @property
    def file_pauses(self) -> bool:
        """Whether a file may have pauses between turns."""
        return self.in_sessions and self.file is not None

    @property
    def turns_apart(self) -> int:
        """Requests of one conversation; 0 without conversations, and where a file has them."""
        return self.turns if self.converses and not self.file else 0

    @property
    def in_tokens(self) -> bool:
        """Whether prompts have lengths in tokens, so that the server's tokenizer is needed."""
        made = ("synthetic", "text", "shared_prefix", "depth", "blocks", "conversation")
        return self.kind in made and (not self.file or self.kind == "blocks")

    def longest(self, max_tokens: int) -> tuple[int | None, int]:
        """(prompt, reply): lengths in tokens that no request exceeds; None for an unknown prompt.

        max_tokens: limit of the run, which counts where the workload sets no length of replies.
        """
        reply = self.output_tokens.greatest if self.output_tokens else max_tokens
        prompt = self.prompt_tokens.greatest if self.in_tokens else None
        if prompt is not None and self.kind == "depth":
            prompt += self.depth
        if prompt is not None and self.kind == "conversation":
            prompt += (self.turns - 1) * (prompt + (reply or max_tokens) + _TEMPLATE_ROOM)
        return prompt, reply or max_tokens
