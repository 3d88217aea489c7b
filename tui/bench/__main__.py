"""``python -m tui.bench``: how quick the console is, in a terminal of 120x40.

Takes some minutes; stop everything else first. Python keeps its bytecode in a folder of the
benchmark's own, filled by a start that is not counted: a cold start is a fresh process, not a
fresh installation.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import psutil

from anyclaude.errors import AnyclaudeError
from tui.bench.terminal import Terminal, row_of

START_S = 60.0
KEY_S = 5.0
APPEND_S = 40
IDLE_S = 15.0
SETTLE_S = 4.0
KEYS = 150
KEY_PAUSE_S = 0.12
_BAR = "▌".encode()
_NO_MODEL = "[backends.mlx]\nenabled = false\n"


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured: what, the value, its unit, and what it must not exceed."""

    name: str
    value: float
    unit: str
    target: float | None = None


def start(rounds: int) -> list[Figure]:
    """Cold starts without a model: each a fresh process with a folder of its own."""
    painted, served = [], []
    for _ in range(rounds + 1):
        with _console() as (terminal, port):
            served_at = 0.0
            painted_at = 0.0
            deadline = terminal.began + START_S
            while not (painted_at and served_at):
                terminal.read(0.005)
                if not painted_at and b"Starting the server" in terminal.painted:
                    painted_at = time.perf_counter()
                if painted_at and not served_at and _answers(port):
                    served_at = time.perf_counter()
                if time.perf_counter() > deadline or terminal.ended:
                    raise AnyclaudeError(f"the console did not start: {terminal.tail()!r}")
            painted.append(painted_at - terminal.began)
            served.append(served_at - terminal.began)
    del painted[0], served[0]  # wrote the bytecode
    return [
        Figure("cold start to first paint, median", statistics.median(painted), "s", 0.8),
        Figure("cold start to first paint, slowest", max(painted), "s"),
        Figure("cold start to accepting requests, median", statistics.median(served), "s", 2.0),
        Figure("cold start to accepting requests, slowest", max(served), "s"),
    ]


def idle() -> list[Figure]:
    """The share of a core that the console with its server takes when nothing happens."""
    with _console() as (terminal, port):
        while not _answers(port):
            terminal.read(0.05)
        _watch(terminal, SETTLE_S)
        process = psutil.Process(terminal.pid)
        before = process.cpu_times()
        _watch(terminal, IDLE_S)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        resident = process.memory_info().rss / 1e6
    return [
        Figure("CPU when idle, of a core", 100 * used / IDLE_S, "%", 10.0),
        Figure("resident memory when idle, no model", resident, "MB"),
    ]


def append() -> list[Figure]:
    """A tick that takes in its share of 50 events a second, and its paint, in CPU time."""
    taken = sorted(_staged("append", APPEND_S))
    return [
        Figure("append and repaint, CPU, median", statistics.median(taken), "ms"),
        Figure("append and repaint, CPU, p95", _p95(taken), "ms", 16.0),
    ]


def keys() -> list[Figure]:
    """From a key that moves the cursor to its new place on the screen, under traffic."""
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        with Terminal(_stage("keys", 600, file), _env()) as terminal:
            _wait_for(file, terminal)
            for _ in range(12):  # away from the newest row, and no longer following
                terminal.press("k")
                _watch(terminal, KEY_PAUSE_S)
            for number in range(KEYS):
                before = row_of(bytes(terminal.painted), _BAR)
                terminal.forget()

                def moved(painted: bytes, before: int | None = before) -> bool:
                    return row_of(painted, _BAR) not in (None, before)

                pressed = terminal.press("j" if number % 2 else "k")
                waits.append((terminal.until(moved, KEY_S) - pressed) * 1000)
                _watch(terminal, KEY_PAUSE_S + 0.007 * (number % 11))
    return [
        Figure("key to paint, median", statistics.median(waits), "ms"),
        Figure("key to paint, p95", _p95(sorted(waits)), "ms", 50.0),
    ]


