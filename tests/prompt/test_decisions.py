"""What was decided for conversations, in memory and in a file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from anyclaude.events import SystemEvent
from anyclaude.prompt import decisions as module
from anyclaude.prompt.decisions import Decision, Decisions


async def test_nothing_is_decided_for_a_conversation_without_a_name() -> None:
    decisions = Decisions()
    await decisions.decide("", tier="strong")
    assert await decisions.of("") == Decision()
    await decisions.close()


async def test_each_is_decided_on_its_own() -> None:
    decisions = Decisions()
    await decisions.decide("a", tier="strong")
    await decisions.decide("a", cut="{}")
    assert await decisions.of("a") == Decision("strong", "{}")
    assert await decisions.of("b") == Decision()
    await decisions.close()


async def test_they_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "prompts.sqlite"
    first = Decisions(path)
    await first.decide("a", tier="light", cut="x")
    await first.close()
    await first.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = Decisions(path)
    assert await second.of("a") == Decision("light", "x")
    await second.close()


async def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    now = iter(range(100))
    decisions = Decisions(tmp_path / "p.sqlite", clock=lambda: next(now))
    for name in "abc":
        await decisions.decide(name, tier=name)
    assert await decisions.of("a") == Decision()
    assert await decisions.of("b") == Decision("b")
    await decisions.close()


async def test_who_only_asks_is_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    kept = Decisions()
    await kept.decide("a", tier="strong")
    for name in ("b", "c", "d"):
        await kept.of(name)
    assert await kept.of("a") == Decision()


async def test_a_file_that_cant_be_used_is_told_of_and_costs_nothing(tmp_path: Path) -> None:
    said: list[SystemEvent] = []
    blocked = tmp_path / "file"
    blocked.write_text("")
    decisions = Decisions(blocked / "p.sqlite", report=said.append)
    await decisions.decide("a", tier="strong")
    assert await decisions.of("a") == Decision("strong")
    assert [event.kind for event in said] == ["prompt"]
    await decisions.close()
