"""What differs between two long texts, line by line.

Prompts of one conversation share nearly everything, so what both begin and end with is taken
off first; lines that occur once in each then serve as anchors (patience diff), and only small
gaps are compared line against line. The work is bounded: what is left over counts as replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

BUDGET = 4_000_000
"""Lines looked at, all rounds together, before the rest is called replaced."""

_CELLS = 40_000  # of a gap that is compared line against line

Block = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring lines of both texts: the same in both, or the one in place of the other."""

    same: bool
    before: range
    after: range


def compare(before: Sequence[str], after: Sequence[str], budget: int = BUDGET) -> list[Run]:
    """The runs that both texts fall into, in order and without gaps."""
    runs: list[Run] = []
    left = right = 0
    for at, to, count in (*_joined(_blocks(before, after, budget)), (len(before), len(after), 0)):
        if left < at or right < to:
            runs.append(Run(False, range(left, at), range(right, to)))
        if count:
            runs.append(Run(True, range(at, at + count), range(to, to + count)))
        left, right = at + count, to + count
    return runs


def _joined(blocks: list[Block]) -> list[Block]:
    """The blocks in order, those that touch as one."""
    found: list[Block] = []
    for at, to, count in sorted(blocks):
        if found and (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]) == (at, to):
            found[-1] = (found[-1][0], found[-1][1], found[-1][2] + count)
        else:
            found.append((at, to, count))
    return found


def _blocks(a: Sequence[str], b: Sequence[str], budget: int) -> list[Block]:
    found: list[Block] = []
    waiting = [(0, len(a), 0, len(b))]
    while waiting:
        low, high, start, end = waiting.pop()
        ahead = _same(a, low, high, b, start, end, 1)
        if ahead:
            found.append((low, start, ahead))
            low, start = low + ahead, start + ahead
        back = _same(a, low, high, b, start, end, -1)
        if back:
            high, end = high - back, end - back
            found.append((high, end, back))
        if low == high or start == end:
            continue
        budget -= high - low + end - start
        anchors = _anchors(a, low, high, b, start, end) if budget > 0 else []
        for i, j in anchors:
            if low < i and start < j:
                waiting.append((low, i, start, j))
            found.append((i, j, 1))
            low, start = i + 1, j + 1
        cells = (high - low) * (end - start)
        if anchors:
            waiting.append((low, high, start, end))
        elif cells <= min(_CELLS, budget):
            budget -= cells
            matcher = SequenceMatcher(None, a[low:high], b[start:end], autojunk=False)
            found += [(low + i, start + j, n) for i, j, n in matcher.get_matching_blocks() if n]
    return found


def _same(
    a: Sequence[str], low: int, high: int, b: Sequence[str], start: int, end: int, step: int
) -> int:
    """How many lines both stretches begin with, or with a step of -1 end with."""
    i, j = (low, start) if step > 0 else (high - 1, end - 1)
    room = count = min(high - low, end - start)
    while count and a[i] == b[j]:
        i, j, count = i + step, j + step, count - 1
    return room - count


def _anchors(
    a: Sequence[str], low: int, high: int, b: Sequence[str], start: int, end: int
) -> list[tuple[int, int]]:
    """Lines that occur once in each stretch, as many as stand in the same order in both."""
    here, there = _once(a, low, high), _once(b, start, end)
    tops: list[int] = []
    piles: list[tuple[int, int, int]] = []  # place in a, place in b, the one before or -1
    heads: list[int] = []
    for text, i in here.items():
        j = there.get(text)
        if j is None:
            continue
        pile = bisect_left(tops, j)
        piles.append((i, j, heads[pile - 1] if pile else -1))
        tops[pile : pile + 1] = [j]
        heads[pile : pile + 1] = [len(piles) - 1]
    found: list[tuple[int, int]] = []
    at = heads[-1] if heads else -1
    while at >= 0:
        i, j, at = piles[at]
        found.append((i, j))
    return found[::-1]


def _once(lines: Sequence[str], low: int, high: int) -> dict[str, int]:
    places: dict[str, int] = {}
    for index in range(low, high):
        places[lines[index]] = -1 if lines[index] in places else index
    return {text: index for text, index in places.items() if index >= 0}


def shared_ends(one: str, other: str) -> tuple[int, int]:
    """How many characters two lines begin with alike, and then how many they end with."""
    room = min(len(one), len(other))
    head = _longest(room, lambda size: one[:size] == other[:size])
    tail = _longest(room - head, lambda size: one[len(one) - size :] == other[len(other) - size :])
    return head, tail


def _longest(room: int, fits: Callable[[int], bool]) -> int:
    """The largest size that still fits; whatever is smaller fits too."""
    low, high = 0, room
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
