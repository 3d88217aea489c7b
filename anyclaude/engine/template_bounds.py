"""Where in a prompt's tokens each message ends.

The conversation is rendered once more with a mark behind each message's words, and the marks
are looked for in the text. A message's end is put where the tokens stay the same however the
conversation goes on: what a template may write behind a turn was found out by trying. Where
that can't be told, a message shares the end of the one before it.
"""

from __future__ import annotations

import bisect
import itertools
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from anyclaude.engine.template_messages import StandIn, TurnKind
from anyclaude.engine.template_probe import Probe, TemplateRefused, common_prefix
from anyclaude.engine.token_runs import Pieces, TokenRuns
from anyclaude.types import Tokens

_SECRET = secrets.token_hex(8)
_MARK = re.compile(rf"anyclaudeend{_SECRET}n(\d+)(user|system|tool|assistant|call)(\d+)e")
_SPACE = " \n\n"
_REACH = 48  # characters after a turn that tokens before it may depend on
_WINDOW = 384  # characters before the end of a text that are tokenised again
_OVERLAP = 8  # tokens that must agree before that is believed

_Text = TypeVar("_Text", str, bytes, Tokens)


def mark(message_index: int, kind: TurnKind, space: int) -> str:
    """A mark that no client can know, in letters that no template alters; ``space`` is how many
    characters of white space the words end in."""
    return f"anyclaudeend{_SECRET}n{message_index}{kind}{space}e"


@dataclass(frozen=True, slots=True)
class Source:
    """What a prompt was composed of.

    ``text`` is the template's own text with stand-ins in it, ``spans`` the parts of it that the
    runs of text hold, and ``marked`` renders it again with a mark behind each message.
    """

    text: str
    spans: Sequence[tuple[int, int]]
    stand_ins: Mapping[int, StandIn]
    thinking: bool
    marked: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Closing:
    """What a template writes behind a turn: ``text`` in any case, then one of ``rests``."""

    text: str
    rests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _End:
    """The words of a message end at ``at`` in the template's text."""

    at: int
    index: int
    kind: TurnKind


@dataclass(slots=True)
class _Run:
    """One run of text in tokens: where its pieces begin in it and in the prompt."""

    pieces: Pieces
    first_token: int
    starts: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        texts = (len(piece) for piece, _ in self.pieces)
        tokens = (len(tokens) for _, tokens in self.pieces)
        self.starts = list(itertools.accumulate(texts, initial=0))
        self.counts = list(itertools.accumulate(tokens, initial=self.first_token))


