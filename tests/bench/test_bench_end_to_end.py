"""Both commands on the real small model: a minimal run, a replay, and Ctrl-C in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from anyclaude.bench.figures import FLOOR, OURS

pytestmark = pytest.mark.model


@pytest.fixture
def data(tmp_path: Path, embedded_model_dir: Path) -> Path:
    """A data folder that has the model; and a place for temporary folders beside it."""
    (tmp_path / "data" / "models").mkdir(parents=True, mode=0o700)
    (tmp_path / "data" / "models" / embedded_model_dir.name).symlink_to(embedded_model_dir)
    (tmp_path / "tmp").mkdir()
    return tmp_path / "data"


@contextmanager
def started(data: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ANYCLAUDE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "anyclaude.cli.main", *arguments, f"--data-dir={data}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "TMPDIR": str(data.parent / "tmp")},
        cwd=data.parent,
        # Whoever runs the tests in the background has SIGINT ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def test_a_minimal_run(data: Path) -> None:
    file = data.parent / "figures.json"
    asked = ["--phases=prefix,decode", "--words=60", "--quick", "--peer=none", f"--json={file}"]
    with started(data, "bench", *asked, "--format=markdown") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "| branch | 60 |" in out
    assert "round 1 of 1: decode" in err
    told = json.loads(file.read_text())
    assert (told["model"], told["rounds"], told["notes"]) == ("SmolLM2-135M-Instruct", 1, [])
    figures = {figure["phase"]: figure for figure in told["figures"]}
    assert set(figures) == {"cold", "turn", "branch", "back", "decode"}
    for figure in figures.values():
        assert set(figure["samples"]) == {OURS, FLOOR}
        assert figure["to_forward"] == pytest.approx(
            figure["samples"][OURS][0] / figure["samples"][FLOOR][0]
        )
    assert [path.name for path in data.iterdir()] == ["models"], (
        "the user's data folder is as it was"
    )
    assert not list((data.parent / "tmp").glob("anyclaude-bench-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_leaves_nothing_behind(data: Path, number: signal.Signals) -> None:
    asked = ["--phases=prefix", "--words=60", "--peer=none", "--rounds=99"]
    with started(data, "bench", *asked) as process:
        assert process.stderr is not None
        while "round 1" not in (line := process.stderr.readline()):
            assert line, "it ended"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not [child for child in children if child.is_running()]
    assert not list((data.parent / "tmp").glob("anyclaude-bench-*"))


def test_a_replay_on_a_server_started_for_it(data: Path) -> None:
    body = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "Say hi."}]}
    lines = [{"body": {**body, "stream": True}}, {"body": body}, {"body": {**body, "messages": []}}]
    file = data.parent / "r.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with started(data, "replay", str(file), "--json") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    told = json.loads(out)
    streamed, whole, refused = told["requests"]
    assert (streamed["status"], whole["status"], refused["status"]) == (200, 200, 400)
    assert streamed["prompt"] == whole["prompt"] > whole["reused"] > 0
    assert streamed["ttft"] is not None
    assert told["summary"]["bad"] == 0
