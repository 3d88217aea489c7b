"""The way to an answer's next round: kept alive while it waits, and let go of when nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from anyclaude.backend import Finish
from anyclaude.errors import Overloaded
from anyclaude.keepalive import KeepAlive, KeepAliveTimes
from anyclaude.rounds import Round, Rounds
from anyclaude.types import Block, Usage
from tests.test_pipeline import ADMISSION, FakeGeneration

ENDED = Finish("stop", Usage(10, output_tokens=3))


class Opening:
    """Opens the next round when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.generation = FakeGeneration((), ADMISSION)
        self.asked: list[tuple[int, int]] = []
        self.error: Overloaded | None = None
        self.cancelled = False

    async def __call__(self, rolled: Sequence[Block], number: int, max_tokens: int) -> Round:
        self.asked.append((number, max_tokens))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return Round(None, self.generation, None, None)  # type: ignore[arg-type]


def rounds(opening: Opening) -> Rounds:
    return Rounds("req_1", frozenset(), None, opening, 8)  # type: ignore[arg-type]


def often() -> KeepAlive:
    return KeepAlive(KeepAliveTimes(ping=0.001), time.monotonic)


async def test_a_round_that_waits_for_its_turn_is_kept_alive() -> None:
    opening = Opening()
    found: list[Round | None] = []
    made = rounds(opening)
    async with aclosing(made.next((), ENDED, 7, often())) as following:
        async for step in following:
            found.append(step)
            if len(found) == 2:
                opening.gate.set()
    assert found[:2] == [None, None] and found[-1] is not None
    assert found[-1].generation is opening.generation
    assert (opening.asked, made.number) == ([(2, 7)], 2)
    assert made.together(ENDED).usage.output_tokens == 6


async def test_what_keeps_it_from_beginning_is_raised() -> None:
    opening = Opening()
    opening.gate.set()
    opening.error = Overloaded("3 requests are waiting")
    made = rounds(opening)
    with pytest.raises(Overloaded):
        async for _ in made.next((), ENDED, 7, often()):
            pass
    assert made.number == 1


@pytest.mark.parametrize("opened", [False, True])
async def test_who_stops_waiting_leaves_nothing_behind(opened: bool) -> None:
    opening = Opening()
    following = rounds(opening).next((), ENDED, 7, often())
    assert await anext(following) is None
    if opened:
        opening.gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await following.aclose()
    assert opening.cancelled is not opened
    assert opening.generation.cancelled.is_set() is opened
