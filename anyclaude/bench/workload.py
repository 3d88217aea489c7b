"""The prompts of a run: random sentences of a seed, so that no cache of an earlier run can help.

Everybody measured in a round gets the same prompts; every round has its own. Sentences, since a
small model has nothing to say after thousands of random words, and an answer without a token
can't be timed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.types import JsonObject

_SUBJECTS = (
    "The file", "The server", "A user", "The shell", "The project", "This function", "The window",
    "The table", "A message", "The log", "The module", "A search", "The branch", "Another tool",
)  # fmt: skip
_VERBS = (
    "opens", "reads", "writes", "keeps", "moves", "changes", "needs", "sends", "shows", "checks",
    "starts", "stops", "saves", "finds",
)  # fmt: skip
_OBJECTS = (
    "the other file", "a new key", "the last line", "an old table", "every name", "the whole list",
    "a short note", "the next word", "its own cache", "the first module", "some text", "the input",
)  # fmt: skip
_WHEN = (
    "today", "later", "again", "at once", "in the morning", "with care", "by hand", "as planned",
    "for now", "every day", "on the server", "in the folder",
)  # fmt: skip

_TASK = "You answer every question about this at length and with many words."
LONG_TASK = "Tell a very long story about the sea and the people who live by it."
EXPLAIN = (
    "a ship", "a clock", "a bridge", "an engine", "a mill", "a camera", "a radio", "a plane",
    "a lock", "a pump", "a kite", "a lamp", "a scale", "a drum", "a loom", "a crane",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """Words, full stops counted, which are about a token each; ``*_tokens`` are output tokens.

    ``prefixes`` are the system prompts of the four ways to ask again; ``beside`` is the cold
    prompt that must not hold up a stream, ``stream`` the context of the stream that a request of
    ``joiner`` words joins, ``shared`` the prefix of ``conversations`` conversations. What
    takes long is the cold prompt: turn, branch and back are asked ``cycles`` times behind each.
    """

    prefixes: tuple[int, ...] = (1500, 6000)
    beside: int = 3000
    stream: int = 6000
    joiner: int = 500
    shared: int = 4000
    conversations: int = 8
    decode_tokens: int = 96
    streams_tokens: int = 64
    cycles: int = 1


QUICK = Sizes((300,), 400, 400, 100, 300, 3, 24, 12)
"""A look in a minute; its figures say little about long prompts."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation: turns alternate user, assistant, user, …; a ``tool`` must be called."""

    system: str
    turns: tuple[str, ...]
    tool: JsonObject | None = None

    def then(self, answer: str, question: str) -> Prompt:
        """The conversation after ``answer``, grown by one more question."""
        return Prompt(self.system, (*self.turns, answer or "ok", question))

    def messages(self) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        return [{"role": roles[i % 2], "content": text} for i, text in enumerate(self.turns)]


@dataclass(frozen=True, slots=True)
class Words:
    """The random texts of one round."""

    seed: str

    def text(self, count: int, name: str) -> str:
        """Sentences of about ``count`` words; the same for the same seed, count and name."""
        chosen = random.Random(f"{self.seed}/{name}/{count}")
        sentences: list[str] = []
        made = 0
        while made < count:
            parts = [chosen.choice(kind) for kind in (_SUBJECTS, _VERBS, _OBJECTS, _WHEN)]
            sentences.append(f"{' '.join(parts)}.")
            made += len(sentences[-1].split()) + 1
        return " ".join(sentences)

    def system(self, count: int, name: str = "shared") -> str:
        """A system prompt of this length; the phases that use one name share it."""
        return f"{self.text(count - len(_TASK.split()), f'system of {name}')}\n\n{_TASK}"

    def question(self, name: str, count: int = 20) -> str:
        return f"{name}: what does this mean? {self.text(count, name)}"

    def fresh(self, system: int, name: str) -> Prompt:
        """A prompt that shares no more with another than its first words."""
        return Prompt(self.system(system, name), (self.question(name),))

    def story(self, name: str) -> str:
        """Asks for an answer of minutes."""
        chosen = random.Random(f"{self.seed}/title of {name}")
        return f"{LONG_TASK} Call it: {chosen.choice(_OBJECTS)} {chosen.choice(_WHEN)}"

    def long_answer(self, name: str, system: int = 0) -> Prompt:
        """Makes even a small model talk for minutes, over a system prompt of that length."""
        text = self.system(system, name) if system else "You answer at length."
        return Prompt(text, (self.story(name),))


def several(words: Words, count: int) -> Sequence[Prompt]:
    """Prompts for ``count`` streams at once, each with an answer of its own."""
    system = f"You answer at length. {words.text(8, 'streams')}"
    tasks = (EXPLAIN[i % len(EXPLAIN)] for i in range(count))
    return tuple(
        Prompt(system, (f"Explain in many words how {task} works, step by step.",))
        for task in tasks
    )
