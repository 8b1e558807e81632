"""One figure of the telemetry over time."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mls.analysis.repeat.columns import Floats, Ints


@dataclass(frozen=True)
class Series:
    """One figure of the telemetry over time. Both arrays have one entry a sample."""

    at_ns: Ints
    value: Floats

    def between(self, begin_ns: int, end_ns: int) -> Series:
        """The samples from begin to end, both included."""
        inside = (self.at_ns >= begin_ns) & (self.at_ns <= end_ns)
        return Series(self.at_ns[inside], self.value[inside])


def series(telemetry: pa.Table) -> dict[tuple[str, str], Series]:
    """(source, name) → its series. telemetry: schema `mls.core.record.TELEMETRY`."""
    by_name = {}
    keys = telemetry.select(["source", "name"]).group_by(["source", "name"]).aggregate([])
    for key in keys.to_pylist():
        rows = telemetry.filter(
            pc.and_(
                pc.equal(telemetry["source"], key["source"]),
                pc.equal(telemetry["name"], key["name"]),
            )
        )
        by_name[key["source"], key["name"]] = Series(
            rows["at_ns"].to_numpy(), rows["value"].to_numpy()
        )
    return dict(sorted(by_name.items()))
