"""The check of canaries by the columns of the records, and the bounds that it goes by."""

import pytest
from scipy import stats
from tests.unit.synthetic import ALIKE, EVERY, rows, to_table
from tests.unit.verdicts import CLEAN, verdicts

from mls.analysis.checks.divergence import Count, trials_for
from mls.config.sections.run import Run
from mls.core.run_result import CanaryReport
from mls.protocol.token_ids import tokens_of


def judged(count, report=ALIKE, **values):
    """The verdict where the first canaries have these values."""
    records = [
        row | (values if job % EVERY == 0 and job < EVERY * count else {})
        for job, row in enumerate(rows(CLEAN))
    ]
    return verdicts(to_table(records), canaries=report)["replies_alike"]


def test_rare_late_differences_pass_and_early_ones_fail():
    late = {"canary_difference": "other", "canary_tokens": 12.0, "canary_character": 60}
    assert judged(1, **late).status == "pass"
    at_once = late | {"canary_tokens": 0.0}
    assert judged(8, **at_once).status == "fail"
    few = judged(2, **at_once)
    assert (
        few.status == "unknown" and "of which 2 differ so: more of them would tell" in few.message
    )
    assert "after 0 tokens in the median" in few.message
    assert "1 differ under load from the reply alone, after 12 tokens;" in judged(1, **late).message


def test_a_server_that_differs_from_itself_alone_is_not_blamed_on_load():
    alone = ALIKE.references[0].model_copy(update={"again": "other", "again_tokens": 0.0})
    report = ALIKE.model_copy(update={"references": [alone] * 8})
    at_once = {"canary_difference": "other", "canary_tokens": 0.0}
    verdict = judged(8, report, **at_once)
    assert verdict.status == "unknown" and "itself alone" in verdict.message


def test_lost_characters():
    lost = {"canary_difference": "lost", "canary_tokens": 12.0}
    assert judged(1, **lost).status == "warn"
    assert judged(3, **lost).status == "fail"


def test_without_canaries_it_is_unknown_unless_the_config_rules_them_out():
    verdict = judged(0, CanaryReport(why_none="the server takes no temperature."))
    assert verdict.status == "unknown" and verdict.message.endswith("takes no temperature.")
    rule = CanaryReport(why_none="replies.canaries is 0.", ruled_out=True)
    assert "replies_alike" not in verdicts(to_table(rows(CLEAN)), canaries=rule)
    embeds = Run(inflight=4, iters=40, endpoint="/v1/embeddings")
    assert "replies_alike" not in verdicts(to_table(rows(CLEAN)), run=embeds)


@pytest.mark.parametrize(("events", "trials"), [(0, 8), (1, 8), (3, 400), (8, 9), (8, 8)])
def test_bounds_are_those_of_scipy(events, trials):
    count = Count(events, trials)
    least = stats.beta.ppf(0.05, events, trials - events + 1) if events else 0.0
    most = stats.beta.ppf(0.95, events + 1, trials - events) if events < trials else 1.0
    assert (count.least, count.most) == pytest.approx((least, most), abs=1e-6)
    assert Count(0, trials_for(0.1)).most < 0.1 <= Count(0, trials_for(0.1) - 1).most


@pytest.mark.parametrize(
    ("holder", "tokens"),
    [
        ({"token_ids": [5, 6]}, [5, 6]),
        ({"tokens": [7]}, [7]),
        ({"logprobs": {"content": [{"id": 3, "token": "a"}]}}, [3]),
        ({"logprobs": {"content": [{"token": "a"}, {"token": "b"}]}}, ["a", "b"]),
        ({"logprobs": {"tokens": ["a"]}}, ["a"]),
        ({"logprobs": None, "token_ids": None}, []),
    ],
)
def test_tokens_where_the_server_names_them(holder, tokens):
    assert tokens_of(holder) == tokens
