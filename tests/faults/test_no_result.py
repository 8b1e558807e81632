"""A launcher that reports success without a result."""

import json

from mls.commands.serve import serve_for


def test_is_a_failure(tmp_path, capfd):
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"models": {"far": {}}, "server": {"url": "http://127.0.0.1:9"}})
    )  # nothing listens there, and nothing connects
    output = tmp_path / "run"
    output.mkdir()
    arguments = (config, ["model=far"], 1, None, None, output)
    assert serve_for(["true"], *arguments) == 1
    assert "no result" in json.loads((output / "failure.json").read_text())["message"]
    (output / "run.json").write_text("{}")
    assert serve_for(["true"], *arguments) == 0
    assert not (output / "failure.json").exists()
