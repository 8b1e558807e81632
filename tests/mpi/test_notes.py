"""Notes to the user on files that are used in part."""

import json

import yaml


def test_rows_left_out_are_said_once_by_all_ranks_together_and_recorded(mpirun, server, tmp_path):
    prompts, trace = tmp_path / "prompts.jsonl", tmp_path / "trace.csv"
    rows = [{"prompt": f"Say {i}"} for i in range(6)] + [{"prompt": None}]
    prompts.write_text("\n".join(map(json.dumps, rows)))
    trace.write_text("time,output_tokens\n0,3\n0.01,0\n0.02,2\n")
    config = {
        "models": {"m": {"served_as": "honest"}},
        "server": {"url": server.url},
        "run": {"ranks": 2, "inflight": 2, "max_tokens": 3},
        "load": {"kind": "trace", "file": str(trace)},
        "workload": {"kind": "dataset", "file": str(prompts), "output_tokens": "trace"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    process = mpirun.run(2, "--config", path, "--output", tmp_path / "run")
    assert process.returncode == 0, process.stdout + process.stderr
    notes = [line for line in process.stderr.splitlines() if "used in part" in line]
    assert notes == [
        f"mls run: load.file: {trace} is used in part: 1 of 3 rows can't be used "
        "(the first: row 2, output_tokens is 0, as of a request that failed).",
        f"mls run: workload.file: {prompts} is used in part: 1 of 7 rows can't be used "
        "(the first: row 7, prompt is empty).",
    ]
    result = json.loads((tmp_path / "run" / "run.json").read_text())
    assert result["summary"]["requests"]["ok"] == 2
    assert [f"mls run: {note}" for note in result["workload"]["notes"]] == notes
