"""A second opinion: the means of the server's histograms against those of the client's records."""

from __future__ import annotations

from mls.analysis.repeat.evidence import Evidence, verdict
from mls.core.run_result import Verdict
from mls.core.summary import Distribution
from mls.protocol.engines.profile import Figure

_PARTS: tuple[tuple[Figure, str], ...] = (
    ("queue_ms", "queue"),
    ("prefill_ms", "prefill"),
    ("decode_ms", "decode"),
)


def server_histograms_agree(evidence: Evidence) -> Verdict | None:
    """The server can't have been slower by its own clock than the client saw; None without any.

    What the client's TTFT has beyond the server's passes before the server's clock starts and
    after it stops: in the queue of its socket and front end, on the network, in the client.
    """
    server, threshold = evidence.server_figures, evidence.checks.outside_server
    ours: dict[Figure, Distribution] = {
        "ttft_ms": evidence.summary.ttft_ms,
        "tpot_ms": evidence.summary.tpot_ms,
        "latency_ms": evidence.summary.latency_ms,
    }
    means = {figure: pair for figure in ours if (pair := server.mean_ms(figure))}
    if "ttft_ms" not in means and "latency_ms" not in means:
        return None
    n = evidence.summary.requests.ok
    others = [figure for figure, (_, count) in means.items() if count != n]
    requests = evidence.summary.requests
    if requests.error or requests.retries or requests.cancelled or others:
        counts = ", ".join(f"{count} by {_name(figure)}" for figure, (_, count) in means.items())
        message = (
            f"The server's histograms are of other requests than the client's {n} that succeeded "
            f"({counts}), so their means can't be compared."
        )
        return verdict("server_histograms_agree", "unknown", None, threshold, message)
    texts, impossible = [], []
    for figure, (theirs, _) in means.items():
        client_ms = ours[figure].mean
        if client_ms is None:
            continue
        texts.append(f"{_name(figure)} {theirs:.4g} ms (the client's {client_ms:.4g})")
        # A first chunk that is held back makes the client's TPOT the smaller one
        if figure != "tpot_ms" and theirs > client_ms * (1 + evidence.checks.server_time_excess):
            impossible.append(_name(figure))
    text = f"By the server's histograms its means were {_join(texts)}"
    first: Figure = "ttft_ms" if "ttft_ms" in means and ours["ttft_ms"].mean else "latency_ms"
    client_ms = ours[first].mean
    if client_ms is None or first not in means:
        message = f"{text}; the client has no {_name(first)} to compare."
        return verdict("server_histograms_agree", "unknown", None, threshold, message)
    outside_ms = client_ms - means[first][0]
    share = outside_ms / client_ms
    if impossible:
        message = f"{text}: the server can't have taken longer than the client saw, so one of the clocks is wrong."
        return verdict("server_histograms_agree", "fail", share, threshold, message)
    parts = [f"{name} {pair[0]:.3g}" for figure, name in _PARTS if (pair := server.mean_ms(figure))]
    within = f"; within: {', '.join(parts)} ms" if parts else ""
    where = (
        f"{outside_ms:.3g} ms ({share:.1%}) of {_name(first)} passed outside its clock: before its queue, on the "
        f"network, in the client{within}"
    )
    if share > threshold:
        message = f"{text}. {where}. That part is not the engine's: look at its front end and the way there."
        return verdict("server_histograms_agree", "warn", share, threshold, message)
    return verdict("server_histograms_agree", "pass", share, threshold, f"{text}. {where}.")


def _name(figure: Figure) -> str:
    return {"ttft_ms": "TTFT", "tpot_ms": "TPOT"}.get(figure, "latency")


def _join(texts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]])) if texts else "none"
