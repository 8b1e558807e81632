"""Rows of a user's file, one dict a row: JSON Lines, JSON, CSV or Parquet."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from mls.core.errors import UserError

_SEPARATORS = ",;\t"
_WRAPPERS = ("data", "conversations")
_MOST_BLOCK_BYTES = 2**31 - 1  # of pyarrow's reader
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class RowFile:
    """A file of rows. key: the config key that names it, with which messages begin."""

    key: str
    path: Path

    def error(self, problem: str) -> UserError:
        return UserError(f"{self.key}: {self.path} {problem}")

    def row_error(self, number: int, problem: str) -> UserError:
        """number: of the row, from 1; the header and empty lines have none."""
        return UserError(f"{self.key}: row {number} of {self.path} {problem}")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row by column, in the file's order. A cell of a CSV file is text.

        Raises `UserError` for a file or a row that can't be read.
        """
        readers = {
            ".jsonl": self._json_lines,
            ".ndjson": self._json_lines,
            ".json": self._json,
            ".csv": self._csv,
            ".tsv": self._csv,
            ".parquet": self._parquet,
        }
        reader = readers.get(self.path.suffix.lower())
        if reader is None:
            raise self.error("must end in .jsonl, .json, .csv, .tsv or .parquet.")
        try:
            self._refuse_utf16()
            yield from reader()
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0]
            raise self.error(f"can't be read ({reason}).") from None
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise self.error(f"is not what its name says ({reason}).") from None

    def _refuse_utf16(self) -> None:
        with self.path.open("rb") as stream:
            if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise self.error("is UTF-16 text; save it as UTF-8.")

    def _parquet(self) -> Iterator[dict[str, Any]]:
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                yield from batch.to_pylist()

    def _json_lines(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as stream:
            lines = (line for line in stream if line.strip())
            for number, line in enumerate(lines, 1):
                try:
                    row = _parse(line)
                except ValueError as error:
                    raise self.row_error(number, f"is not JSON in UTF-8 ({error}).") from None
                yield self._object(number, row)

    def _json(self) -> Iterator[dict[str, Any]]:
        text = self.path.read_bytes()
        if not text.strip():
            return
        try:
            document = _parse(text)
        except ValueError as error:
            raise self.error(f"is not JSON in UTF-8 ({error}).") from None
        if isinstance(document, dict):
            document = _unwrap(document)
        if not isinstance(document, list):
            raise self.error('is not a list of rows; expected […] or {"data": […]}.')
        for number, row in enumerate(document, 1):
            yield self._object(number, row)

    def _object(self, number: int, row: Any) -> dict[str, Any]:
        if not isinstance(row, dict):
            raise self.row_error(number, "is not a JSON object.")
        return row

    def _csv(self) -> Iterator[dict[str, Any]]:
        text = self.path.read_bytes().removeprefix(codecs.BOM_UTF8).strip(b"\r\n") + b"\n"
        if not text.strip():
            return
        separator, names = self._header(text.split(b"\n", 1)[0] + b"\n")
        ragged: list[pc.InvalidRow] = []

        def refuse(row: pc.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        try:
            table = pc.read_csv(
                pa.BufferReader(text),
                # a cell of any length has to lie within a block; threads don't count rows
                pc.ReadOptions(use_threads=False, block_size=min(len(text) + 1, _MOST_BLOCK_BYTES)),
                pc.ParseOptions(
                    delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
                ),
                pc.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
            )
        except pa.ArrowInvalid:
            if not ragged:
                raise
            row = ragged[0]
            raise self.row_error(
                row.number - 1,  # pyarrow counts the header
                f"has {row.actual_columns} cells, and the header {row.expected_columns}; "
                "put a text that holds separators or quotes between quotes.",
            ) from None
        titles = [name.strip() for name in names]
        columns = [
            self._text(name, column) for name, column in zip(titles, table.columns, strict=True)
        ]
        for batch in pa.table(columns, names=titles).to_batches(_BATCH_ROWS):
            yield from batch.to_pylist()

    def _header(self, line: bytes) -> tuple[str, list[str]]:
        """(separator, names) of a CSV's first line: the separator that makes most names of it."""
        try:
            names = {
                separator: pc.read_csv(
                    pa.BufferReader(line), parse_options=pc.ParseOptions(delimiter=separator)
                ).column_names
                for separator in _SEPARATORS
            }
        except UnicodeDecodeError:
            raise self.error("has a header that is not UTF-8; save it as UTF-8.") from None
        separator = max(_SEPARATORS, key=lambda each: len(names[each]))
        return separator, names[separator]

    def _text(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            for number, cell in enumerate(column, 1):
                try:
                    cell.as_py().decode()
                except UnicodeDecodeError:
                    raise self.row_error(
                        number, f"has a {name} that is not UTF-8; save the file as UTF-8."
                    ) from None
            raise


def whole_number(cell: Any) -> int | None:
    """The whole number that a cell holds as a number or as text, also as `8.0`; else None."""
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else None


def _parse(text: bytes) -> Any:
    """JSON as Python and JavaScript write it: NaN, byte-order marks and lone surrogates are valid.

    Raises `ValueError`.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unwrap(document: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a document that is not itself a list. A bare list of turns becomes a row.

    A document of one session (`requests`) is a row, too.
    """
    if isinstance(document.get("requests"), list):
        return [document]
    for key in _WRAPPERS:
        rows = document.get(key)
        if isinstance(rows, list):
            return [{key: row} if isinstance(row, list) else row for row in rows]
    return None
