"""Servers that say under load what they don't say alone: what `replies_alike` says of each."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from tests.faults.driving import harvest, spec
from tests.servers.honest import Turns
from tests.servers.speaking import Asking, Said, Speaking, Speech, Uncached, sound

from mls.analysis.checks.replies_alike import replies_alike
from mls.analysis.repeat.evidence import Evidence
from mls.config.sections.checks import Checks
from mls.config.sections.run import Run
from mls.core.run_result import Verdict
from mls.load.canaries.known import Canaries
from mls.load.canaries.plan import plan
from mls.load.canaries.reference import NoReferenceError, ask
from mls.protocol.request import Target
from mls.server.api import ServerApi

REQUESTS = 32


def verdict_on(speech: Speech, cached: int = 0, **run: Any) -> Verdict:
    options = {"inflight": 4, "ranks": 1, "iters": REQUESTS, "warmup": 0, "ignore_eos": False} | run
    settings = Run(**options)
    with Uncached(speech) as server:
        server.cached = cached
        one = spec([Target(server.url)], settings)
        mix = plan(one.settings, 99, one.seed, one.materials)
        known = ask(ServerApi(server.url, run=settings), mix, settings, "model", False)
        server.turns = Turns(settings.inflight, REQUESTS)
        canaries = Canaries(mix, known)
        table = harvest(replace(one, canaries=canaries)).table
    assert table["canary"].drop_null().length() == REQUESTS // mix.every
    evidence = Evidence(None, table, settings, Checks(), canaries=canaries.report(False))  # type: ignore[arg-type]
    verdict = replies_alike(evidence)
    assert verdict
    return verdict


def garbles_from_4_on(asking: Asking) -> Said:
    text = sound(asking).text
    return Said(text[::-1] if asking.outstanding >= 4 else text)


def loses_a_character(asking: Asking) -> Said:
    text = sound(asking).text
    return Said(text[:70] + text[71:] if asking.outstanding > 1 else text)


class Swap:
    """Under load each reply is that to the prompt before."""

    def __init__(self) -> None:
        self.last: Asking | None = None
        self.lock = threading.Lock()

    def __call__(self, asking: Asking) -> Said:
        if asking.outstanding == 1:
            return sound(asking)
        with self.lock:
            other, self.last = self.last or asking._replace(prompt="none"), asking
        return sound(other)


@pytest.mark.parametrize("run", [{}, {"ignore_eos": True}, {"inflight": 1}])
def test_a_server_that_says_the_same_passes(run):
    verdict = verdict_on(sound, **run)
    assert verdict.status == "pass", verdict
    assert "Of 8 replies to canaries 0 differ under load from the reply alone" in verdict.message


@pytest.mark.parametrize("inflight", [2, 4])
def test_garble_of_valid_characters_from_4_in_flight_on(inflight):
    verdict = verdict_on(garbles_from_4_on, inflight=inflight)
    assert verdict.status == ("fail" if inflight == 4 else "pass"), verdict


def test_replies_of_two_clients_that_were_swapped():
    verdict = verdict_on(Swap())
    assert verdict.status == "fail" and "differ within 4 tokens" in verdict.message, verdict


def test_a_character_that_is_lost():
    verdict = verdict_on(loses_a_character)
    assert verdict.status == "fail", verdict
    assert "lack some characters and go on as the reply alone does" in verdict.message


def test_a_server_that_answers_from_its_cache_gets_no_canaries():
    with pytest.raises(NoReferenceError, match="from its cache"):
        verdict_on(sound, cached=6)


def test_a_server_that_does_not_say_what_it_takes_from_a_cache_is_asked_once():
    settings = Run(inflight=4, ranks=1, iters=REQUESTS, warmup=0)
    askings: list[Asking] = []

    def speech(asking: Asking) -> Said:
        askings.append(asking)
        return sound(asking)

    with Speaking(speech) as server:
        one = spec([Target(server.url)], settings)
        mix = plan(one.settings, 99, one.seed, one.materials)
        with pytest.raises(NoReferenceError, match="doesn't say"):
            ask(ServerApi(server.url, run=settings), mix, settings, "model", False)
    assert len(askings) == 1
