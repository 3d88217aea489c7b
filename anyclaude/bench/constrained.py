"""The phase that holds answers to a grammar, against answers that are free."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from anyclaude.bench.figures import OURS
from anyclaude.bench.phases import Round
from anyclaude.bench.workload import Prompt, several
from anyclaude.types import JsonObject

STORY: JsonObject = {
    "name": "tell",
    "description": "Tells it, a line each.",
    "input_schema": {
        "type": "object",
        "properties": {
            "lines": {
                "type": "array",
                "items": {"type": "string", "minLength": 40},
                "minItems": 24,
            }
        },
        "required": ["lines"],
        "additionalProperties": False,
    },
}
"""A call of it is longer than any answer here may be."""
STREAMS = {1: "one stream", 4: "four streams"}


async def constrained(round: Round) -> None:
    """Our tokens a second over answers that must be a call, and over free ones.

    Both over prompts of one length that the server has read already, so that nothing but the
    writing is timed.
    """
    for count, name in STREAMS.items():
        tokens = round.sizes.decode_tokens if count == 1 else round.sizes.streams_tokens
        held = [replace(prompt, tool=STORY) for prompt in several(round.words, count)]
        free = await _as_long(round, held)
        await round.own.client.together(held, 1)
        rates = [await _rate(round, prompts, tokens) for prompts in (free, held)]
        for how, rate in zip(("free", "constrained"), rates, strict=True):
            round.add(f"{how}, {name}", OURS, rate, "tok/s")
        round.add(f"constrained to free, {name}", OURS, rates[1] / rates[0], "x")


async def _as_long(round: Round, held: Sequence[Prompt]) -> list[Prompt]:
    """The prompts without their tool, with so many words more; both are read once."""
    bare = [replace(prompt, tool=None) for prompt in held]
    long, short = [(await round.own.client.ask(one[0], 1)).prompt_tokens for one in (held, bare)]
    more = round.words.text(long - short, "in place of a tool")
    free = [replace(prompt, system=f"{prompt.system} {more}") for prompt in bare]
    await round.own.client.together(free, 1)
    return free


async def _rate(round: Round, prompts: Sequence[Prompt], tokens: int) -> float:
    started = time.perf_counter()
    answers = await round.own.client.together(prompts, tokens)
    took = time.perf_counter() - started
    made = [answer.output_tokens for answer in answers]
    if min(made) < tokens:
        round.figures.note(f"an answer ended after {min(made)} of {tokens} tokens")
    if prompts[0].tool and not all(answer.text.startswith("{") for answer in answers):
        round.figures.note("an answer that had to be a call wasn't one")
    return sum(made) / took
