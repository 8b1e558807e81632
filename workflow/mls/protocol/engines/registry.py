"""All profiles, and which of them is a server's by what it says."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mls.protocol.engines.dynamo import DYNAMO
from mls.protocol.engines.llama_cpp import LLAMA_CPP
from mls.protocol.engines.profile import Profile
from mls.protocol.engines.sglang import SGLANG
from mls.protocol.engines.tensorrt_llm import TENSORRT_LLM
from mls.protocol.engines.tgi import TGI
from mls.protocol.engines.vllm import VLLM

# a frontend's own figures come before those of the engine behind it
PROFILES = (DYNAMO, LLAMA_CPP, VLLM, SGLANG, TGI, TENSORRT_LLM)

GENERIC = Profile(name="generic", prefix="\0")
"""Of a server that none of the others is: it says nothing of itself."""


def by_name(name: str | None) -> Profile:
    """The profile of that name, as a record has it."""
    return next((profile for profile in PROFILES if profile.name == name), GENERIC)


def by_samples(names: Iterable[str]) -> Profile:
    """The profile of a server by the names of its samples in `/metrics`."""
    names = tuple(names)
    return next(
        (one for one in PROFILES if any(name.startswith(one.prefix) for name in names)), GENERIC
    )


def by_owners(owners: Collection[str]) -> Profile:
    """The profile of a server by `owned_by` of the models that it lists."""
    return next((one for one in PROFILES if not {*one.owners}.isdisjoint(owners)), GENERIC)
