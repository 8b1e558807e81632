"""Spans in which a conversation has a request in flight, however many branches of it have one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mls.analysis.repeat.columns import Ints, ints


def spans(group: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """(rows by group and start, those of them that begin a span, by their places in the first).

    A row that starts after the latest end before it in its group begins a span.
    """
    rows = np.lexsort((start, group))
    count, until = len(rows), end[rows]
    is_first = np.ones(count, np.bool_)
    is_first[1:] = np.diff(group[rows]) != 0
    # the running maximum within each group, of ranks, as times would overflow
    rank = np.empty(count, np.int64)
    rank[np.argsort(until, kind="stable")] = np.arange(count)
    base = (np.cumsum(is_first) - 1) * count
    latest = np.sort(until)[np.maximum.accumulate(base + rank) - base]
    is_first[1:] |= start[rows][1:] > latest[:-1]
    return rows, np.flatnonzero(is_first)


def at_places(table: pa.Table) -> pa.Table:
    """One row for each span in which a place has requests in flight.

    It has what the requests have that follow one another at a place: rank, slot, turn, the times of
    the first to start and of the last to end. The result is the table itself where no branches are.
    """
    if not ints(table, "branch").valid.any():
        return table
    place = ints(table, "rank").values << 32 | ints(table, "slot").values
    end = ints(table, "end_ns").values
    rows, firsts = spans(place, ints(table, "start_ns").values, end)
    free = (end + ints(table, "after_done_ns").values)[rows]
    until = np.maximum.reduceat(end[rows], firsts)
    columns = ("rank", "slot", "turn", "scheduled_ns", "start_ns")
    return (
        table.select(columns)
        .take(rows[firsts])
        .append_column("end_ns", pa.array(until))
        .append_column("after_done_ns", pa.array(np.maximum.reduceat(free, firsts) - until))
    )
