"""Several servers as one: their counters add up, and their differences are named."""

from mls.server.several import differing, pooled, summed

MEAN, STEPS = "llamacpp:n_busy_slots_per_decode", "llamacpp:n_decode_total"
TOKENS = "llamacpp:tokens_predicted_total"


def state(**values):
    metrics = {TOKENS: 10.0, MEAN: 2.0, STEPS: 5.0}
    return {
        "health": "ok",
        "build": "b1",
        "model_path": "/a/m.gguf",
        "slots": 4,
        "ctx_per_slot": 512,
        "busy_slots": 0,
        "metrics": metrics,
    } | values


def test_one_server_is_as_it_is():
    only = state(metrics={MEAN: 0.1, STEPS: 3.0})
    assert pooled([only]) is only


def test_counters_and_slots_are_added_up_and_means_weighted():
    pool = pooled([state(), state(metrics={TOKENS: 1.0, MEAN: 1.0, STEPS: 15.0}, slots=2)])
    assert pool["metrics"] == {TOKENS: 11.0, MEAN: 25.0 / 20.0, STEPS: 20.0}
    assert (pool["slots"], pool["ctx_per_slot"], pool["build"]) == (6, 512, "b1")


def test_what_one_does_not_tell_is_not_told():
    pool = pooled([state(), state(metrics=None, slots=None)])
    assert pool["metrics"] is None and pool["slots"] is None
    assert pooled([state(), {"error": "gone"}])["metrics"] is None
    assert summed([{TOKENS: 1.0, MEAN: 1.0}, {TOKENS: 2.0}]) == {TOKENS: 3.0}


def test_servers_differ_in_what_they_say_they_are():
    assert differing([state(), state(model_path="/b/m.gguf", busy_slots=3)]) == {}
    assert differing([state(), state(build="b2", slots=8), state()]) == {
        "build": ["b1", "b2"],
        "slots": ["4", "8"],
    }
