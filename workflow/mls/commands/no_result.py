"""Why a repeat has no result, in one sentence for people."""

from __future__ import annotations

from mls.core.record import CANCELLED
from mls.core.summary import Summary
from mls.load.rank import Harvest


def no_result(harvest: Harvest, summary: Summary) -> str | None:
    """Why the repeat has no result; None when it has one."""
    message = next((rank["gone"] for rank in harvest.ranks if rank["gone"]), None)
    if message:
        return f"{message} {summary.requests.ok} requests had been answered."
    posts = [(rank["rank"], rank["post"]["failed"]) for rank in harvest.ranks if rank["post"]]
    failure = next(((rank, why) for rank, why in posts if why), None)
    if failure:
        return f"Rank {failure[0]}'s card was lost in mid-run: {failure[1]}."
    requests = summary.requests
    if requests.total and requests.cancelled == requests.total:
        return (
            f"All {requests.total} requests were cancelled before their replies were complete, so nothing was "
            "measured: lower run.cancel.share, or raise run.cancel.after_s."
        )
    if requests.ok == 0:
        errors, texts = (harvest.table[name].to_pylist() for name in ("error", "error_text"))
        texts = [t for error, t in zip(errors, texts, strict=True) if t and error != CANCELLED]
        kinds = ", ".join(f"{n} × {kind}" for kind, n in requests.errors.items())
        if requests.cancelled:
            kinds += f", and {requests.cancelled} were cancelled"
        quotation = f" The first error said: {texts[0]}" if texts else ""
        return f"None of {requests.total} requests succeeded ({kinds}).{quotation}"
    return None
