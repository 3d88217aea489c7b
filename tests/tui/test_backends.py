"""Backends as lines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from anyclaude.control import BackendInfo
from anyclaude.events import EngineState
from tests.tui.fake_source import LOADING, MODEL, READY, vitals
from tests.tui.room_scenes import backends as scene
from tui import backends
from tui.lines import plain_text

FAILED = EngineState("failed", MODEL, 0.0, "[metal] no memory")
DOWN = BackendInfo("mlx", "mlx", False, 0, None, "[metal] no memory")


@pytest.mark.parametrize("width", [27, 37, 57, 77, 117])
def test_a_row_has_its_width(width: int) -> None:
    for backend in scene():
        assert cell_len(backends.row(backend, READY, width).plain) == width
    assert cell_len(backends.heading(width).plain) == width


def test_a_row_says_how_it_is() -> None:
    local, other, _ = scene()
    text = backends.row(local, READY, 117).plain
    assert "● healthy mlx" in text and "0.40s" in text and MODEL in text
    text = backends.row(other, READY, 117).plain
    assert "x down" in text and "no answer in 30 s [tls]" in text and MODEL not in text


@pytest.mark.parametrize(
    ("engine", "word"),
    [(LOADING, "loading"), (EngineState("unloaded"), "idle"), (FAILED, "failed")],
)
def test_an_engine_that_does_not_answer(engine: EngineState, word: str) -> None:
    assert backends.health(DOWN, engine)[1] == word


def test_facts_and_the_key_that_helps() -> None:
    local, other, _ = scene()
    well = plain_text(backends.facts(local, READY, vitals()))
    assert "8,192 tokens of context" in well and "1 running, 1 waiting" in well
    assert "19 GB of 36 GB" in well and " 71%" in well and "R starts" not in well
    assert "62%" in plain_text(backends.facts(DOWN, LOADING, None))
    failed = plain_text(backends.facts(DOWN, FAILED, None))
    assert "[metal] no memory" in failed and "R starts the engine again" in failed
    idle = plain_text(backends.facts(DOWN, EngineState("unloaded"), None))
    assert "m picks a model to load" in idle
    remote = plain_text(backends.facts(other, FAILED, vitals()))
    assert "timed out" in remote and "no request has ended yet" in remote
    assert MODEL not in remote and "R starts" not in remote


def test_a_backend_that_is_left_alone() -> None:
    _, _, studio = scene()
    assert "x open" in backends.row(studio, READY, 117).plain
    assert "qwen3-coder-30b-a3b +1" in backends.row(studio, READY, 117).plain
    text = plain_text(backends.facts(studio, READY, None))
    assert "open for another 22s" in text and "2, 1 waiting" in text
    assert "62% of the last minute's" in text and "gemma-3-12b" in text
    assert "e closes the breaker now" in text
    trying = replace(studio, breaker="half-open")
    assert "trying" in backends.row(trying, READY, 117).plain
    by_hand = replace(studio, open_for_s=None)
    assert "open until it is reset" in plain_text(backends.facts(by_hand, READY, None))
