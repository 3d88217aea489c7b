"""Old turns told in about a sixth of their words: segment, embed, cluster, pick, reassemble.

It is extractive: every line of the summary was said, and nothing is made up. What is alike is
said once, and what tells most (figures, names, decisions, errors) goes first. The same turns
give the same summary.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from anyclaude.prompt.sections import sentences, split
from anyclaude.types import Message, TextBlock, ToolResultBlock, ToolUseBlock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SHARE = 1 / 6
_LONGEST = 300
_ALIKE = 0.8
"""Cosine from which on two segments say the same."""
_HASHED = 256
_YIELD = 16
"""Texts that are embedded before the loop gets its turn."""

_WORD = re.compile(r"[\w./:@-]*\w")
_TELLING = re.compile(
    r"\b(?:remember|decided|decision|must|never|always|important|because|error|failed|fixed|"
    r"password|token|key|port|version|deadline|name is|is called|prefer|agreed|note)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d|[A-Z]{2,}|[a-z][A-Z]|_\w|/\w")


class Embedder(Protocol):
    """Vectors of length 1; see :class:`anyclaude.caches.semantic.embed.Embedder`."""

    async def embed(self, text: str) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of one turn. ``said`` weighs who said it: the user's words count most."""

    speaker: str
    text: str
    said: float


async def summarise(
    messages: Sequence[Message], room: int, embedder: Embedder | None = None
) -> str:
    """What the messages say, in at most ``room`` characters."""
    segments = await asyncio.to_thread(segments_of, messages)
    if not segments:
        return ""
    vectors = [await _embedded(s.text, embedder, at) for at, s in enumerate(segments)]
    return await asyncio.to_thread(_assembled, segments, vectors, room)


def segments_of(messages: Sequence[Message]) -> list[Segment]:
    """The turns in pieces: sentences of text, lines of results, and each call in one line."""
    found: list[Segment] = []
    for message in messages:
        for block in message.content:
            match block:
                case TextBlock():
                    weight = 1.5 if message.role == "user" else 1.0
                    found += [Segment(message.role, t, weight) for t in _pieces(block.text)]
                case ToolUseBlock():
                    said = f"{block.name} {json.dumps(dict(block.input), ensure_ascii=False)}"
                    found.append(Segment("call", _clip(said), 0.8))
                case ToolResultBlock():
                    for part in block.content:
                        if isinstance(part, TextBlock):
                            found += [Segment("result", t, 0.7) for t in _lines(part.text)]
                case _:
                    pass
    return found


def _pieces(text: str) -> list[str]:
    return [
        _clip(sentence)
        for section in split(text)
        for sentence in (
            sentences(section.body) if section.form in ("paragraph", "item") else (section.body,)
        )
        if sentence.strip()
    ]


def _lines(text: str) -> list[str]:
    return [
        _clip(sentence)
        for line in text.splitlines()
        for sentence in sentences(line)
        if line.strip()
    ]


def _clip(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


async def _embedded(
    text: str, embedder: Embedder | None, at: int
) -> npt.NDArray[np.float32] | None:
    if embedder is None:
        return None
    if at % _YIELD == 0:
        await asyncio.sleep(0)
    try:
        return await embedder.embed(text)
    except ValueError:
        return None  # A text without a word that the model knows.


def _assembled(
    segments: Sequence[Segment],
    vectors: Sequence[npt.NDArray[np.float32] | None],
    room: int,
) -> str:
    """The leaders of the clusters that tell most, in the order in which they were said."""
    import numpy as np

    words = [_words(segment.text) for segment in segments]
    told = Counter(word for found in words for word in set(found))
    scores = [
        _score(segment, found, told, len(segments))
        for segment, found in zip(segments, words, strict=True)
    ]
    chosen: list[int] = []
    length = 0
    given = [vector for vector in vectors if vector is not None]
    size = len(given[0]) if given else _HASHED
    leaders = np.zeros((64, size), dtype=np.float32)
    for index in sorted(range(len(segments)), key=lambda i: (-scores[i], i)):
        cost = len(_line(segments[index])) + 1
        if length + cost > room:
            continue
        known = vectors[index]
        if known is None and given:
            known = np.zeros(size, dtype=np.float32)  # Like nothing else, as far as is known.
        vector = known if known is not None else _hashed(words[index], size)
        if chosen and float(np.max(leaders[: len(chosen)] @ vector)) >= _ALIKE:
            continue
        if len(chosen) == len(leaders):
            leaders = np.vstack([leaders, np.zeros_like(leaders)])
        leaders[len(chosen)] = vector
        chosen.append(index)
        length += cost
    return "\n".join(_line(segments[index]) for index in sorted(chosen))


def _line(segment: Segment) -> str:
    return f"- {segment.speaker}: {segment.text}"


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _score(segment: Segment, words: Sequence[str], told: Counter[str], total: int) -> float:
    """How much a segment tells for its length: rare words, figures, and words of decisions."""
    if not words:
        return 0.0
    rare = sum(math.log((1 + total) / told[word]) for word in set(words))
    figures = len(_FIGURE.findall(segment.text))
    telling = 1.5 if _TELLING.search(segment.text) else 1.0
    density = (rare + 0.5 * min(figures, 12)) / math.sqrt(8 + len(words))
    return segment.said * telling * density


def _hashed(words: Sequence[str], size: int) -> npt.NDArray[np.float32]:
    """A vector of the words themselves, where no model gives one; the same on every machine."""
    import numpy as np

    vector = np.zeros(size, dtype=np.float32)
    for word in words:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        vector[number % size] += 1.0 if number >> 63 else -1.0
    norm = float(np.linalg.norm(vector))
    return vector / np.float32(norm) if norm else vector
