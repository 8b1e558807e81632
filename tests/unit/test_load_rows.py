"""Files of rows in the forms that other programs write."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mls.core.errors import UserError
from mls.load.workload.rows import RowFile, whole_number

ROWS = [{"prompt": "é, 日", "n": "8"}, {"prompt": "", "n": "8.0"}]
CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def rows(path):
    return list(RowFile("workload.file", path).rows())


@pytest.mark.parametrize(
    "name, content",
    [
        ("d.csv", 'prompt,n\n"é, 日",8\n,8.0\n'),
        ("d.csv", 'prompt, n\r\n"é, 日",8\r\n\r\n"",8.0'),
        ("d.csv", "prompt;n\né, 日;8\n;8.0\n"),
        ("d.csv", "prompt\tn\né, 日\t8\n\t8.0\n"),
        ("d.tsv", "prompt\tn\né, 日\t8\n\t8.0\n"),
        ("d.CSV", 'prompt,n\r"é, 日",8\r,8.0\r'),
        ("d.json", json.dumps(ROWS)),
        ("d.json", json.dumps({"version": 1, "data": ROWS}, ensure_ascii=False)),
        ("d.json", json.dumps({"conversations": ROWS})),
        ("d.jsonl", "\r\n".join(map(json.dumps, ROWS)) + "\r\n\r\n"),
        ("d.ndjson", "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "marked"])
def test_the_same_rows_in_any_form(tmp_path, name, content, mark):
    path = tmp_path / name
    path.write_bytes((mark + content).encode())
    assert rows(path) == ROWS


def test_parquet_has_types(tmp_path):
    table = {"prompt": ["x", None], "at": [datetime.datetime(2024, 5, 10)] * 2}
    pq.write_table(pa.table(table), tmp_path / "d.parquet")
    assert [row["prompt"] for row in rows(tmp_path / "d.parquet")] == ["x", None]


def test_a_wrapped_list_of_turns_is_a_row(tmp_path):
    turns = [{"from": "human", "value": "Q"}]
    (tmp_path / "d.json").write_text(json.dumps({"conversations": [turns, turns]}))
    assert rows(tmp_path / "d.json") == [{"conversations": turns}] * 2


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_any_quoted_text_is_read_as_it_is(tmp_path_factory, cells, separator):
    path = tmp_path_factory.getbasetemp() / "quoted.csv"
    text = [separator.join('"' + c.replace('"', '""') + '"' for c in row) for row in cells]
    path.write_bytes("\n".join([f"a{separator}b", *text]).encode())
    assert [(row["a"], row["b"]) for row in rows(path)] == cells


@pytest.mark.parametrize("characters", [130_000, 3_000_000])
def test_a_cell_may_be_long(tmp_path, characters):
    """The csv module's limit is 128 KiB, a block of pyarrow's is 1 MiB."""
    (tmp_path / "d.csv").write_text(f"prompt,n\n{'x' * characters},1\ny,2\n")
    assert [len(row["prompt"]) for row in rows(tmp_path / "d.csv")] == [characters, 1]


def test_nan_is_not_the_end_of_a_row(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"prompt": "x", "score": NaN}\n')
    assert rows(tmp_path / "d.jsonl")[0]["prompt"] == "x"


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl", "d.json", "d.parquet"])
def test_an_empty_file_has_no_rows(tmp_path, name):
    path = tmp_path / name
    if name == "d.parquet":
        pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), path)
    else:
        path.write_text("\n")
    assert rows(path) == []


def test_a_header_alone_has_no_rows(tmp_path):
    for text in ("prompt,n", "prompt,n\n"):
        (tmp_path / "d.csv").write_text(text)
        assert rows(tmp_path / "d.csv") == []


LATIN = "prompt,n\nx,1\né,2\n".encode("latin-1")


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("d.csv", LATIN, "row 2 of {path} has a prompt that is not UTF-8; save the file as UTF-8."),
        ("d.csv", "é\nx\n".encode("latin-1"), "{path} has a header that is not UTF-8"),
        ("d.csv", b"a,b\n1,2\n\n3\n", "row 2 of {path} has 1 cells, and the header 2; put"),
        ("d.csv", b"a\n1, 2\n", "row 1 of {path} has 2 cells, and the header 1; put"),
        ("d.csv", "a,b\n1,2".encode("utf-16"), "{path} is UTF-16 text; save it as UTF-8."),
        ("d.jsonl", "{}".encode("utf-16"), "{path} is UTF-16 text; save it as UTF-8."),
        ("d.jsonl", b'{}\n{"a"', "row 2 of {path} is not JSON in UTF-8 (Expecting"),
        ("d.jsonl", b'{"a": "\xe9"}', "row 1 of {path} is not JSON in UTF-8 ("),
        ("d.jsonl", b"{}\n[1]\n", "row 2 of {path} is not a JSON object."),
        ("d.jsonl", b"[" * 200_000, "row 1 of {path} is not JSON in UTF-8 (nested too deeply)."),
        ("d.json", b"{}\n{}", "{path} is not JSON in UTF-8 (Extra data"),
        ("d.json", b'{"rows": []}', "{path} is not a list of rows; expected […] or"),
        ("d.json", b"[[1]]", "row 1 of {path} is not a JSON object."),
        ("d.parquet", b"x", "{path} is not what its name says ("),
        ("d.txt", b"x", "{path} must end in .jsonl, .json, .csv, .tsv or .parquet."),
    ],
)
def test_a_file_that_cant_be_read_is_one_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        rows(path)
    assert str(error.value).startswith("workload.file: " + sentence.format(path=path))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    for name in ("none.csv", "none.jsonl", "none.parquet"):
        with pytest.raises(UserError, match=r"can't be read \(No such file or directory\)"):
            rows(tmp_path / name)


@given(st.integers(0, 2**53))
def test_a_whole_number_may_be_written_as_a_float(number):
    for cell in (number, float(number), str(number), f" {number}.0 "):
        assert whole_number(cell) == number


@pytest.mark.parametrize("cell", [None, "", "x", 1.5, "nan", "inf", [1], 10**400])
def test_anything_else_is_no_whole_number(cell):
    assert whole_number(cell) is None
