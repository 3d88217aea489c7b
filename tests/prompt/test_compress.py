"""Turns told in a sixth of their words: nothing made up, what tells most first."""

from __future__ import annotations

import asyncio
from typing import cast

import numpy as np
import numpy.typing as npt

from anyclaude.prompt.compress import segments_of, summarise
from anyclaude.types import Message, TextBlock, ToolResultBlock, ToolUseBlock

FACT = "The staging database listens on port 6447."
FILLER = [
    f"line {n % 7}: the build went on as it always does and nothing of note was seen"
    for n in range(60)
]
TURNS = (
    Message("user", (TextBlock("Look around in the house. Please be quick."),)),
    Message("assistant", (ToolUseBlock("t", "Bash", {"command": "make"}),)),
    Message("user", (ToolResultBlock("t", (TextBlock("\n".join(FILLER)),)),)),
    Message("user", (TextBlock(f"Fine. {FACT} Go on."),)),
)


def told(room: int, turns: tuple[Message, ...] = TURNS) -> str:
    return asyncio.run(summarise(turns, room))


def test_every_line_was_said() -> None:
    said = {segment.text for segment in segments_of(TURNS)}
    for line in told(600).splitlines():
        assert line.partition(": ")[2] in said


def test_it_keeps_to_its_room_and_to_the_order() -> None:
    text = told(300)
    assert 0 < len(text) <= 300 and FACT in text
    assert told(10_000).index("Look around") < told(10_000).index(FACT)
    assert told(10) == ""
    assert told(100, ()) == ""


def test_what_is_alike_is_said_once() -> None:
    assert told(10_000).count("nothing of note") < 8


def test_it_is_the_same_every_time() -> None:
    assert told(500) == told(500)


class OneWay:
    """Texts with a word in common point the same way; others have no vector."""

    async def embed(self, text: str) -> npt.NDArray[np.float32]:
        if "line" not in text:
            raise ValueError("no word that is known")
        return cast("npt.NDArray[np.float32]", np.array([1, 0, 0, 0], dtype=np.float32))


def test_vectors_of_a_model_say_what_is_alike() -> None:
    text = asyncio.run(summarise(TURNS, 10_000, OneWay()))
    assert text.count("nothing of note") == 1 and FACT in text
