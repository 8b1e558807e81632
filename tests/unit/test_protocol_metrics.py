"""`/metrics` of engines: which lines are of use, and one figure a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine_pages import ENGINES, page

from mls.protocol.engines.registry import GENERIC, PROFILES, by_name, by_owners, by_samples
from mls.protocol.metrics import read_metrics


def test_only_samples_of_engines_are_read() -> None:
    text = "# HELP a b\nllamacpp:n 3\npython_gc 4\nllamacpp:t 1e-3 1700000000\nbad nan?\n"
    assert read_metrics(text) == {"llamacpp:n": 3.0, "llamacpp:t": 0.001}


def test_infinite_figures_and_lines_that_are_none_cost_no_others() -> None:
    text = "llamacpp:a NaN\nllamacpp:b +Inf\nllamacpp:{ 1\nllamacpp:c{x= 2\nllamacpp:d 1\n"
    assert read_metrics(text) == {"llamacpp:d": 1.0}


def test_sets_of_labels_are_added_up_and_shares_averaged() -> None:
    """Several engines of one vLLM (data parallel), and tokens by the kind of cache."""
    text = (
        'vllm:generation_tokens_total{engine="0",model_name="m"} 4\n'
        'vllm:generation_tokens_total{engine="1",model_name="m"} 5\n'
        'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
        'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75\n'
        'sglang:cached_tokens_total{cache_source="device"} 3\n'
        'sglang:cached_tokens_total{cache_source="host"} 2\n'
    )
    assert read_metrics(text) == {
        "vllm:generation_tokens_total": 9.0,
        "vllm:kv_cache_usage_perc": 0.5,
        "sglang:cached_tokens_total": 5.0,
    }


def test_of_several_models_only_the_one_that_is_asked_counts() -> None:
    text = (
        'vllm:prompt_tokens_total{model_name="a"} 4\nvllm:prompt_tokens_total{model_name="b"} 5\n'
    )
    assert read_metrics(text, "b") == {"vllm:prompt_tokens_total": 5.0}
    assert read_metrics(text, "alias of either") == {"vllm:prompt_tokens_total": 9.0}


@given(
    st.dictionaries(
        st.from_regex(r"llamacpp:[a-z]+", fullmatch=True),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_figures_round_trip(values: dict[str, float]) -> None:
    assert read_metrics("\n".join(f"{k} {v!r}" for k, v in values.items())) == values


@pytest.mark.parametrize("engine", ENGINES)
def test_pages_of_real_engines_name_their_engine(engine: str) -> None:
    metrics = read_metrics(page(engine, "after"))
    profile = by_samples(metrics)
    assert profile.name == ENGINES[engine]
    assert not [name for name in metrics if name.endswith(("_bucket", "_created", "_info"))]


def test_a_label_that_is_a_figure_is_one() -> None:
    """A vLLM's block of its cache; of several engines the mean."""
    assert read_metrics(page("vllm-0.32.0", "before"))["vllm:cache_config_info.block_size"] == 128
    line = 'vllm:cache_config_info{block_size="%s",cache_hit_alignment_tokens="%s",engine="%s"} 1\n'
    metrics = read_metrics(line % (16, "None", 0) + line % (16, 64, 1))
    assert metrics == {
        "vllm:cache_config_info.block_size": 16,
        "vllm:cache_config_info.cache_hit_alignment_tokens": 64,
    }


def test_profiles_are_told_apart() -> None:
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)
    for profile in PROFILES:
        assert by_name(profile.name) is profile
        names = (*profile.prompt_tokens, *profile.completion_tokens, *profile.running,
                 *profile.cached_tokens, *profile.preemptions, *profile.waiting, *profile.averaged,
                 *(name for one in profile.histograms.values() for name in one.names))  # fmt: skip
        assert names
        assert all(name.startswith(profile.prefix) for name in names)
    assert by_owners({"vllm"}).name == "vLLM"
    assert by_owners({"somebody"}) is by_samples(["python_gc"]) is by_name("no") is GENERIC
