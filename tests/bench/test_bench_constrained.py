"""Answers held to a grammar against free ones: the same length of prompts, and what is told."""

from __future__ import annotations

from typing import Any

from anyclaude.bench.constrained import STORY, STREAMS, constrained
from anyclaude.bench.figures import OURS
from tests.bench.double import Reply, answer, serving
from tests.bench.test_phases import SIZES, Asked, round_of

WRITTEN = answer("{", "x", output=SIZES.decode_tokens)


def longer(parts: list[str], tokens: int) -> list[str]:
    """The same answer to a prompt of so many tokens more."""
    return [part.replace('"input_tokens": 10', f'"input_tokens": {10 + tokens}') for part in parts]


async def test_both_are_asked_over_prompts_of_one_length() -> None:
    with serving(Reply(longer(WRITTEN, 25)), Reply(WRITTEN)) as double:
        round = round_of(Asked(OURS, double))
        await constrained(round)
    bodies: list[dict[str, Any]] = [body for _, _, body in double.asked]
    one, four = bodies[:6], bodies[6:]
    assert len(four) == 2 + 4 * 4
    held, bare, free, read, timed_free, timed_held = one
    assert held["tools"] == [STORY]
    assert held["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert "tools" not in bare and "tools" not in free
    assert bare["system"] == held["system"]
    more = free["system"][0]["text"].removeprefix(bare["system"][0]["text"])
    assert 20 <= len(more.replace(".", " .").split()) <= 35, "the tool took 25 tokens"
    assert read == {**timed_held, "max_tokens": 1}
    assert free == {**timed_free, "max_tokens": 1}
    assert timed_held["max_tokens"] == SIZES.decode_tokens

    assert round.figures.notes == []
    for name in STREAMS.values():
        found = [round.figures.find(f"{how}, {name}") for how in ("free", "constrained")]
        rates = [figure.samples[OURS][0] for figure in found if figure is not None]
        ratio = round.figures.find(f"constrained to free, {name}")
        assert ratio is not None
        assert ratio.samples[OURS] == [rates[1] / rates[0]]


async def test_answers_that_are_too_short_or_free_are_told() -> None:
    with serving(Reply(answer("Once"))) as double:
        round = round_of(Asked(OURS, double))
        await constrained(round)
    assert round.figures.notes == [
        "an answer ended after 1 of 4 tokens",
        "an answer that had to be a call wasn't one",
    ]