class Bounds:
    """Finds message ends for one template and its tokenizer; safe to use from any thread."""

    def __init__(self, probe: Probe, runs: TokenRuns, ends: Sequence[str]) -> None:
        self._probe = probe
        self._runs = runs
        self._ends = tuple(ends)
        self._closings: dict[tuple[TurnKind, bool], _Closing | None] = {}
        self._spaced: dict[TurnKind, bool] = {}

    def message_ends(
        self, messages: int, source: Source, runs: Sequence[Pieces | Tokens], tail_start: int
    ) -> tuple[int, ...]:
        """For each message the token count at its end, none beyond ``tail_start``.

        ``runs`` are the prompt's runs, those of text in pieces.
        """
        found = self._find(source)
        texts = _text_runs(runs)
        ends: list[int] = []
        last = 0
        for at, again in itertools.groupby(_last_of_each(messages, found)):
            if at is not None:
                count = self._count(found[at], source, texts, tail_start)
                last = max(last, min(count, tail_start))
            ends += [last for _ in again]
        return tuple(ends)

    # -------------------------------------------------------------------------------- in text

    def _find(self, source: Source) -> list[_End]:
        """Where messages end in the template's text, as far as marking changed nothing else."""
        try:
            words, *marks = _MARK.split(source.marked())
        except TemplateRefused:  # of a tool's name, say
            words, marks = "", []
        found: list[_End] = []
        plain = [words]
        at = len(words)
        for index, name, space, words in zip(*[iter(marks)] * 4, strict=True):
            kind = cast(TurnKind, name)
            kept = int(space) if int(space) and self._keeps_space(kind, source.thinking) else 0
            found.append(_End(at + kept, int(index), kind))
            plain.append(words)
            at += len(words)
        same = common_length(source.text, "".join(plain))
        found = [end for end in found if end.at <= same]
        # The text that follows an echo begins where the echo ends.
        starts = [start for start, _ in source.spans[1:]]
        for (index, stand_in), start in zip(sorted(source.stand_ins.items()), starts, strict=True):
            found.append(_End(start, index, "call" if stand_in.as_call else "assistant"))
        found.sort(key=lambda end: end.at)
        return self._past_calls(found, source)

    def _past_calls(self, found: Sequence[_End], source: Source) -> list[_End]:
        """The mark of a call is in its name: its end is where the turn is closed."""
        past: list[_End] = []
        limits = [end.at for end in found] + [len(source.text)]
        for end, limit in zip(found, limits[1:], strict=True):
            if end.kind != "call" or end.index in source.stand_ins:
                past.append(end)
            elif (at := self._closed(source.text, end.at, limit)) is not None:
                past.append(_End(at, end.index, "call"))
        return past

    def _closed(self, text: str, start: int, stop: int) -> int | None:
        places = [at for end in self._ends if (at := text.find(end, start, stop)) >= 0]
        return min(places, default=None)

    def _keeps_space(self, kind: TurnKind, thinking: bool) -> bool:
        if kind not in self._spaced:
            seen = self._probe.what_follows(kind, thinking, space=_SPACE)
            self._spaced[kind] = bool(seen) and all(text.startswith(_SPACE) for text in seen)
        return self._spaced[kind]

    def _closing(self, kind: TurnKind, thinking: bool) -> _Closing | None:
        key = (kind, thinking)
        if key not in self._closings:
            seen = set(self._probe.what_follows(kind, thinking))
            if kind == "call":
                closed = [(text, self._closed(text, 0, len(text))) for text in seen]
                seen = {text[at:] if at is not None else "" for text, at in closed}
            text = common_prefix(*seen) if seen else ""
            rests = tuple(sorted({rest[len(text) :][:_REACH] for rest in seen}))
            self._closings[key] = _Closing(text, rests) if seen else None
        return self._closings[key]

    # ------------------------------------------------------------------------------ in tokens

    def _count(self, end: _End, source: Source, texts: Sequence[_Run], tail_start: int) -> int:
        """Tokens up to an end, or less when the last of them depend on what follows."""
        closing = self._closing(end.kind, source.thinking)
        number = bisect.bisect_right([start for start, _ in source.spans], end.at) - 1
        start, stop = source.spans[number]
        if end.at > stop:
            return tail_start
        if closing is None:
            return 0
        at, rests = end.at, closing.rests
        if source.text.startswith(closing.text, at) and at + len(closing.text) <= stop:
            at += len(closing.text)
        else:
            rests = tuple(closing.text + rest for rest in rests)
        run, offset = texts[number], at - start
        if not offset:
            return run.first_token
        piece = bisect.bisect_left(run.starts, offset)
        if run.starts[piece] == offset and all(self._cuts(rest) for rest in rests):
            return run.counts[piece]
        words, tokens = run.pieces[piece - 1]
        length = offset - run.starts[piece - 1]
        after = {"" if self._cuts(rest) else rest for rest in rests}
        return run.counts[piece - 1] + self._stable(words, tokens, length, after | {""})

    def _cuts(self, rest: str) -> bool:
        return not rest or self._runs.starts_piece(rest)

    def _stable(self, text: str, tokens: Sequence[int], length: int, rests: Collection[str]) -> int:
        """How many of the tokens of ``text`` stay if it is cut at ``length`` and goes on with
        any of ``rests`` instead."""
        if length == len(text) > _WINDOW:
            window = text[-_WINDOW:]
            whole = self._runs.encode(window)
            lost = len(whole) - self._shared(whole, window, rests)
            tail = lost + _OVERLAP
            # Where both agree on more than what is lost, they agree on what is lost.
            if tail < len(whole) and tuple(tokens[-tail:]) == whole[-tail:]:
                return len(tokens) - lost
        return self._shared(tuple(tokens), text[:length], rests)

    def _shared(self, tokens: Tokens, text: str, rests: Collection[str]) -> int:
        return min(common_length(tokens, self._runs.encode(text + rest)) for rest in ("", *rests))


def _text_runs(runs: Sequence[Pieces | Tokens]) -> list[_Run]:
    texts: list[_Run] = []
    count = 0
    for run in runs:
        if isinstance(run, list):
            texts.append(_Run(run, count))
            count = texts[-1].counts[-1]
        else:
            count += len(run)
    return texts


def _last_of_each(messages: int, found: Sequence[_End]) -> list[int | None]:
    """For each message the place in ``found`` of the last end before any later message's."""
    first: dict[int, int] = {}
    for at, end in enumerate(found):
        first.setdefault(end.index, at)
    places: list[int | None] = []
    limit = len(found)
    for index in range(messages - 1, -1, -1):
        places.append(limit - 1 if limit else None)
        limit = min(limit, first.get(index, limit))
    return places[::-1]


def common_length(first: _Text, second: _Text) -> int:
    """How much both begin with."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit
    while low < high:  # slices compare far faster than a loop over 100,000 tokens
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
