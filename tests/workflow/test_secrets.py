"""Keys, in each way of giving one, are nowhere after a sweep: not in results, logs, archive, processes."""

import base64
import json

import pyarrow.parquet as pq
import pytest
from tests.secrets import CommandLines, places_of
from tests.servers.echoing import FAULTS, Echoing
from tests.workflow.checkout import SMALL

BEARER, HEADER, TOKEN = "zqplanted/bearer", "zqplantedheader", "zqplanted+token"
PASSWORD = "zqplanted:proxy"
KEYS = {"BEARER": BEARER, "AZKEY": HEADER, "GATEWAY": f"Token {TOKEN}"}
LOGIN = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
PLANTED = ("zqplanted", LOGIN)
NEEDS = {"Authorization": f"Bearer {BEARER}", "api-key": HEADER, "X-Gateway": f"Token {TOKEN}"}


RESULTS = "results-with-keys"
SWEEP = {"name": "keys", "environment": {"manager": "current"}, "results": RESULTS, "repeats": 1}


def config(url, ranks=1, **run):
    return SWEEP | {
        "models": {"m": {"served_as": "m"}},
        "server": {
            "url": url,
            "api_key_env": "BEARER",
            "headers_env": {"api-key": "AZKEY", "X-Gateway": "GATEWAY"},
        },
        "run": {"iters": 24, "keep_output": True, "retries": 0, "warmup": 2, **run},
        "sweep": {"inflight": [2], "ranks": [ranks]},
    }


class Sweep:
    """The pipeline in a checkout, with what it and its processes said.

    Its results are in a folder without the weights, which would be searched, too.
    """

    def __init__(self, checkout, monkeypatch):
        self.checkout = checkout
        self.results = checkout.folder / RESULTS
        self.results.mkdir(exist_ok=True)
        (self.results / "README").write_text("What refuses to begin leaves nothing else here.\n")
        self.texts = []
        self.lines = CommandLines()
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)

    def run(self, data):
        self.checkout.write(data)
        with self.lines:
            process = self.checkout.snakemake()
            self._keep(process)
        return process

    def mls(self, *arguments):
        process = self.checkout.mls(*arguments)
        self._keep(process)
        return process

    def _keep(self, process):
        self.texts += [process.stdout, process.stderr]

    def places(self, *keys):
        """Where a key is; the checkout's own files and its environments are no results."""
        folder = self.checkout.folder
        found = places_of(keys or PLANTED, self.results, *self.texts, *self.lines.texts)
        return found + places_of(keys or PLANTED, folder / ".snakemake")

    def folder(self, ranks):
        return self.results / f"runs/name~keys/model~m/inflight~2/ranks~{ranks}/repeat~1"


@pytest.fixture
def sweep(checkout, monkeypatch):
    yield Sweep(checkout, monkeypatch)
    checkout.reset()


def archive(sweep):
    """Pack the sweep beside its results. Returns the archive's path."""
    process = sweep.mls("archive", "--config", "config.yaml")
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_a_gateway_that_repeats_all_keys(sweep):
    with Echoing(NEEDS) as gateway:
        process = sweep.run(config(gateway.url, ranks=2))
    assert process.returncode == 0, process.stdout + process.stderr
    assert {BEARER, HEADER, TOKEN} <= gateway.echoes
    rows = pq.read_table(sweep.folder(ranks=2) / "requests.parquet").to_pylist()
    assert len({row["error"] for row in rows if row["error"]}) >= len(FAULTS) - 1
    assert sum(row["error"] is None for row in rows) == 24 - len(FAULTS)
    verified = sweep.mls("verify", archive(sweep))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert any("mls.worker" in line for line in sweep.lines.texts)
    assert sweep.places() == []


def test_a_proxys_password(sweep, monkeypatch):
    """The proxy is the gateway itself: it is asked for whole URLs, and repeats its own login, too."""
    with Echoing(NEEDS) as proxy:
        login = f"http://me:{PASSWORD.replace(':', '%3A')}@"
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", login))
        process = sweep.run(config("http://llm.example:81", transport="requests"))
    assert process.returncode == 0, process.stdout + process.stderr
    assert {BEARER, HEADER, TOKEN, LOGIN, PASSWORD} <= proxy.echoes
    archive(sweep)
    assert sweep.places() == []


def test_a_repeat_without_a_result(sweep):
    with Echoing(NEEDS, refuses=True) as gateway:
        process = sweep.run(config(gateway.url, iters=8))
    assert process.returncode != 0
    assert json.loads((sweep.folder(ranks=1) / "failure.json").read_text())
    assert "(8 × http_500)" in sweep.mls("archive", "--config", "config.yaml").stderr
    assert sweep.places() == []


def test_a_key_that_the_gateway_does_not_take(sweep):
    with Echoing({"Authorization": "Bearer other"}) as gateway:
        process = sweep.run(config(gateway.url))
    assert process.returncode != 0
    assert "doesn't accept the API key in BEARER and AZKEY and GATEWAY" in process.stderr
    assert sweep.places() == []


def printing(words, then):
    """A command that prints words with the key in them."""
    return {"engine": "command", "command": ["sh", "-c", f'echo "{words}"; {then}']}


def test_managed_servers_one_of_which_logs_its_key(sweep, shallow_smollm2):
    server = printing(
        "args: $MLS_API_KEY", "exec python -m tests.servers.two_processes --port {port}"
    )
    embedded = {"path": str(shallow_smollm2), "server": SMALL["server"]}
    models = {"m": {"path": "tests/servers", "server": server}, "smollm2": embedded}
    process = sweep.run(
        SWEEP
        | {
            "models": models,
            "server": {"api_key_env": "BEARER"},
            "run": SMALL["run"],
            "sweep": {"model": ["m", "smollm2"], "inflight": [2], "ranks": [1]},
        }
    )
    assert process.returncode == 0, process.stdout + process.stderr
    log = next(sweep.results.glob("logs/**/name~keys/model~m/**/run.log.server"))
    assert f"args: {'*' * len(BEARER)}\n" in log.read_text()
    archive(sweep)
    assert sweep.places() == []


def test_a_managed_server_that_dies_over_its_key(sweep):
    server = printing("error: no such key $MLS_API_KEY for {port}", "exit 1")
    process = sweep.run(
        SWEEP
        | {
            "models": {"m": {"path": "tests/servers"}},
            "server": server | {"api_key_env": "BEARER"},
            "run": SMALL["run"],
            "sweep": {"inflight": [2], "ranks": [1]},
        }
    )
    assert process.returncode != 0 and "its log says: error: no such key ***" in process.stderr
    assert sweep.places() == []


@pytest.mark.parametrize(
    "keys",
    [
        {"server": {"url": "http://127.0.0.1:9/v1?api-key=zqplanted"}},
        {"server": {"url": "http://me:zqplanted@127.0.0.1:9"}},
        {"run": {"endpoint": "/v1/chat/completions?api-version=1&code=zqplanted"}},
        {"run": {"request_headers": {"api-key": "zqplanted"}}},
        {"run": {"request_extra": {"api_key": "zqplanted"}}},
        {"server": {"extra_args": ["--api-key", "zqplanted"]}},
    ],
)
def test_a_key_in_the_config_is_refused_before_anything_is_written(sweep, keys):
    sweep.checkout.write(config("http://127.0.0.1:9") | keys)
    process = sweep.checkout.snakemake()
    output = process.stdout + process.stderr
    assert process.returncode and "would be stored with the results" in output
    sweep.texts.append(output)
    assert sweep.places() == []
