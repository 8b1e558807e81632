"""What `mls verify` checks: it reports every change, and every part of another sweep."""

import csv
import hashlib
import io
import itertools
import json
import re
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from tests.unit.synthetic import config, load_of, table, write_repeat, write_results
from tests.unit.telemetry import telemetry

from mls.config.cells import cells
from mls.core.errors import UserError
from mls.report.archive.archive import archive
from mls.report.archive.verification import verify

pytestmark = pytest.mark.slow

SWEEP = {"inflight": [1, 2]}
REPEAT = "runs/name~synthetic/model~smollm2/inflight~2/ranks~2/repeat~1"
RUN, REQUESTS = f"{REPEAT}/run.json", f"{REPEAT}/requests.parquet"
TELEMETRY = f"{REPEAT}/telemetry.parquet"
ENVIRONMENT = "environment/environment.json"
RESULTS = (
    "report.html",
    "cells.csv",
    "cells.parquet",
    "summary.csv",
    "summary.parquet",
    RUN,
    REQUESTS,
    TELEMETRY,
)
PARTS = ("config.json", *RESULTS, ENVIRONMENT)


def measure(sweep, results, seeded):
    """Write all repeats, with telemetry. seeded: the config whose seed their records are of."""
    for cell, repeat in itertools.product(cells(sweep), (1, 2)):
        records = table(load_of(seeded, cell, repeat))
        samples = telemetry({"host": {"cpu": 0.1 * seeded.seed}}, records.to_pylist())
        write_repeat(sweep, results, cell, repeat, records, telemetry=samples)


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory):
    """The archive of a small sweep."""
    results = tmp_path_factory.mktemp("packed")
    sweep = config(sweep=SWEEP)
    write_results(sweep, results)
    measure(sweep, results, sweep)
    return archive(sweep, results, results)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Members of an archive with the same paths, but another config and another environment."""
    results = tmp_path_factory.mktemp("other")
    sweep = config(sweep=SWEEP, seed=2)
    write_results(sweep, results)
    measure(sweep, results, sweep)
    for path in (results / ENVIRONMENT, *results.rglob("run.json")):
        path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    return members(archive(sweep, results, results))


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """Members of an archive of the same config in the same environment, measured once more."""
    results = tmp_path_factory.mktemp("again")
    sweep, seeded = config(sweep=SWEEP), config(sweep=SWEEP, seed=3)
    write_results(sweep, results)
    measure(sweep, results, seeded)
    return members(archive(sweep, results, results))


def members(path):
    with zipfile.ZipFile(path) as zip_file:
        return {name: zip_file.read(name) for name in zip_file.namelist()}


def rewrite(source, target, edit):
    """A copy of an archive with `edit(files)` applied to its dict of name → bytes."""
    files = members(source)
    edit(files)
    with zipfile.ZipFile(target, "w") as zip_file:
        for name, data in files.items():
            zip_file.writestr(name, data)
    return target


def fit(files, **keys):
    """Make the manifest fit the files; `keys` replace keys of it."""
    manifest = json.loads(files["manifest.json"]) | keys
    manifest["files"] = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if name != "manifest.json"
    }
    files["manifest.json"] = json.dumps(manifest).encode()


def forge(files):
    """Change a file, and make the manifest fit it."""
    files["cells.csv"] = b"forged"
    fit(files)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda files: files.update({"cells.csv": b"other"}), r"cells\.csv is not as it was"),
        (lambda files: files.pop("report.html"), r"report\.html is in the manifest but missing"),
        (lambda files: files.update({"a-new.txt": b""}), r"a-new\.txt is in the archive but not"),
        (lambda files: files.pop("manifest.json"), r"has no manifest\.json"),
        (lambda files: files.update({"manifest.json": b"{"}), r"manifest\.json is damaged"),
        (lambda files: files.update({"manifest.json": b'{"files": 3}'}), "is damaged"),
        (forge, "digest in its name"),
    ],
    ids=["changed", "missing", "extra", "no manifest", "not JSON", "not a mapping", "forged"],
)
def test_any_change_is_named(small_archive, tmp_path, edit, message):
    path = rewrite(small_archive, tmp_path / small_archive.name, edit)
    with pytest.raises(UserError, match=message):
        verify(path)


def test_the_first_wrong_file_is_named(small_archive, tmp_path):
    def edit(files):
        files["summary.csv"] = files["cells.csv"] = b"other"

    with pytest.raises(UserError, match=r"cells\.csv"):
        verify(rewrite(small_archive, tmp_path / "x.zip", edit))


def test_a_flipped_bit_is_found(small_archive, tmp_path):
    data = bytearray(small_archive.read_bytes())
    data[data.index(b"smollm2.gguf")] ^= 1
    path = tmp_path / "flipped.zip"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is not as it was archived"):
        verify(path)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_no_archive_is_one_sentence(tmp_path, content):
    path = tmp_path / "some.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"some\.zip"):
        verify(path)


def subsets(parts):
    """Each of the parts, and each pair of them."""
    return [*itertools.combinations(parts, 1), *itertools.combinations(parts, 2)]


def with_parts_of(small_archive, target, source, parts):
    """A copy of the archive with these parts from another one, and a manifest that fits."""

    def edit(files):
        files |= {name: source[name] for name in parts}
        fit(files)

    return rewrite(small_archive, target, edit)


def names_of(parts):
    return " ".join(part.rpartition("/")[2] for part in parts)


def failure(path):
    with pytest.raises(UserError) as error:
        verify(path)
    return str(error.value)


@pytest.mark.parametrize("parts", subsets(PARTS), ids=names_of)
def test_parts_of_another_sweep_do_not_belong(small_archive, other, tmp_path, parts):
    message = failure(with_parts_of(small_archive, tmp_path / "x.zip", other, parts))
    assert re.search(r"\S+ and .+ don't belong together: .+\.$", message)
    if len(parts) == 1:
        assert parts[0] in message


@pytest.mark.parametrize("parts", subsets(RESULTS), ids=names_of)
def test_parts_of_another_time_do_not_belong(small_archive, again, tmp_path, parts):
    message = failure(with_parts_of(small_archive, tmp_path / "x.zip", again, parts))
    assert "don't belong together: " in message
    if len(parts) == 1:
        assert parts[0] in message


@given(parts=st.sets(st.sampled_from(PARTS), min_size=3))
@rules(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_mixture_of_two_sweeps_passes(small_archive, other, tmp_path, parts):
    assert "don't belong" in failure(with_parts_of(small_archive, tmp_path / "x.zip", other, parts))


def test_a_config_that_differs_in_its_title_alone_is_not_the_pages(small_archive, tmp_path):
    def edit(files):
        files["config.json"] = json.dumps(
            json.loads(files["config.json"]) | {"title": "x"}
        ).encode()
        fit(files)

    message = failure(rewrite(small_archive, tmp_path / "x.zip", edit))
    assert "report.html and config.json don't belong together" in message


def test_a_repeat_that_is_not_there_is_named_unless_it_says_partial(small_archive, tmp_path):
    def edit(files):
        for name in (RUN, REQUESTS, TELEMETRY):
            del files[name]
        fit(files)

    message = failure(rewrite(small_archive, tmp_path / "x.zip", edit))
    assert f"config.json and the packed records don't belong together: {RUN} is planned" in message


def test_it_says_partial_if_and_only_if_it_is(small_archive, tmp_path):
    def edit(files):
        fit(files, partial={"measured": 3, "planned": 4})

    assert "the one says partial, 3 of 4" in failure(
        rewrite(small_archive, tmp_path / "x.zip", edit)
    )


def test_a_repeat_that_is_not_planned_is_named(small_archive, tmp_path):
    more = RUN.replace("repeat~1", "repeat~3")

    def edit(files):
        files[more] = files[RUN]
        fit(files)

    message = failure(rewrite(small_archive, tmp_path / "x.zip", edit))
    assert f"{more} and config.json don't belong together" in message


def with_figure(data, change):
    """cells.csv and cells.parquet, by name, with `change` applied to the first throughput."""
    metric = "throughput.completion_tokens_per_s"
    rows = list(csv.DictReader(io.StringIO(data["cells.csv"].decode())))
    rows[0][metric] = str(change(float(rows[0][metric])))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table = pq.read_table(pa.BufferReader(data["cells.parquet"]))
    values = table[metric].to_pylist()
    column = pa.array([change(values[0]), *values[1:]])
    table = table.set_column(table.column_names.index(metric), metric, column)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return {"cells.csv": text.getvalue().encode(), "cells.parquet": sink.getvalue().to_pybytes()}


@pytest.mark.parametrize("table_name", ["cells.csv", "cells.parquet"])
def test_a_figure_may_differ_in_its_last_digits_only(small_archive, tmp_path, table_name):
    def edit(by):
        def change(files):
            files[table_name] = with_figure(files, lambda value: value * (1 + by))[table_name]
            fit(files)

        return change

    message = failure(rewrite(small_archive, tmp_path / "x.zip", edit(1e-8)))
    assert f"{table_name} and the packed records don't belong together" in message
    assert "throughput.completion_tokens_per_s of model smollm2, inflight 1" in message
    nearly = rewrite(small_archive, tmp_path / "x.zip", edit(1e-12))
    if table_name == "cells.csv":  # the page names its digest
        assert "report.html and cells.csv don't belong together" in failure(nearly)
    else:
        verify(nearly)


@pytest.mark.parametrize("data", [b"", b"inflight\n1,2\n", b"\xff", b"PAR1"])
@pytest.mark.parametrize("name", ["cells.csv", "summary.parquet"])
def test_what_is_no_table_is_named(small_archive, tmp_path, name, data):
    def edit(files):
        files[name] = data
        fit(files)

    assert f"{name} and the packed records" in failure(
        rewrite(small_archive, tmp_path / "x.zip", edit)
    )


def test_figures_of_other_definitions_are_said_to_be_unchecked(small_archive, tmp_path):
    def edit(files):
        files["cells.parquet"] = with_figure(files, lambda value: 2 * value)["cells.parquet"]
        fit(files, definitions="0" * 64)

    (sentence,) = verify(rewrite(small_archive, tmp_path / "x.zip", edit)).unchecked
    assert "whether cells.parquet is of the packed records" in sentence


def as_before(files):
    """Make page and manifest those of the first version, which have fewer facts."""
    files["report.html"] = re.sub(rb"<meta name=\"mls-made-from.*\n", b"", files["report.html"])
    fit(files)
    manifest = json.loads(files["manifest.json"])
    old_manifest = {"manifest_version": 1, "name": manifest["name"], "files": manifest["files"]}
    files["manifest.json"] = json.dumps(old_manifest).encode()


def test_one_of_the_first_version_verifies_and_says_what_it_cannot_check(small_archive, tmp_path):
    verification = verify(rewrite(small_archive, tmp_path / "x.zip", as_before))
    (sentence,) = verification.unchecked
    assert sentence.startswith("whether report.html is of config.json and the packed records")

    def edit(files):
        files["cells.parquet"] = with_figure(files, lambda value: 2 * value)["cells.parquet"]
        for name in (RUN, REQUESTS, TELEMETRY):
            del files[name]
        as_before(files)

    verification = verify(rewrite(small_archive, tmp_path / "x.zip", edit))
    assert str(verification.partial) == "3 of 4 planned repeats"
    assert any("cells.parquet" in sentence for sentence in verification.unchecked)


def test_one_of_the_first_version_with_another_sweeps_page_and_no_record_fails(
    small_archive, tmp_path
):
    def edit(files):
        sweep = config(name="default")
        for name in [name for name in files if name.startswith("runs/")]:
            del files[name]
        files["config.json"] = sweep.model_dump_json().encode()
        as_before(files)
        files["manifest.json"] = files["manifest.json"].replace(b'"synthetic"', b'"default"')

    message = failure(rewrite(small_archive, tmp_path / "x.zip", edit))
    assert "there is none of the 6 repeats that it plans" in message


def test_a_config_of_another_version_leaves_the_manifest_to_check(small_archive, tmp_path):
    def edit(definitions):
        def change(files):
            config_ = json.loads(files["config.json"]) | {"later": 1}
            files["config.json"] = json.dumps(config_).encode()
            fit(files, **definitions)

        return change

    assert "config.json can't be read (later: unknown key" in failure(
        rewrite(small_archive, tmp_path / "x.zip", edit({}))
    )
    verification = verify(
        rewrite(small_archive, tmp_path / "x.zip", edit({"definitions": "0" * 64}))
    )
    assert "this version can't read config.json" in verification.unchecked[0]
