"""The config's `workload`: what is sent, and how long the replies are to be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mls.config.sections.base import Section, refuse_keys_of_other_kinds

_KEYS: dict[str, tuple[str, ...]] = {
    "words": (),
    "synthetic": ("prompt_tokens",),
    "shared_prefix": ("prompt_tokens", "prefix_tokens", "groups"),
    "depth": ("prompt_tokens", "depth"),
    "conversation": ("prompt_tokens", "turns", "think_s"),
    "dataset": (
        *("file", "columns", "replace", "media"),
        *("min_prompt_tokens", "max_prompt_tokens"),
    ),
    "replay": ("file",),
    "text": ("prompt_tokens", "categories"),
    "blocks": ("prompt_tokens", "block_tokens", "cache_tokens"),
}
Category = Literal["prose", "code", "chat", "copy"]
_ALWAYS = {"kind", "output_tokens", "system"}
_TEMPLATE_ROOM = 64  # tokens that a chat template may add to each turn


class Lengths(Section):
    """Lengths in tokens. A number is short for `fixed`, the word `trace` for that distribution.

    A length below `min` is set to `min`, one above `max` to `max`.
    """

    distribution: Literal["fixed", "uniform", "normal", "lognormal", "empirical", "trace"] = Field(
        description="`fixed` (`value`), `uniform` (`min`, `max`), `normal` or `lognormal` (`mean`, "
        "`std`: those of the lengths themselves), `empirical` (`values`), or `trace`: each "
        "request's own of `load.file`."
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
        needs = {
            "fixed": ("value",),
            "uniform": ("max",),
            "normal": ("mean", "std", "max"),
            "lognormal": ("mean", "std", "max"),
            "empirical": ("values",),
        }
        for key in needs.get(self.distribution, ()):
            if getattr(self, key) in (None, []):
                raise ValueError(f"distribution {self.distribution} needs {key}")
        if self.values and min(self.values) < 1:
            raise ValueError("values must be at least 1")
        if self.max is not None and self.max < self.min:
            raise ValueError("max must not be less than min")
        return self

    @property
    def greatest(self) -> int | None:
        """The greatest length that may occur; None when a trace decides."""
        if self.distribution == "trace":
            return None
        if self.distribution == "empirical":
            return max(self.values)
        return self.value if self.distribution == "fixed" else self.max


def _short_form(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("expected at least 1 token")
        return Lengths(distribution="fixed", value=value)
    if isinstance(value, str):
        if value != "trace":
            raise ValueError("expected a number, `trace`, or a mapping with `distribution`")
        return Lengths(distribution="trace")
    return value


Length = Annotated[
    Lengths, BeforeValidator(_short_form, json_schema_input_type=int | Literal["trace"] | Lengths)
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
        "(`turns` requests one after another, each with all that was said before); `dataset`; "
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
        description="Tokens of each reply, in the same forms. Default: `run.max_tokens`.",
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
        description="`conversation`: turns. `run.iters` and `run.rounds` count conversations.",
    )
    think_s: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="`conversation`: pause between a reply and the next turn.",
    )
    file: str | None = Field(
        None,
        min_length=1,
        description="`dataset`: JSON Lines, JSON, CSV or Parquet, one row a prompt. `replay`: "
        "folder of a repeat (with `run.json`), or an archive that holds one repeat.",
    )
    columns: dict[Literal["prompt", "output_tokens"], str] = Field(
        {},
        description="`dataset`: columns of the prompt and of the reply's length. Default: `prompt`; "
        "a column `messages` (OpenAI), `conversations` or `conversation` (ShareGPT and its like) is "
        "understood, with images (`image_url`) and audio (`input_audio`) in the user's message. A row with an empty length has that of `workload.output_tokens`.",
    )
    media: str | None = Field(
        None,
        min_length=1,
        description="`dataset`: folder of the images and audio that messages name, as `cat.png` or "
        "`file:cat.png`; of no other files any is read. Base64 and URLs of the web need none.",
    )
    replace: bool = Field(
        False, description="`dataset`: the same row may be drawn more than once in a run."
    )
    min_prompt_tokens: int = Field(
        1, ge=1, description="`dataset`: rows with fewer tokens of text are left out."
    )
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="`dataset`: rows with more tokens of text are left out."
    )

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Workload:
        refuse_keys_of_other_kinds(self, self.kind, _KEYS, _ALWAYS)
        if self.kind in ("dataset", "replay") and not self.file:
            raise ValueError(f"kind {self.kind} needs file")
        if self.kind == "blocks" and self.prompt_tokens.distribution != "trace":
            raise ValueError("kind blocks needs prompt_tokens: trace")
        if len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be different ones")
        return self

    @property
    def turns_apart(self) -> int:
        """Requests of one conversation; 0 when requests are independent of each other."""
        return self.turns if self.kind == "conversation" else 0

    @property
    def in_tokens(self) -> bool:
        """Whether prompts have lengths in tokens, so that the server's tokenizer is needed."""
        return self.kind in (
            "synthetic",
            "text",
            "shared_prefix",
            "depth",
            "blocks",
            "conversation",
        )

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
