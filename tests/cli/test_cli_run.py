"""``run`` and ``env``: the right environment, the client's exit code, nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_doubles import TOKEN, AdminServer, User
from test_cli_serve import START, with_double

from anyclaude.cli.env import render
from anyclaude.config.client_env import OPEN_TOKEN, client_env
from anyclaude.config.state import read_state
from anyclaude.events import EngineState

CLIENT = """#!{python}
import json, os, signal, sys
if "--stop" in sys.argv:
    os.kill(os.getpid(), signal.SIGSTOP)
if "--term" in sys.argv:
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()
if "--int" in sys.argv:
    os.kill(os.getppid(), signal.SIGINT)
if "--die" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
print(json.dumps(dict(args=sys.argv[1:], env=dict(os.environ))))
sys.exit(7)
"""


@pytest.fixture
def client(user: User) -> Path:
    """In place of Claude Code: prints its arguments and environment, exits with 7."""
    program = user.home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(CLIENT.format(python=sys.executable))
    program.chmod(0o755)
    return program


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START, "run", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
    )


def test_uses_the_running_server(user: User, client: Path, server: AdminServer) -> None:
    done = run("--", "-p", "hello world", "--bare", PATH=f"{client.parent}:/bin:/usr/bin")
    assert done.returncode == 7, done.stderr
    seen = json.loads(done.stdout)
    assert seen["args"] == ["-p", "hello world", "--bare"]
    expected = dict(client_env(server.url, "", "SmolLM2", 8192))
    assert {k: v for k, v in seen["env"].items() if k in expected} == expected
    assert done.stderr == ""


def test_warns_of_a_window_the_client_does_not_fit(
    user: User, client: Path, server: AdminServer
) -> None:
    done = run(f"--claude={client}", "--", "-p", "hi")
    assert done.returncode == 7
    assert done.stderr == (
        "anyclaude: SmolLM2 has a window of 8192 tokens and the client's own prompt takes about"
        " 13000; set prompt.tier = \"auto\", or try 'anyclaude run -- --bare'\n"
    )
    done = run(f"--claude={client}", "--", "-p", "hi", ANYCLAUDE_PROMPT_TIER="auto")
    assert (done.returncode, done.stderr) == (7, "")


def test_starts_a_server_and_stops_it(user: User, client: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(with_double())
    done = run("--model", "Qwen", "--", "--bare", ANYCLAUDE_CLAUDE=str(client),
               PYTHONPATH=str(folder))  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout)["env"]["ANTHROPIC_MODEL"] == "Qwen"
    assert read_state(user.data) is None
    assert not (user.data / "server.json").exists()


def test_a_server_that_will_have_no_model_is_not_started(user: User, client: Path) -> None:
    done = run(ANYCLAUDE_CLAUDE=str(client), ANYCLAUDE_BACKENDS_MLX_ENABLED="false")
    assert done.returncode == 2
    assert done.stderr.startswith("anyclaude: backends.mlx.enabled is false")
    assert not (user.data / "server.json").exists()


def test_the_limit_of_an_answer_is_passed_on(user: User, client: Path, server: AdminServer) -> None:
    env = user("env", "--format", "json")
    assert json.loads(env.stdout)["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "1024"
    done = run(ANYCLAUDE_CLAUDE=str(client), ANYCLAUDE_MODEL_MAX_OUTPUT_TOKENS="300")
    assert json.loads(done.stdout)["env"]["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "300"


def test_a_server_that_fails_ends_it(user: User, client: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(with_double())
    done = run(ANYCLAUDE_CLAUDE=str(client), PYTHONPATH=str(folder), FAKE_START="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "anyclaude: server.port: 8082 is in use; choose another with --port",
        "anyclaude: the server ended with exit code 1 before its model answered",
    ]


@pytest.mark.parametrize(("flag", "code"), [("--term", 143), ("--die", 137), ("--int", 7)])
def test_signals(user: User, client: Path, server: AdminServer, flag: str, code: int) -> None:
    done = run(f"--claude={client}", "--", "--bare", flag)
    assert done.returncode == code, done.stderr


def test_stops_and_goes_on_with_the_client(user: User, client: Path, server: AdminServer) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", START, "run", f"--claude={client}", "--", "--bare", "--stop"],
        stdout=subprocess.PIPE,
    )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 7
    finally:
        process.kill()
        process.communicate()


def test_another_model_than_the_running_one(user: User, client: Path, server: AdminServer) -> None:
    result = user("run", f"--claude={client}", "--model", "Qwen")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"anyclaude: --model Qwen: the server at {server.url} runs SmolLM2; stop it"
    )


def test_a_server_without_a_model(user: User, client: Path, server: AdminServer) -> None:
    server.engine = EngineState("failed", "SmolLM2", 0.0, "out of memory")
    result = user("run", f"--claude={client}")
    assert result.exit_code == 1
    assert "has no model that answers (failed: out of memory)" in result.stderr


def test_without_the_client(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(user.home))
    result = user("run")
    assert result.exit_code == 2
    assert result.stderr.startswith("anyclaude: claude isn't on PATH; install it with 'npm")
    result = user("run", "--claude", "/nowhere/claude")
    assert result.stderr == "anyclaude: --claude /nowhere/claude is no program that can be run\n"
    monkeypatch.setenv("ANYCLAUDE_CLAUDE", str(user.home))
    assert "ANYCLAUDE_CLAUDE" in user("run").stderr


def test_env_of_the_running_server(user: User, server: AdminServer) -> None:
    server.engine = replace(server.engine, context_limit=65_536)
    result = user("env")
    assert result.exit_code == 0
    assert result.stderr == ""
    shell = f"{result.stdout}\nenv"
    printed = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    for name, value in client_env(server.url, "", "SmolLM2", 65_536):
        assert f"{name}={value}\n" in printed


def test_a_server_of_virtual_keys_is_opened_by_its_own_token(
    user: User, client: Path, server: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    user("keys", "add", "bob")
    env = user("env", "--format", "json")
    assert json.loads(env.stdout)["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    done = run(f"--claude={client}", "--", "--bare")
    assert json.loads(done.stdout)["env"]["ANTHROPIC_AUTH_TOKEN"] == TOKEN
    monkeypatch.setenv("ANYCLAUDE_SERVER_API_KEY", "ours")
    env = user("env", "--format", "json")
    assert json.loads(env.stdout)["ANTHROPIC_AUTH_TOKEN"] == "ours"


def test_env_of_a_server_of_virtual_keys_that_does_not_run(user: User) -> None:
    user("keys", "add", "bob")
    result = user("env", "--format", "json")
    assert json.loads(result.stdout)["ANTHROPIC_AUTH_TOKEN"] == OPEN_TOKEN
    assert result.stderr.splitlines()[-1] == (
        "anyclaude: it will ask for a virtual key; set ANTHROPIC_AUTH_TOKEN to one"
    )


def test_env_of_the_configured_server(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYCLAUDE_SERVER_API_KEY", "it's $HOME")
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "9")
    result = user("env", "--format", "json")
    values = json.loads(result.stdout)
    assert values["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:9"
    assert values["ANTHROPIC_AUTH_TOKEN"] == "it's $HOME"
    assert "no server runs" in result.stderr
    monkeypatch.setenv("ANYCLAUDE_SERVER_PORT", "0")
    result = user("env")
    assert result.exit_code == 2
    assert "server.port is 0" in result.stderr


def test_values_survive_the_shells() -> None:
    pairs = [("A", 'it\'s $HOME \\ "x"\n')]
    assert render(pairs, "fish") == "set -gx A 'it\\'s $HOME \\\\ \"x\"\n'"
    shell = render(pairs, "sh") + '; printf %s "$A"'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == pairs[0][1]
    assert json.loads(render(pairs, "json")) == dict(pairs)
