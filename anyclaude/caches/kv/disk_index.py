"""What the files of one model hold, in memory: which of them cover a prompt, and what is missing.

A file is found by where its run starts and by the hash of all tokens before it, so files need
no links among each other: one may be gone, come back longer, or branch off in the middle of
another. A lookup hashes the prompt once and never touches the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from anyclaude.caches.kv.disk_format import TOKEN_BYTES, Kind, PrefixHasher, Run


class Entry:
    """A file: ``run`` is ``None`` when it is another model's, ``ready`` once it can be read."""

    __slots__ = ("path", "ready", "run", "size", "used")

    def __init__(self, path: Path, size: int, used: float, run: Run | None, ready: bool) -> None:
        self.path = path
        self.size = size
        self.used = used
        self.run = run
        self.ready = ready


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens ``start`` to ``stop`` of a prompt, as ``entry`` has them; it begins there."""

    entry: Entry
    run: Run
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class DiskMatch:
    """``length`` tokens of a prompt can be had from the disk, by these files.

    ``kv``: the model has KV that is cut by token, so a state needs what is before it.
    """

    length: int = 0
    kv: bool = True
    runs: tuple[Part, ...] = ()
    states: tuple[Part, ...] = ()

    def chain(self, have: int, until: int) -> list[Part]:
        """The fewest files that cover ``have`` to ``until``; ends early at a gap."""
        parts: list[Part] = []
        best: Part | None = None
        for part in (*self.runs, None):
            if best is not None and have < until and (part is None or part.start > have):
                parts.append(best)
                have, best = best.stop, None
            if part is not None and have < part.stop and part.start <= have:
                best = part if best is None or part.stop > best.stop else best
        return parts


@dataclass(frozen=True, slots=True)
class Survey:
    """Which tokens of a prompt no file has, which files have some, and the states by position."""

    gaps: list[tuple[int, int]] = field(default_factory=list)
    runs: list[Entry] = field(default_factory=list)
    states: dict[int, Entry] = field(default_factory=dict)


class Index:
    """The runs and states of one model. Not locked: the tier's lock guards it.

    ``kv``: the model has KV that can be cut by token; ``states``: it also needs a snapshot.
    """

    def __init__(self, *, kv: bool, states: bool) -> None:
        self.kv = kv
        self.states = states
        self._at: dict[int, list[Entry]] = {}
        self._positions: list[int] | None = []

    def add(self, entry: Entry) -> None:
        self._at.setdefault(_place(entry), []).append(entry)
        self._positions = None

    def remove(self, entry: Entry) -> None:
        """Forgets the file; one that isn't there is no error."""
        place = _place(entry)
        entries = self._at.get(place, [])
        if entry in entries:
            entries.remove(entry)
            if not entries:
                del self._at[place]
                self._positions = None

    def __iter__(self) -> Iterator[Entry]:
        """Every file, in no order."""
        return (entry for entries in self._at.values() for entry in entries)

    def holds(self, run: Run) -> bool:
        """Whether a file for exactly ``run`` is there or being written."""
        return any(entry.run == run for entry in self._at.get(run.start, ()))

    def find(self, packed: bytes) -> DiskMatch:
        """What can be read of a prompt (its packed tokens)."""
        count = len(packed) // TOKEN_BYTES
        runs: list[Part] = []
        states: list[Part] = []
        covered = 0 if self.kv else count
        hasher = PrefixHasher(packed)
        for position in self._sorted():
            if position > covered:
                break
            for part in self._parts(position, hasher, packed):
                if not part.entry.ready:
                    continue
                if part.run.kind is Kind.STATE:
                    states.append(part)
                elif self.kv:
                    runs.append(part)
                    covered = max(covered, part.stop)
        if self.states:
            covered = states[-1].stop if states else 0
        return DiskMatch(covered, self.kv, tuple(runs), tuple(states))

    def survey(self, packed: bytes) -> Survey:
        """What of a prompt is on disk, anywhere in it; writes under way count."""
        count = len(packed) // TOKEN_BYTES
        covered = 0
        survey = Survey()
        hasher = PrefixHasher(packed)
        for position in self._sorted():
            if position > count:
                break
            for part in self._parts(position, hasher, packed):
                if part.run.kind is Kind.STATE:
                    survey.states[position] = part.entry
                    continue
                survey.runs.append(part.entry)
                if part.start > covered:
                    survey.gaps.append((covered, part.start))
                covered = max(covered, part.stop)
        if covered < count and self.kv:
            survey.gaps.append((covered, count))
        return survey

    def _parts(self, position: int, hasher: PrefixHasher, packed: bytes) -> Iterator[Part]:
        """The files at ``position`` that fit. Few share a token with the prompt there, which is
        looked at before the prompt is hashed up to it."""
        at = position * TOKEN_BYTES
        digest = b""
        for entry in self._at[position]:
            run = entry.run
            if run is None or not packed.startswith(run.tokens[:TOKEN_BYTES], at):
                continue
            digest = digest or hasher.before(position)
            if run.prefix == digest:
                stop = position + shared_tokens(run.tokens, packed, position)
                yield Part(entry, run, position, stop)

    def _sorted(self) -> list[int]:
        if self._positions is None:
            self._positions = sorted(self._at)
        return self._positions


def _place(entry: Entry) -> int:
    assert entry.run is not None
    return entry.run.start


def shared_tokens(run: bytes, packed: bytes, start: int) -> int:
    """How many packed tokens of ``run`` stand in ``packed`` from token ``start`` on."""
    count = min(len(run), len(packed) - start * TOKEN_BYTES) // TOKEN_BYTES
    rest = packed[start * TOKEN_BYTES : (start + count) * TOKEN_BYTES]
    if run.startswith(rest):
        return count
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        at, until = low * TOKEN_BYTES, middle * TOKEN_BYTES
        if rest[at:until] == run[at:until]:
            low = middle
        else:
            high = middle - 1
    return low
