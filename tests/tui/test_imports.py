"""The model of the console knows nothing of textual, and the screen needs nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tui.bench.terminal import Terminal

ROOT = Path(__file__).parents[2]
CONTRACT = "what the console knows, and the lines it says it in, need no textual"
# How the console is started, and what it is measured and shown with.
AROUND = ("__main__", "docs", "bench", "web")
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


def _pure() -> frozenset[str]:
    """The modules and packages that the import contract keeps from textual."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (names,) = (one["source_modules"] for one in contracts if one["name"] == CONTRACT)
    return frozenset(names)


def _imported(module: Path) -> set[str]:
    """The names of all modules that a file imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_a_module_either_draws_or_is_kept_from_textual() -> None:
    """So that none which draws nothing is forgotten in the contract."""
    pure = _pure()
    for file in (ROOT / "tui").rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        top = ".".join(name.split(".")[:2])
        if top in pure or name == "tui" or top.removeprefix("tui.") in AROUND:
            continue
        imported = _imported(file)
        draws = any(one.partition(".")[0] == "textual" for one in imported)
        ours = {".".join(one.split(".")[:2]) for one in imported if one.startswith("tui.")}
        empty = not imported - {"__future__", "__future__.annotations"}
        assert draws or empty or ours - pure, f"{name} needs no textual: name it in the contract"


def test_the_model_is_loaded_without_textual() -> None:
    code = f"import sys, {', '.join(sorted(_pure()))}; sys.exit('textual' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
