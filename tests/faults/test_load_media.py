"""Images on the wire: as many bytes as the records say, and a server that takes none is quoted."""

import base64
import json

import pytest
from tests.faults.driving import assert_good, harvest, spec
from tests.servers.behaviours import sends
from tests.servers.misbehaving import Misbehaving, reply
from tests.unit.synthetic import facts

from mls.analysis.repeat.summary import summarize
from mls.commands.no_result import no_result
from mls.config.sections.run import Run
from mls.config.sections.workload import Workload
from mls.load.workload.builder import Materials
from mls.load.workload.datasets import draw_rows, read_dataset
from mls.protocol.request import Target

pytestmark = pytest.mark.timeout(60)
REQUESTS = 8
REFUSAL = (
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
)


def materials(folder):
    """(materials, workload) of rows with 0, 1 and 2 pictures of different sizes."""
    rows = []
    for number in range(REQUESTS):
        parts = [{"type": "text", "text": f"Question {number}"}]
        for place in range(number % 3):
            name = f"{number}-{place}.png"
            (folder / name).write_bytes(bytes([number, place]) * (50_000 * number))
            parts.append({"type": "image_url", "image_url": {"url": name}})
        rows.append({"messages": [{"role": "user", "content": parts}]})
    path = folder / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = Workload(kind="dataset", file=str(path), media=str(folder))
    return Materials(rows=draw_rows(read_dataset(workload), workload, 1, REQUESTS, len)), workload


def load(folder, url, transport):
    made, workload = materials(folder)
    run = Run(inflight=2, ranks=1, iters=REQUESTS, warmup=0, transport=transport, timeout_s=20)
    return harvest(spec([Target(url)], run, workload=workload, materials=made))


def pictures(body):
    """Bytes of each picture of a request."""
    content = json.loads(body)["messages"][-1]["content"]
    urls = [] if isinstance(content, str) else [part.get("image_url") for part in content]
    return [len(base64.b64decode(url["url"].partition(",")[2])) for url in urls if url]


@pytest.mark.parametrize("ahead", [True, False], ids=["built ahead", "built under load"])
@pytest.mark.parametrize("transport", ["epoll", "requests"])
def test_the_server_gets_what_the_records_say(tmp_path, monkeypatch, transport, ahead):
    if not ahead:
        monkeypatch.setattr("mls.protocol.request._BUILD_AHEAD_BYTES", 0)
    with Misbehaving({}) as server:
        table = load(tmp_path, server.url, transport).table
        sent = {request.job: pictures(request.body) for request in server.requests}
    for row in table.to_pylist():
        assert_good(row)
        sizes = sent[row["job"]]
        assert (row["media_parts"], row["media_bytes"]) == (
            (len(sizes), sum(sizes)) if sizes else (None, None)
        )
    media = summarize(table, facts(2)).media
    assert media.requests == sum(bool(sizes) for sizes in sent.values()) == 5
    assert (media.parts, media.bytes) == (7, sum(map(sum, sent.values())))


def test_what_a_server_says_that_takes_no_images_is_the_reason(tmp_path):
    refusal = reply(json.dumps({"error": {"message": REFUSAL}}).encode(), status="500 Error")
    with Misbehaving({}, default=sends(refusal)) as server:
        outcome = load(tmp_path, server.url, "epoll")
    summary = summarize(outcome.table, facts(2))
    assert REFUSAL in (no_result(outcome, summary) or "")
    assert summary.media.parts is None  # of successful requests
