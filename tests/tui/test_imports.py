"""The model of the console knows nothing of textual, and the screen needs nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tui.bench.terminal import Terminal

PURE = (
    "state",
    "view",
    "filters",
    "format",
    "lines",
    "columns",
    "series",
    "plots",
    "trees",
    "tree_lines",
    "charts",
    "backends",
    "inspect",
    "details",
    "panels",
    "source",
    "history",
    "history_sql",
    "sessions",
    "sql.words",
    "sql.completion",
    "sql.history",
    "sql.grid",
    "sql.target",
)
HEAVY = (
    "mlx",
    "mlx_lm",
    "duckdb",
    "transformers",
    "quart",
    "hypercorn",
    "httpx",
    "numpy",
    "jsonschema",
    "psutil",
    "llguidance",
    "textual_serve",
    "aiohttp",
    "textual_plotext",
)
ON_DEMAND = ("tui.rooms.", "tui.dialogs.", "tui.bench", "tui.demo", "tui.web", "anyclaude.runtime")
START = """
import os, sys
from tui.app import Console

def ready(self):
    with open(sys.argv[-1], "w") as file:
        file.write(" ".join(sys.modules))
    os._exit(0)

Console.on_ready = ready
from tui.__main__ import main
main(sys.argv[1:-1])
"""


def _loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", PURE)
def test_no_textual_in_the_model(name: str) -> None:
    assert "textual" not in _loaded(f"tui.{name}")


def test_nothing_heavy_before_the_first_paint(tmp_path: Path) -> None:
    """As a person starts it: in a terminal, with a configuration that holds something."""
    config, found = tmp_path / "anyclaude.toml", tmp_path / "modules"
    config.write_text('[ui]\ntheme = "harbour"\n[ui.keymap]\n"view.follow" = "f5"\n')
    command = [sys.executable, "-c", START, "--config", str(config), "--port", "0", str(found)]
    env = {**os.environ, "ANYCLAUDE_DATA_DIR": str(tmp_path)}
    with Terminal(command, env) as terminal:
        assert terminal.wait(60), terminal.tail()
    modules = set(found.read_text().split())
    assert "tui.__main__" in modules and "tui.widgets.requests" in modules
    assert not {name.partition(".")[0] for name in modules} & set(HEAVY)
    assert not [name for name in modules if name.startswith(ON_DEMAND)]
