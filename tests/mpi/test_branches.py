"""Agents that start sub-agents, under real mpirun, against a server that says what it was asked."""

import json
import threading
import time
from collections import defaultdict

import pyarrow.parquet as pq
import pytest
import yaml
from tests.servers.misbehaving import job_of
from tests.servers.speaking import Said, Speaking

INFLIGHT, SESSIONS, TURNS = 4, 8, 6
FORK, LEFT, LEFT_ON, RIGHT, JOIN, LAST = range(TURNS)
"""Jobs of a session, by the file's order: the left branch has two turns, the right one has one."""


def user(text, **keys):
    return {"role": "user", "content": text} | keys


def says(text):
    return {"role": "assistant", "content": text}


def agent(number):
    left = [user(f"{number} left"), says("-"), user(f"{number} left on", delay_s=0.05), says("-")]
    branches = [left, [user(f"{number} right"), says("-")]]
    return [
        *(user(f"{number} fork"), says("-"), {"branches": branches}),
        *(user(f"{number} join"), says("-"), user(f"{number} last")),
    ]


class Witness(Speaking):
    """It answers each request with the last line of what it was asked, and keeps times by job."""

    def __init__(self):
        super().__init__(lambda asking: Said(f"said {asking.prompt.splitlines()[-1]}", "stop"))
        self.seen, self.asked = {}, {}
        guard, witness, answer = threading.Lock(), self, self.RequestHandlerClass.says

        class Handler(self.RequestHandlerClass):
            token_s = 0.03

            def says(self, body):
                job = job_of(self.headers["X-Request-Id"])
                with guard:
                    witness.seen[job] = time.monotonic_ns()
                    witness.asked[job] = [each["content"] for each in body["messages"]]
                return answer(self, body)

        self.RequestHandlerClass = Handler


@pytest.fixture(scope="module")
def run(any_mpirun, tmp_path_factory):
    """(records by job, what the server saw of each job and when, run.json) of agents on three ranks."""
    folder = tmp_path_factory.mktemp("branches")
    talks, path = folder / "agents.jsonl", folder / "config.yaml"
    talks.write_text("\n".join(json.dumps({"messages": agent(n)}) for n in range(SESSIONS)))
    with Witness() as server:
        config = {
            "models": {"m": {"served_as": "honest"}},
            "server": {"url": server.url},
            "run": {"ranks": 3, "inflight": INFLIGHT, "iters": SESSIONS, "warmup": 4},
            "workload": {"kind": "conversation", "file": str(talks)},
        }
        path.write_text(yaml.safe_dump(config))
        process = any_mpirun.run(3, "--config", path, "--output", folder)
        assert process.returncode == 0, process.stdout + process.stderr
        peak = server.peak
    rows = pq.read_table(folder / "requests.parquet").to_pylist()
    result = json.loads((folder / "run.json").read_text())
    return {row["job"]: row for row in rows}, server, peak, result


def sessions(records):
    by_session = defaultdict(dict)
    for job, row in records.items():
        assert row["error"] is None
        by_session[row["session"]][job % TURNS] = row
    assert len(by_session) == SESSIONS and len(records) == SESSIONS * TURNS
    return by_session


def test_branches_are_in_the_server_at_once_after_the_forks_reply_and_before_the_join(run):
    records, server, peak, _ = run
    for session, rows in sessions(records).items():
        seen = {number: server.seen[session * TURNS + number] for number in range(TURNS)}
        assert min(seen[LEFT], seen[RIGHT]) > rows[FORK]["end_ns"]
        assert max(seen[LEFT], seen[RIGHT]) < min(rows[LEFT]["end_ns"], rows[RIGHT]["end_ns"])
        assert seen[LEFT_ON] >= rows[LEFT]["end_ns"] + 50_000_000
        assert seen[JOIN] > max(rows[LEFT_ON]["end_ns"], rows[RIGHT]["end_ns"])
        assert len({(row["rank"], row["slot"]) for row in rows.values()}) == 1
    assert INFLIGHT < peak <= 2 * INFLIGHT


def test_the_join_holds_what_the_branches_said_last(run):
    records, server, _, _ = run
    for session, rows in sessions(records).items():
        asked = {number: server.asked[session * TURNS + number] for number in rows}
        (number,) = {texts[0].split()[0] for texts in asked.values()}
        fork = [f"{number} fork", f"said {number} fork"]
        left = [*fork, f"{number} left", f"said {number} left", f"{number} left on"]
        join = f"said {number} left on\n\nsaid {number} right\n\n{number} join"
        assert asked[LEFT_ON] == left and asked[RIGHT] == [*fork, f"{number} right"]
        assert asked[LAST] == [*fork, join, f"said {number} join", f"{number} last"]


def test_figures_and_checks_know_of_branches(run):
    records, _, _, result = run
    summary = result["summary"]
    assert summary["inflight"]["max"] > INFLIGHT
    figures = summary["sessions"]
    assert (figures["total"], figures["failed"], figures["branches"]) == (
        SESSIONS,
        0,
        2 * SESSIONS,
    )
    assert figures["waiting_ms"]["mean"] < figures["duration_ms"]["mean"]
    spent_ms = sum(row["end_ns"] - row["start_ns"] for row in records.values()) / 1e6 / SESSIONS
    assert figures["waiting_ms"]["mean"] < 0.95 * spent_ms
    checks = {verdict["check"]: verdict for verdict in result["verdicts"]}
    assert checks["concurrency_held"]["status"] in ("pass", "unknown")
    assert "conversations with requests in flight" in checks["concurrency_held"]["message"]
