"""The highest rate of one process on one core: unpaced replies, 32 requests in flight.

`python -m benchmarks.rate`: requests/s without streaming, beside `wrk` and the C++ reference;
streamed tokens/s, beside the C++ reference. Nothing is paired here: the server answers at once,
and figures are each client's own count of replies and tokens over its own time.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Callable

import pandas as pd

from benchmarks import tables
from benchmarks.rig import (
    RESULTS,
    Answer,
    ClientRun,
    RigError,
    check_machine,
    generator_command,
    ground_truth,
    python_env,
    reference_command,
    reference_figures,
    run_client,
)
from benchmarks.runs import WORK

INFLIGHT = 32
PLAIN = Answer(ttft_ms=0, itl_ms=0, tokens=1)
STREAMED = Answer(ttft_ms=0, itl_ms=0, tokens=256)
_BODY = {
    "model": "truth",
    "max_tokens": 1,
    "messages": [{"role": "user", "content": " ".join(["harbour"] * 48)}],
}


def _generator(transport: str) -> Callable[[int, Answer, float], dict[str, float]]:
    def run(port: int, answer: Answer, seconds: float) -> dict[str, float]:
        folder = WORK / "rate"
        shutil.rmtree(folder, ignore_errors=True)
        command = generator_command(
            f"http://127.0.0.1:{port}",
            folder,
            inflight=INFLIGHT,
            duration=seconds,
            max_tokens=answer.tokens,
            warmup=INFLIGHT,
            transport=transport,
            stream=answer is STREAMED,
        )
        run_client(command, env=python_env(), limit_s=seconds + 200)
        summary = json.loads((folder / "run.json").read_text())["summary"]
        # over the whole run, from first start to last end, as the other clients count
        requests, wall_s = summary["requests"]["ok"], summary["wall_s"]
        return {
            "requests_per_s": requests / wall_s,
            "tokens_per_s": requests * answer.tokens / wall_s,
            "errors": summary["requests"]["error"],
            "cpu_s": summary["client"]["cpu_s"],
        }

    return run


def _reference(port: int, answer: Answer, seconds: float) -> dict[str, float]:
    command = reference_command(
        port,
        None,
        inflight=INFLIGHT,
        duration_s=seconds,
        max_tokens=answer.tokens,
        stream="yes" if answer is STREAMED else "no",
    )
    figures = reference_figures(run_client(command))
    return {
        "requests_per_s": figures["requests"] / figures["wall_s"],
        "tokens_per_s": figures["requests"] * answer.tokens / figures["wall_s"],
        "errors": 0,
        "cpu_s": figures["cpu_s"],
    }


def _wrk(port: int, answer: Answer, seconds: float) -> dict[str, float]:
    wrk = shutil.which("wrk")
    if not wrk:
        raise RigError("wrk is missing: sudo apt-get install wrk.")
    script = WORK / "post.lua"
    script.parent.mkdir(parents=True, exist_ok=True)
    body = json.dumps({**_BODY, "stream": answer is STREAMED})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
    )
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    client_run = run_client(
        [wrk, "-t1", f"-c{INFLIGHT}", f"-d{seconds:.0f}s", "-s", str(script), url]
    )
    return {**_wrk_figures(client_run, answer), "cpu_s": client_run.whole_cpu_s}


def _wrk_figures(client_run: ClientRun, answer: Answer) -> dict[str, float]:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", client_run.output)
    if not rate:
        raise RigError(f"wrk said something unexpected: {client_run.output[-300:]}")
    errors = re.search(r"Non-2xx.*:\s+(\d+)", client_run.output)
    requests_per_s = float(rate[1])
    return {
        "requests_per_s": requests_per_s,
        "tokens_per_s": requests_per_s * answer.tokens,
        "errors": float(errors[1]) if errors else 0.0,
    }


CLIENTS: dict[str, Callable[[int, Answer, float], dict[str, float]]] = {
    "mls epoll": _generator("epoll"),
    "mls requests": _generator("requests"),
    "C++ reference": _reference,
    "wrk": _wrk,
}


def main(repeats: int, seconds: float) -> None:
    """Print the table; write `rate.csv` and a plot for each kind of reply."""
    check_machine()
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        for kind, answer in (("not streamed", PLAIN), ("streamed, 256 tokens", STREAMED)):
            for name, client in CLIENTS.items():
                # the server keeps no records: at these rates they would not fit, nor are they used
                with ground_truth(answer, WORK / "rate-server", capacity=1) as server:
                    figures = client(server.port, answer, seconds)
                rows.append({"repeat": repeat, "replies": kind, "client": name, **figures})
    frame = tables.save(rows, "rate")
    _add_ratios(frame, "not streamed", "requests_per_s", "wrk")
    _add_ratios(frame, "streamed, 256 tokens", "tokens_per_s", "C++ reference")
    frame.to_csv(RESULTS / "rate.csv", index=False)
    values = {
        "requests_per_s": "requests/s",
        "tokens_per_s": "tokens/s",
        "of_best": "share of wrk (not streamed) or of C++ (streamed)",
        "cpu_s": "CPU s",
        "errors": "errors",
    }
    summary = tables.summarise(frame, ["replies", "client"], list(values))
    tables.show(
        f"Unpaced, {INFLIGHT} in flight, one process on one core",
        summary,
        ["replies", "client"],
        values,
    )
    for kind, value, name in (
        ("not streamed", "requests_per_s", "requests"),
        ("streamed, 256 tokens", "tokens_per_s", "tokens"),
    ):
        drawing = tables.plot_bars(
            summary[summary["replies"] == kind],
            "client",
            value,
            f"Unpaced replies, {kind}",
            f"{name}/s",
            log=True,
        )
        tables.save_plot(drawing, f"rate-{name}")


def _add_ratios(frame: pd.DataFrame, kind: str, value: str, base: str) -> None:
    """Column `of_best`: the ratio to the base client of the same repeat."""
    part = frame[frame["replies"] == kind]
    bases = part[part["client"] == base].set_index("repeat")[value]
    frame.loc[part.index, "of_best"] = part[value] / part["repeat"].map(bases)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    main(options.repeats, options.seconds)
