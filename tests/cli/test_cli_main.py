"""Help is quick, and every mistake is one line and the right exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_doubles import User

from anyclaude import __version__
from anyclaude.cli.errors import Program
from anyclaude.errors import ConfigError, NotFound, UsageError

HEAVY = ("mlx", "mlx_lm", "duckdb", "quart", "hypercorn", "transformers", "textual", "tui", "httpx")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["config", "show"]])
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    done = python(
        "import atexit, json, sys\n"
        "from anyclaude.cli.main import main\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "main(sys.argv[1:])",
        *arguments,
    )
    assert done.returncode == 0
    loaded = set(json.loads(done.stderr))
    assert "anyclaude.cli.serve" in loaded
    assert not loaded & set(HEAVY)


def test_version(user: User) -> None:
    assert user("--version").output == f"anyclaude {__version__}\n"


def test_every_command_of_the_contract_has_help(user: User) -> None:
    local = ("serve", "run", "env", "models", "sql", "logs", "cache", "config", "doctor")
    for command in (*local, "replay", "bench"):
        result = user(command, "--help")
        assert result.exit_code == 0
        assert result.output.startswith(f"Usage: anyclaude {command}")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["serv"],
            "anyclaude: No such command 'serv'. Did you mean 'serve'? See 'anyclaude --help'.",
        ),
        (
            ["cache", "stats", "--ter"],
            "anyclaude cache stats: No such option '--ter'. See 'anyclaude cache stats --help'.",
        ),
        (["sql"], "anyclaude sql: Missing argument 'QUERY'. See 'anyclaude sql --help'."),
    ],
)
def test_usage_errors_are_one_line(user: User, arguments: list[str], line: str) -> None:
    result = user(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_a_broken_configuration_stops_every_command(user: User, tmp_path: Path) -> None:
    (tmp_path / "anyclaude.toml").write_text("[server]\nport = 'x'\nprot = 1\n")
    result = user("env")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f'anyclaude: {tmp_path}/anyclaude.toml: server.port is "x";'
        " expected an integer from 0 to 65535",
        f"anyclaude: {tmp_path}/anyclaude.toml: server.prot is unknown;"
        " the nearest known key is server.port",
    ]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("a.toml: x is y"), 2, "anyclaude: a.toml: x is y"),
        (UsageError("not so"), 2, "anyclaude: not so"),
        (NotFound("no such model"), 1, "anyclaude: no such model"),
        (PermissionError(13, "Permission denied", "/x"), 1, "anyclaude: /x: Permission denied"),
        (click.ClickException("odd"), 1, "anyclaude: odd"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.group(cls=Program)
    def program() -> None: ...

    @program.command()
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        program(["fail"])
    assert ended.value.code == code
    assert capsys.readouterr().err.strip() == line


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    @click.group(cls=Program)
    def program() -> None: ...

    @program.command()
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program(["fail"])


def test_a_closed_pipe_is_no_traceback(user: User) -> None:
    done = subprocess.run(
        f"{sys.executable} -m anyclaude.cli.main config show | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("key")
