"""The server's books of each engine: what they tell, and that a false counter fails them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine_pages import ENGINES, PROMPT_TOKENS, page
from tests.unit.synthetic import Load, rows, table, to_table
from tests.unit.verdicts import CLEAN, verdicts

from mls.analysis.repeat.server_figures import ServerFigures
from mls.config.sections.run import Run
from mls.core.record import CANCELLED
from mls.protocol.engines.profile import Profile
from mls.protocol.engines.registry import PROFILES
from mls.protocol.metrics import read_metrics

REQUESTS, COMPLETION = 3, 5
"""The recorded requests: their number, and the completion tokens of each."""


def books(profile: Profile, load: Load, *, offset: int = 0) -> tuple[dict[str, float], ...]:
    """`/metrics` before and after a load by an engine's names. offset: tokens it miscounts."""
    before = dict.fromkeys((profile.prompt_tokens[0], profile.completion_tokens[0]), 1000.0)
    after = {
        profile.prompt_tokens[0]: 1000.0 + load.requests * load.prompt,
        profile.completion_tokens[0]: 1000.0 + load.requests * load.tokens + offset,
    }
    for figure, ms in (("ttft_ms", 49.0), ("tpot_ms", 10.0), ("latency_ms", 199.0)):
        if histogram := profile.histograms.get(figure):  # type: ignore[call-overload]
            before |= {f"{histogram.names[0]}_sum": 1.0, f"{histogram.names[0]}_count": 2.0}
            after |= {
                f"{histogram.names[0]}_sum": 1.0 + load.requests * ms / histogram.ms,
                f"{histogram.names[0]}_count": 2.0 + load.requests,
            }
    return before, after


@pytest.mark.parametrize("engine", ENGINES)
def test_recorded_books_are_those_of_the_requests(engine: str) -> None:
    server = ServerFigures(*(read_metrics(page(engine, when)) for when in ("before", "after")))
    profile = server.profile
    assert server.growth(profile.prompt_tokens) == REQUESTS * PROMPT_TOKENS[engine]
    assert server.growth(profile.completion_tokens) == REQUESTS * COMPLETION
    assert server.growth(profile.cached_tokens) == 0
    for figure in profile.histograms:
        mean = server.mean_ms(figure)
        assert mean is not None
        assert mean[1] == (REQUESTS * (COMPLETION - 1) if figure == "itl_ms" else REQUESTS)
    if profile.histograms:
        (ttft, _), (latency, _) = server.mean_ms("ttft_ms"), server.mean_ms("latency_ms")
        assert 0 < ttft < latency < 10_000


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_books_of_every_engine_agree_or_fail(profile: Profile) -> None:
    assert verdicts(table(CLEAN), *books(profile, CLEAN))["books_agree"].status == "pass"
    result = verdicts(table(CLEAN), *books(profile, CLEAN, offset=1))["books_agree"]
    assert (result.status, "counter grew by 641" in result.message) == ("fail", True)
    before, after = books(profile, CLEAN)
    after[profile.prompt_tokens[0]] += 1
    assert verdicts(table(CLEAN), before, after)["books_agree"].status == "fail"


def test_a_restarted_server_has_no_books() -> None:
    before, after = books(PROFILES[2], CLEAN)
    assert verdicts(table(CLEAN), after, before)["books_agree"].status == "unknown"


def silent(load: Load = CLEAN) -> object:
    """Records of a server whose replies tell neither cached tokens nor times."""
    none = dict.fromkeys(("cached_tokens", "server_prompt_ms", "server_predicted_ms"))
    return to_table([row | none for row in rows(load)])


def vllm(**counters: float) -> tuple[dict[str, float], dict[str, float]]:
    """vLLM's page around `CLEAN`; counters: their growth, by name after `vllm:`."""
    profile = next(one for one in PROFILES if one.name == "vLLM")
    before, after = books(profile, CLEAN)
    names = {f"vllm:{name}": value for name, value in counters.items()}
    return before | dict.fromkeys(names, 0.0), after | names


