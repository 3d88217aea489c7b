"""What was put into a conversation is known to every later process."""

from __future__ import annotations

from pathlib import Path

from anyclaude.search.insertions import KEPT_S, Insertions
from tests.search.kit import Clock, opened


async def test_kept_by_conversation_and_turn(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        kept = Insertions(file, clock)
        await kept.start()
        assert not kept.any
        await kept.keep("s1", b"a", "text \ud83d")
        await kept.keep("s1", b"b", "")
        assert kept.any
        assert await kept.find("s1", [b"a", b"b", b"c"]) == {b"a": "text ?", b"b": ""}
        assert await kept.find("s2", [b"a"]) == {}
    async with opened(tmp_path, clock) as file:
        kept = Insertions(file, clock)
        await kept.start()
        assert kept.any
        many = [bytes([n, m]) for n in range(40) for m in range(40)]
        assert await kept.find("s1", [*many, b"b", b"a"]) == {b"a": "text ?", b"b": ""}


async def test_a_conversation_nobody_comes_back_to_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as file:
        await Insertions(file, clock).keep("s1", b"a", "text")
        clock.at += KEPT_S
        late = Insertions(file, clock)
        await late.start()
        assert not late.any and await late.find("s1", [b"a"]) == {}


async def test_a_file_that_cannot_be_used_costs_only_the_restart(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "search.sqlite").mkdir()
    async with opened(tmp_path, clock, []) as file:
        kept = Insertions(file, clock)
        await kept.start()
        await kept.keep("s1", b"a", "text")
        assert await kept.find("s1", [b"a"]) == {b"a": "text"}