def memory(minutes: int) -> list[Figure]:
    """What an hour of such traffic leaves behind, by the slope of the second half."""
    found = _staged("memory", minutes * 60)
    half = found[len(found) // 2 :]
    slope = statistics.linear_regression(range(len(half)), half).slope * 60
    return [
        Figure("resident memory in the end", found[-1] / 1e6, "MB"),
        Figure("growth of memory in the second half", slope / 1e6, "MB/h", 5.0),
    ]


def imports(rounds: int) -> list[tuple[str, float]]:
    """Milliseconds that each step towards the console adds to a bare Python, medians."""
    steps = ("", "asyncio", "click", "rich.console", "textual.app", "tui.__main__")
    _import_ms(steps[-1])
    totals = [statistics.median(_import_ms(name) for _ in range(rounds)) for name in steps]
    names = ("python itself", *steps[1:])
    befores = (0.0, totals[0], totals[0], totals[0], totals[3], totals[4])
    return [(name, t - b) for name, t, b in zip(names, totals, befores, strict=True)]


def _import_ms(name: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {name}" if name else ""], check=True, env=_env())
    return (time.perf_counter() - began) * 1000


@contextmanager
def _console() -> Iterator[tuple[Terminal, int]]:
    """The real console on a folder of its own, and the port it will serve."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "anyclaude.toml"
        config.write_text(_NO_MODEL, encoding="utf-8")
        command = [sys.executable, "-m", "tui", "--config", str(config), "--port", str(port)]
        with Terminal(command, {**_env(), "ANYCLAUDE_DATA_DIR": folder}) as terminal:
            yield terminal, port


@functools.cache
def _bytecode() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _env() -> dict[str, str]:
    """This environment, with the bytecode kept in a folder of our own."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": _bytecode().name}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def _answers(port: int) -> bool:
    """True when the server answers a request, whatever it says."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as client:
            client.settimeout(1.0)
            client.sendall(b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return client.recv(8) == b"HTTP/1.1"
    except OSError:
        return False


def _stage(phase: str, seconds: int, file: Path) -> list[str]:
    return [sys.executable, "-m", "tui.bench.stage", phase, str(seconds), str(file)]


def _staged(phase: str, seconds: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        with Terminal(_stage(phase, seconds, file), _env()) as terminal:
            while not terminal.ended:
                terminal.read(0.2)
                if len(terminal.painted) > 1 << 20:
                    del terminal.painted[: 1 << 19]
            found: list[float] = json.loads(file.read_text()) if file.exists() else []
            if not found:
                raise AnyclaudeError(f"the phase {phase} found nothing: {terminal.tail()!r}")
            return found


def _wait_for(file: Path, terminal: Terminal) -> None:
    deadline = time.perf_counter() + START_S
    while not file.exists():
        terminal.read(0.05)
        if terminal.ended or time.perf_counter() > deadline:
            raise AnyclaudeError(f"the console did not start: {terminal.tail()!r}")


def _watch(terminal: Terminal, seconds: float) -> None:
    """Takes in what is painted for so long."""
    deadline = time.perf_counter() + seconds
    while (left := deadline - time.perf_counter()) > 0:
        terminal.read(left)


def _p95(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]


PHASES: Mapping[str, Callable[[int, int], list[Figure]]] = {
    "start": lambda rounds, minutes: start(rounds),
    "idle": lambda rounds, minutes: idle(),
    "append": lambda rounds, minutes: append(),
    "keys": lambda rounds, minutes: keys(),
    "memory": lambda rounds, minutes: memory(minutes),
    "imports": lambda rounds, minutes: [Figure(n, ms, "ms") for n, ms in imports(rounds)],
}


@click.command()
@click.option("--phases", default=",".join(PHASES), show_default=True, help="What to measure.")
@click.option("--rounds", default=5, show_default=True, help="Cold starts and imports.")
@click.option("--minutes", default=60, show_default=True, help="Traffic for the memory phase.")
@click.option("--format", "form", type=click.Choice(["markdown", "json"]), default="markdown")
def main(phases: str, rounds: int, minutes: int, form: str) -> None:
    """Measure the console. Exit code 1 when a target is missed."""
    found: list[Figure] = []
    for name in phases.split(","):
        if name not in PHASES:
            raise click.UsageError(f"there is no phase {name}; known: {', '.join(PHASES)}")
        found += PHASES[name](rounds, minutes)
    if form == "json":
        click.echo(json.dumps([asdict(figure) for figure in found], indent=2))
    else:
        click.echo("| figure | value | target |\n| --- | ---: | ---: |")
        for figure in found:
            target = f"< {figure.target:g} {figure.unit}" if figure.target is not None else ""
            click.echo(f"| {figure.name} | {figure.value:.2f} {figure.unit} | {target} |")
    if any(f.target is not None and f.value >= f.target for f in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