def test_a_counter_tells_of_the_cache_where_replies_do_not() -> None:
    check = verdicts(silent(), *vllm(prompt_tokens_cached_total=0))["cache_as_asked"]
    assert (check.status, check.message) == (
        "pass",
        "By its counter, no prompt came from the server's cache.",
    )
    check = verdicts(silent(), *vllm(prompt_tokens_cached_total=1200))["cache_as_asked"]
    assert (check.status, check.measured) == ("fail", 0.5)
    assert (
        "By its counter, 1200 of 2400 prompt tokens came from the server's cache" in check.message
    )
    assert verdicts(silent(), *vllm())["cache_as_asked"].status == "unknown"


def test_a_counter_that_others_share_tells_nothing_of_the_cache() -> None:
    before, after = vllm(prompt_tokens_cached_total=1200)
    after["vllm:prompt_tokens_total"] += 500
    assert verdicts(silent(), before, after)["cache_as_asked"].status == "unknown"


def hung_up_on(tokens: int | None) -> object:
    """Silent records of which every fourth was hung up on; tokens: those asked for of each prompt."""
    lost = {"error": CANCELLED, "prompt_tokens": None, "completion_tokens": None}
    silence = {"cached_tokens": None, "prompt_tokens_asked": tokens}
    return to_table([row | silence | (lost if row["job"] % 4 == 0 else {}) for row in rows(CLEAN)])


@pytest.mark.parametrize("tokens", [None, CLEAN.prompt])
def test_no_growth_tells_of_the_cache_whoever_used_it(tokens: int | None) -> None:
    """It was unknown once where requests were cancelled, as the counter of prompts has theirs."""
    before, after = vllm(prompt_tokens_cached_total=0)
    check = verdicts(hung_up_on(tokens), before, after)["cache_as_asked"]
    assert (check.status, check.measured) == ("pass", 0)
    after["vllm:prompt_tokens_total"] += 500
    assert verdicts(hung_up_on(tokens), before, after)["cache_as_asked"].status == "pass"


def test_prompts_of_requests_that_were_hung_up_on_count_where_their_lengths_are_known() -> None:
    before, after = vllm(prompt_tokens_cached_total=600)
    check = verdicts(hung_up_on(CLEAN.prompt), before, after)["cache_as_asked"]
    assert (check.status, check.measured) == ("fail", 0.25)
    run = Run(inflight=4, iters=40, max_tokens=16, cache_prompt=True)
    check = verdicts(hung_up_on(CLEAN.prompt), before, after, run=run)["cache_as_asked"]
    assert check.status == "pass"
    assert verdicts(hung_up_on(None), before, after)["cache_as_asked"].status == "unknown"
    after["vllm:prompt_tokens_total"] += 1  # of somebody else
    check = verdicts(hung_up_on(CLEAN.prompt), before, after)["cache_as_asked"]
    assert check.status == "unknown"


def test_histograms_are_a_second_opinion() -> None:
    by_check = verdicts(silent(), *vllm())
    check = by_check["server_histograms_agree"]
    assert (check.status, check.measured) == ("pass", pytest.approx(1 / 50))
    assert "TTFT 49 ms (the client's 50)" in check.message
    assert "server_time_fits" not in by_check


def test_a_server_slower_than_the_client_saw_fails() -> None:
    before, after = vllm()
    after["vllm:time_to_first_token_seconds_sum"] += 0.1  # 2.5 ms of each of 40
    check = verdicts(silent(), before, after)["server_histograms_agree"]
    assert check.status == "fail"
    assert "one of the clocks is wrong" in check.message


def test_much_time_outside_the_server_is_warned_about() -> None:
    before, after = vllm()
    after["vllm:time_to_first_token_seconds_sum"] -= 40 * 0.02
    check = verdicts(silent(), before, after)["server_histograms_agree"]
    assert (check.status, check.measured) == ("warn", pytest.approx(21 / 50))


def test_histograms_of_other_requests_tell_nothing() -> None:
    before, after = vllm()
    after["vllm:time_to_first_token_seconds_count"] += 1
    check = verdicts(silent(), before, after)["server_histograms_agree"]
    assert (check.status, "41 by TTFT" in check.message) == ("unknown", True)
    failed = replace(CLEAN, failed={3: "timeout"})
    assert verdicts(silent(failed), *vllm())["server_histograms_agree"].status == "unknown"


def test_a_server_without_histograms_has_no_such_verdict() -> None:
    assert "server_histograms_agree" not in verdicts(table(CLEAN))
