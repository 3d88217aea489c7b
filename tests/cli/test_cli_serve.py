"""``serve`` says when it is ready, why it isn't, and ends when told to."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_doubles import User

from anyclaude.cli import serve
from anyclaude.events import Bus, EngineState, RequestFinished, SystemEvent
from anyclaude.records import RequestRecord

PREPARE = """
import sys, types
sys.path.insert(0, {folder!r})
import cli_doubles
module = types.ModuleType("anyclaude.runtime")
module.Runtime = cli_doubles.Runtime
sys.modules["anyclaude.runtime"] = module
"""

START = "from anyclaude.cli.main import main; main()"


def with_double() -> str:
    """Code that puts the double in the place of the runtime."""
    return PREPARE.format(folder=str(Path(__file__).parent))


@contextmanager
def serving(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", with_double() + START, "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_line_then_a_clean_end(user: User, number: signal.Signals) -> None:
    with serving("--port=0", "--model=Qwen") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("anyclaude ready http://127.0.0.1:")
        assert line.endswith(" model=Qwen\n")
        assert (user.data / "server.json").exists()
        process.send_signal(number)
        rest, progress = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest == "runtime stopped\n"
    assert progress.splitlines() == [
        f"loading SmolLM2: weights {tenth * 10}%" for tenth in range(11)
    ]
    assert not (user.data / "server.json").exists()


def test_told_to_stop_while_loading(user: User) -> None:
    with serving(FAKE_LOAD="hangs") as process:
        assert process.stderr is not None
        while "100%" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "runtime stopped\n", "")


def test_without_a_backend_it_says_so_and_serves_on(user: User) -> None:
    with serving(FAKE_LOAD="off", ANYCLAUDE_BACKENDS_MLX_ENABLED="false") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        while "backends.mlx.enabled is false" not in line:
            assert line.startswith("loading")
            line = process.stderr.readline()
        assert "is up, but" in line
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "runtime stopped\n", "")


@pytest.mark.parametrize("level", [1, 2])
def test_events_are_told_by_level(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    monkeypatch.setattr(logging.getLogger("anyclaude"), "level", logging.NOTSET)
    caplog.set_level((logging.WARNING, logging.INFO)[level - 1], "anyclaude")
    bus = Bus()
    events = bus.subscribe()
    bus.publish(EngineState("ready", "SmolLM2"))
    bus.publish(SystemEvent(1.0, "warning", "memory", "the cache is full"))
    bus.publish(RequestFinished(RequestRecord("req_1", 1.0, status=200, input_tokens=7)))
    events.close()
    asyncio.run(serve.narrate(events))
    told = [record.getMessage() for record in caplog.records]
    row = "req_1 main 200: 7 tokens in, 0 read, 0 out, 0 ms"
    assert told == ["memory: the cache is full", row][:level]


@pytest.mark.parametrize(
    ("env", "line"),
    [
        (
            {"FAKE_START": "fails"},
            "anyclaude: server.port: 8082 is in use; choose another with --port",
        ),
        ({"FAKE_LOAD": "fails"}, "anyclaude: the weights are damaged"),
    ],
)
def test_a_failed_start_is_one_line(user: User, env: dict[str, str], line: str) -> None:
    with serving(**env) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ready" not in out
    assert [text for text in err.splitlines() if "%" not in text] == [line]


def test_a_bad_port_is_refused_before_anything_starts(user: User) -> None:
    result = user("serve", "--port", "70000")
    assert result.exit_code == 2
    assert result.stderr == (
        "anyclaude: flag --port: server.port is 70000; expected an integer from 0 to 65535\n"
    )
    assert not user.data.exists()
