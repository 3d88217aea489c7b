"""What stored conversations take in a real process, against what the tree says they take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine import eight_conversations as script

ROOT = Path(__file__).parents[2]
GIVEN_BACK = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Else glibc keeps up to 64 MB at the end of a thread's arena, which malloc_trim leaves alone."""


@pytest.mark.model
def test_eight_conversations_over_one_prefix_take_little_more_than_one(
    embedded_model_dir: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", script.__name__, str(embedded_model_dir)],
        cwd=ROOT,
        env=GIVEN_BACK,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["prefix_tokens"] > script.PREFIX_WORDS
    one = found["prefix_tokens"] * script.TOKEN_BYTES
    tails = found["tail_tokens"] * script.TOKEN_BYTES
    assert one + tails <= found["counted"] <= 1.15 * one + tails
    assert found["grown"] == pytest.approx(found["counted"], rel=0.15)
    assert found["grown"] <= 1.15 * one + tails
    assert found["left"] < 0.15 * one, "what was flushed is given back"
