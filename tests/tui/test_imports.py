"""The model of the console knows nothing of textual, and the screen needs nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

PURE = ("state", "view", "filters", "format", "lines", "columns", "tabs", "panels", "source")
HEAVY = ("mlx", "mlx_lm", "duckdb", "transformers", "quart", "hypercorn", "httpx", "numpy")


def _loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", PURE)
def test_no_textual_in_the_model(name: str) -> None:
    assert "textual" not in _loaded(f"tui.{name}")


def test_nothing_heavy_before_the_first_paint() -> None:
    assert not _loaded("tui.__main__") & set(HEAVY)
