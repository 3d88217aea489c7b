"""The commands of the palette and how they are found: by letters in order, best match first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD_START = 8
_NEXT_LETTER = 6
_LETTER = 1
_FIRST = 4


@dataclass(frozen=True, slots=True)
class Command:
    """Something that can be done now; ``action`` is what textual runs for it."""

    title: str
    action: str
    keys: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A command that fits the query, and which letters of its title did."""

    command: Command
    score: int
    letters: frozenset[int]


def find(commands: Iterable[Command], query: str) -> list[Match]:
    """The commands that fit every word of ``query``, best first; all of them for an empty one."""
    words = query.lower().split()
    found: list[Match] = []
    for command in commands:
        match = _match(command, words)
        if match is not None:
            found.append(match)
    if words:
        found.sort(key=lambda match: (-match.score, len(match.command.title)))
    return found


def _match(command: Command, words: Sequence[str]) -> Match | None:
    title = command.title.lower()
    score = 0
    letters: set[int] = set()
    for word in words:
        places = _places(title, word)
        if places is None:
            # Its explanation is searched for whole words only: letters would fit anything.
            if word not in command.help.lower():
                return None
            continue
        score += _score(title, places)
        letters.update(places)
    return Match(command, score, frozenset(letters))


def _places(title: str, word: str) -> list[int] | None:
    """Where the letters of ``word`` are, in order: together where they can be, else from the
    beginnings of words on."""
    starts = [at for at in range(len(title)) if title.startswith(word, at)]
    if starts:
        best = min(starts, key=lambda at: (not _begins(title, at), at))
        return list(range(best, best + len(word)))
    best_places: list[int] | None = None
    for first in (at for at, letter in enumerate(title) if letter == word[0]):
        places = _walk(title, word, first)
        if places and (best_places is None or _score(title, places) > _score(title, best_places)):
            best_places = places
    return best_places


def _walk(title: str, word: str, first: int) -> list[int] | None:
    places = [first]
    for letter in word[1:]:
        after = places[-1] + 1
        if title[after : after + 1] == letter:
            places.append(after)
            continue
        later = [at for at in range(after, len(title)) if title[at] == letter]
        if not later:
            return None
        places.append(next((at for at in later if _begins(title, at)), later[0]))
    return places


def _begins(title: str, at: int) -> bool:
    return at == 0 or not title[at - 1].isalnum()


def _score(title: str, places: Sequence[int]) -> int:
    score = _FIRST if places[0] == 0 else 0
    for index, at in enumerate(places):
        score += _LETTER
        if _begins(title, at):
            score += _WORD_START
        elif index and places[index - 1] == at - 1:
            score += _NEXT_LETTER
    return score
