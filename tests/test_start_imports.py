"""A start imports what it needs, and what first requests need follows on a thread."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LATER = ("aiohttp", "jsonschema", "numpy", "transformers")
START = f"""
import asyncio, os, sys
from pathlib import Path
from anyclaude.background import warm
from anyclaude.config.load import load_settings
from anyclaude.runtime import Runtime

async def main():
    here = Path.cwd()
    settings = load_settings(config=here / "c.toml", overrides={{}}, env=os.environ, cwd=here)
    runtime = Runtime(settings)
    await runtime.start()
    print(*(name for name in {LATER!r} if name in sys.modules), sep=",")
    await warm()
    print(*(name for name in {LATER!r} if name in sys.modules), sep=",")
    await runtime.stop()

asyncio.run(main())
"""


def test_a_start_leaves_to_requests_what_they_alone_need(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\nport = 0\n[backends.mlx]\nenabled = false\n")
    done = subprocess.run(
        [sys.executable, "-c", START],
        cwd=tmp_path,
        env={**os.environ, "ANYCLAUDE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["", "aiohttp,jsonschema"]
