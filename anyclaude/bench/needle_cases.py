"""Long conversations with one fact in each, planted where a policy may take it out or must not.

A conversation is an agent's: the user asks, the model reads files, the user goes on. It is made
of words drawn by a seed, so that the same plan asks the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from anyclaude.types import JsonValue

Place: TypeAlias = Literal[
    "system", "first words", "last words", "said early", "said midway", "said late",
    "read early", "read midway", "read late",
]  # fmt: skip
PLACES: tuple[Place, ...] = get_args(Place)
MUST: frozenset[Place] = frozenset({"system", "first words", "last words"})
"""Where nothing may be taken out, whatever the policy."""

_AT: dict[Place, float] = {
    "said early": 0.1,
    "said midway": 0.5,
    "said late": 0.97,
    "read early": 0.1,
    "read midway": 0.5,
    "read late": 0.97,
}
_CHARS_PER_TOKEN = 3.45  # Of these words, with what stands around them.
_RESULT_CHARS = 1_200
_THINGS = ("access code", "meeting room", "service port", "build number", "project name")
_OWNERS = ("the harbour office", "the north depot", "the mill", "the old library", "the ferry")
_COLOURS = ("amber", "cobalt", "crimson", "ivory", "jade", "ochre", "umber", "violet")
_WORDS = (
    "window", "river", "table", "garden", "winter", "paper", "corner", "silver", "engine",
    "letter", "market", "bridge", "shadow", "morning", "handle", "forest", "kitchen", "yellow",
    "pocket", "circle", "harvest", "ladder", "station", "button", "mirror", "thunder", "blanket",
    "copper", "island", "tunnel", "basket", "candle", "meadow", "pencil", "saddle", "timber",
    "velvet",
)  # fmt: skip
_TOOL: JsonValue = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {
        "type": "object",
        "properties": {"file_path": {"type": "string"}},
        "required": ["file_path"],
    },
}


@dataclass(frozen=True, slots=True)
class Needle:
    """A fact, the question for it, and where in a conversation of ``tokens`` it is planted."""

    place: Place
    tokens: int
    number: int
    fact: str
    question: str
    value: str

    def body(self, max_tokens: int) -> dict[str, JsonValue]:
        """The request that asks for it."""
        draw = random.Random(f"{self.place} {self.tokens} {self.number}")
        turns = max(3, round(self.tokens * _CHARS_PER_TOKEN / (_RESULT_CHARS + 220)))
        planted = round(_AT.get(self.place, -1.0) * (turns - 1))
        messages: list[JsonValue] = []
        for turn in range(turns):
            here = turn == planted and self.place in _AT
            said, read = _words(draw, 90), _lines(draw, _RESULT_CHARS)
            if turn == 0 and self.place == "first words":
                said = f"{self.fact} {said}"
            elif here and self.place.startswith("said"):
                said = f"{said} {self.fact}"
            elif here:
                at = len(read) // 2
                read = [*read[:at], self.fact, *read[at:]]
            messages += _turn(turn, said, "\n".join(read))
        asked = f"{self.fact} " if self.place == "last words" else ""
        messages.append({"role": "user", "content": f"{asked}{self.question}"})
        system = "You answer questions about what was said, with the value alone."
        if self.place == "system":
            system = f"{system} {self.fact}"
        return {
            "model": "bench",
            "max_tokens": max_tokens,
            "temperature": 0.0,
            "stream": False,
            "system": system,
            "tools": [_TOOL],
            "messages": messages,
        }


def needles(tokens: int, count: int, places: Sequence[Place] = PLACES) -> Iterator[Needle]:
    """``count`` facts for every place."""
    for place in places:
        for number in range(count):
            draw = random.Random(f"fact {place} {tokens} {number}")
            thing, owner = draw.choice(_THINGS), draw.choice(_OWNERS)
            value = f"{draw.choice(_COLOURS)}-{draw.randrange(1000, 9999)}"
            fact = f"The {thing} of {owner} is {value}."
            question = f"What is the {thing} of {owner}? Answer with the value alone."
            yield Needle(place, tokens, number, fact, question, value)


def _turn(number: int, said: str, read: str) -> list[JsonValue]:
    id = f"toolu_{number:04}"
    return [
        {"role": "user", "content": f"Please look at file {number}. {said}"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": f"I read file {number}."},
                {
                    "type": "tool_use",
                    "id": id,
                    "name": "Read",
                    "input": {"file_path": f"/notes/{number}.txt"},
                },
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": read}]},
        {"role": "assistant", "content": f"File {number} has nothing that matters here."},
    ]


def _words(draw: random.Random, length: int) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < length:
        words.append(draw.choice(_WORDS))
    return " ".join(words).capitalize() + "."


def _lines(draw: random.Random, length: int) -> list[str]:
    """Half of what a file has is prose, half of it looks like code, with figures and paths."""
    return [_words(draw, 80) if at % 2 else _code(draw) for at in range(length // 65)]


def _code(draw: random.Random) -> str:
    folder, file, name, other = draw.choices(_WORDS, k=4)
    return f"{folder}/{file}.py:{draw.randrange(999)}: {name} = {other}({draw.randrange(99)})"
