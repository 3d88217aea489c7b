"""Which parts of an answered request are worth writing to disk now.

A run of fewer than 64 tokens isn't worth a file: the next turn writes it along. A file holds
1,024 tokens or 64 MiB, so that the MLX thread turns one into bytes in some tens of
milliseconds. Once half of the day's writes are spent, only session heads and what was asked for
before are written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from anyclaude.caches.kv.disk_budget import DayBudget
from anyclaude.caches.kv.disk_format import TOKEN_BYTES, Kind, Run, prefix_digests
from anyclaude.caches.kv.disk_index import Index, Survey

RUN_TOKENS = 1024
RUN_BYTES = 64 * 2**20
MIN_RUN = 64
FILE_OVERHEAD = 512
DEEPEST = 2
"""States at the end of an answer's tokens that are written: there the next request starts if the
answer comes back as it was written, and at the boundary before it otherwise."""


def plan_writes(
    packed: bytes,
    survey: Survey,
    index: Index,
    budget: DayBudget,
    *,
    token_bytes: float,
    head: int,
    seen: int,
    states: Mapping[int, int],
) -> list[Run]:
    """Runs and states to write, in ascending order of where they end."""
    preferred = max(head, seen)
    whole = sum(stop - start for start, stop in survey.gaps)
    tight = not budget.allows(int(whole * token_bytes), preferred=False)
    cuts = {head, seen} if tight else {head}
    spending = 0
    runs: list[Run] = []
    for run in cut_runs(packed, survey.gaps, cuts, tokens_per_run(token_bytes)):
        cost = int((run.stop - run.start) * (token_bytes + TOKEN_BYTES)) + FILE_OVERHEAD
        if budget.allows(spending + cost, preferred=run.stop <= preferred):
            runs.append(run)
            spending += cost
    if index.states:
        reach = _reach(survey, runs, len(packed) // TOKEN_BYTES)
        usable = _apart([p for p in states if MIN_RUN <= p <= reach], head, survey.states)
        chosen: list[int] = []
        deepest = sorted(usable, reverse=True)
        for places, most in (([p for p in usable if p == head], 1), (deepest, DEEPEST)):
            taken = 0
            for place in places:
                if taken == most or place in survey.states:
                    break
                cost = states[place] + FILE_OVERHEAD
                if place in chosen or not budget.allows(
                    spending + cost, preferred=place <= preferred
                ):
                    continue
                chosen.append(place)
                spending += cost
                taken += 1
        runs += state_runs(packed, chosen)
    return sorted(runs, key=lambda run: (run.stop, run.kind))


def tokens_per_run(token_bytes: float) -> int:
    """Tokens that go into one file."""
    fitting = int(RUN_BYTES // max(token_bytes, 1)) // MIN_RUN * MIN_RUN
    return max(MIN_RUN, min(RUN_TOKENS, fitting))


def cut_runs(
    packed: bytes, gaps: list[tuple[int, int]], cuts: Collection[int], size: int
) -> list[Run]:
    """The gaps as runs of at most ``size`` tokens, cut at ``cuts`` too."""
    spans: list[tuple[int, int]] = []
    for start, stop in gaps:
        inner = sorted(c for c in cuts if start + MIN_RUN <= c < stop)
        for at, until in zip((start, *inner), (*inner, stop), strict=True):
            spans += ((a, min(a + size, until)) for a in range(at, until, size))
    spans = [(a, b) for a, b in spans if b - a >= MIN_RUN]
    edges = sorted({edge for span in spans for edge in span})
    digest = dict(zip(edges, prefix_digests(packed, edges), strict=True))
    return [
        Run(Kind.KV, a, b, digest[a], digest[b], packed[a * TOKEN_BYTES : b * TOKEN_BYTES])
        for a, b in spans
    ]


def state_runs(packed: bytes, positions: Collection[int]) -> list[Run]:
    """The states at ``positions``."""
    ordered = sorted(positions)
    digests = prefix_digests(packed, ordered)
    return [Run(Kind.STATE, p, p, d, d, b"") for p, d in zip(ordered, digests, strict=True)]


def _reach(survey: Survey, runs: list[Run], count: int) -> int:
    """Up to which token all KV will be on disk once ``runs`` are."""
    ends = {run.start: run.stop for run in runs}
    for start, stop in survey.gaps:
        at = start
        while at in ends:
            at = ends[at]
        if at < stop:
            return at
    return count


def _apart(places: Collection[int], head: int, held: Collection[int]) -> list[int]:
    """The places without those that save next to nothing over a state shortly before them."""
    kept = [*held, *(place for place in places if place == head)]
    for place in sorted(places):
        if not any(0 < place - other < MIN_RUN for other in kept):
            kept.append(place)
    return [place for place in places if place in kept]
