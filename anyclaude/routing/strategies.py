"""Which of several equal targets comes first.

A strategy orders candidates that may all be asked; who may is the dispatcher's business. Scores
are lower for what comes earlier, except where chance decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anyclaude.routing.figures import TargetFigures
from anyclaude.routing.values import (
    Asked,
    BackendTraits,
    Clock,
    Estimate,
    Score,
    StrategyName,
    Target,
)

BUFFER = 0.1
"""Share above the best within which targets are equally good, so that load spreads."""
EXPLORERS = 1
"""Requests at once that find out about a target of which nothing is known."""
EXPECTED_OUTPUT = 400.0
"""Tokens of an answer while none was counted."""
ASSUMED_FIRST_TOKEN = 2.0
"""Seconds to a backend's first token while it is unknown and moving there would cost a prefix."""
UNLIMITED = 64
"""The capacity of a backend without a limit, where load is compared."""
_WORST_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that may be asked. ``place`` is it as the route lists it.

    ``in_flight`` and ``waiting`` count requests at its backend, ``wait_seconds`` is how long one
    more would wait there for its turn.
    """

    place: Target
    target: Target
    traits: BackendTraits
    figures: TargetFigures
    in_flight: int = 0
    waiting: int = 0
    wait_seconds: float = 0.0
    estimate: Estimate | None = None

    @property
    def full(self) -> bool:
        """Whether a request would have to wait."""
        return 0 < self.traits.max_concurrency <= self.in_flight


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates, the best first, what each was thought of, and why the first is."""

    order: tuple[Candidate, ...]
    scores: tuple[Score, ...]
    reason: str


class Strategy(Protocol):
    """One route's; it may remember what it chose before."""

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking: ...


def strategy_for(name: StrategyName, rng: random.Random, clock: Clock) -> Strategy:
    """A strategy with nothing remembered, for one route."""
    makers: dict[StrategyName, Callable[[], Strategy]] = {
        "shuffle": lambda: Shuffle(rng),
        "round-robin": RoundRobin,
        "priority": lambda: Priority(rng),
        "least-busy": lambda: LeastBusy(rng),
        "usage": lambda: Usage(rng, clock),
        "latency": lambda: Latency(rng, clock),
        "cost": lambda: Cost(rng, clock),
        "cache-aware": lambda: CacheAware(rng, clock),
    }
    return makers[name]()


class Shuffle:
    """By chance, in proportion to the weights; those that are full come last."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        order = _free_first(drawn(candidates, self._rng))
        total = sum(c.traits.weight for c in candidates) or 1.0
        scores = [
            Score(c.target, -c.traits.weight, f"weight {_share(c.traits.weight, total)}")
            for c in order
        ]
        return Ranking(order, tuple(scores), f"drawn by weight {_of_first(scores)}")


class RoundRobin:
    """In turn, weighted, without bursts (the smooth kind that nginx has)."""

    def __init__(self) -> None:
        self._credit: dict[Target, float] = {}

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        turn = [c for c in candidates if not c.full] or list(candidates)
        for c in turn:
            self._credit[c.place] = self._credit.get(c.place, 0.0) + c.traits.weight
        ordered = sorted(turn, key=lambda c: -self._credit[c.place])
        scores = [
            Score(c.target, -self._credit[c.place], f"credit {self._credit[c.place]:.3g}")
            for c in ordered
        ]
        if ordered:
            self._credit[ordered[0].place] -= sum(c.traits.weight for c in turn)
        order = (*ordered, *(c for c in candidates if c not in turn))
        return Ranking(order, tuple(scores), "its turn")


class Priority:
    """Tier by tier, the lower number first; a tier that is full spills into the next.

    Within a tier by weight. Where nobody set priorities the order in the route is the order.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        by_hand = len({c.traits.priority for c in candidates}) > 1
        shuffled = drawn(candidates, self._rng) if by_hand else list(candidates)
        order = _free_first(sorted(shuffled, key=lambda c: c.traits.priority))
        scores = []
        for place, c in enumerate(candidates):
            tier = c.traits.priority if by_hand else place
            full = f", full with {c.in_flight}" if c.full else ""
            scores.append(Score(c.target, tier, f"tier {tier}{full}"))
        ranked = _in_order(order, scores)
        skipped = any(s.value < ranked[0].value for s in ranked[1:]) if ranked else False
        why = "earlier tiers are full" if skipped else "the first tier"
        return Ranking(order, ranked, f"{why} ({_of_first(ranked)})")


class LeastBusy:
    """The fewest requests in proportion to what the backend may have at once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        def score(c: Candidate) -> Score:
            capacity = c.traits.max_concurrency
            busy = c.in_flight + c.waiting
            text = f"{busy} of {capacity} busy" if capacity else f"{busy} at work"
            return Score(c.target, busy / (capacity or UNLIMITED), text)

        return _by_score(candidates, score, self._rng, "the least busy")


class Usage:
    """The fewest tokens in the last minute, in proportion to the weights."""

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        self._rng, self._clock = rng, clock

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        now = self._clock()

        def score(c: Candidate) -> Score:
            tokens = c.figures.tokens_this_minute(now)
            value = tokens / c.traits.weight if c.traits.weight > 0 else float("inf")
            return Score(c.target, value, f"{tokens:.0f} tokens this minute")

        return _by_score(candidates, score, self._rng, "used least", free_first=True)


class Latency:
    """The shortest expected time: waiting, first token, and the answer at its speed.

    Failures of the last minute make a target longer by what they cost. What nothing is known of
    is tried first, by :data:`EXPLORERS` requests at once, unless it only fails.
    """

    def __init__(self, rng: random.Random, clock: Clock, buffer: float = BUFFER) -> None:
        self._rng, self._clock, self._buffer = rng, clock, buffer

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        now = self._clock()
        output = expected_output(candidates, now)
        known, new, late = list[tuple[Candidate, Score]](), list[Candidate](), list[Candidate]()
        for c in candidates:
            first = c.figures.first_token_seconds(now, asked.tokens)
            if first is None:
                explored = c.figures.in_flight >= EXPLORERS
                failing = c.figures.failures_this_minute(now) > 0
                (late if explored or failing else new).append(c)
                continue
            speed = c.figures.tokens_per_second(now)
            whole = first + output / speed if speed else first
            seconds = _with_failures(c, now, _wait(c, now) + whole)
            text = f"{first:.2f} s to the first token, {seconds:.2f} s in all"
            known.append((c, Score(c.target, seconds, text)))
        order, scores = _best_with_buffer(known, self._buffer, self._rng)
        fresh = drawn(new, self._rng)
        unknown = [Score(c.target, 0.0, "nothing known yet") for c in fresh]
        last = [Score(c.target, float("inf"), "nothing known, left to others") for c in late]
        reason = "nothing is known of it yet" if fresh else f"fastest: {_of_first(scores)}"
        return Ranking((*fresh, *order, *late), (*unknown, *scores, *last), reason)


class Cost:
    """The lowest price of the prompt and an answer of the usual length."""

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        self._rng, self._clock = rng, clock

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        output = expected_output(candidates, self._clock())

        def score(c: Candidate) -> Score:
            traits = c.traits
            price = (traits.price_in * asked.tokens + traits.price_out * output) / 1e6
            return Score(c.target, price, f"about ${price:.4f}" if price else "free")

        return _by_score(candidates, score, self._rng, "cheapest")


class CacheAware:
    """The shortest expected time to the first token, live prefix matches included.

    The local engine says what of the prompt it holds, how long its queue is and how fast it
    reads; the others are known by their figures. A backend that nothing is known of is taken to
    need :data:`ASSUMED_FIRST_TOKEN` rather than tried first: it would cost the prefix.
    """

    def __init__(self, rng: random.Random, clock: Clock, buffer: float = 0.0) -> None:
        self._rng, self._clock, self._buffer = rng, clock, buffer

    def rank(self, asked: Asked, candidates: Sequence[Candidate]) -> Ranking:
        now = self._clock()
        scored = [(c, self._score(asked, c, now)) for c in candidates]
        order, scores = _best_with_buffer(scored, self._buffer, self._rng)
        return Ranking(order, scores, f"first token soonest: {_of_first(scores)}")

    def _score(self, asked: Asked, c: Candidate, now: float) -> Score:
        if c.estimate is not None and (seconds := c.estimate.seconds) is not None:
            seconds = _with_failures(c, now, _wait(c, now) + seconds)
            e = c.estimate
            text = f"{seconds:.2f} s, {e.matched_tokens} of {e.prompt_tokens} tokens in its cache"
            return Score(c.target, seconds, text)
        first = c.figures.first_token_seconds(now, asked.tokens)
        assumed = ASSUMED_FIRST_TOKEN if first is None else first
        seconds = _with_failures(c, now, _wait(c, now) + assumed)
        return Score(c.target, seconds, f"{seconds:.2f} s{' assumed' if first is None else ''}")


# ------------------------------------------------------------------------------- what they share


def drawn(candidates: Sequence[Candidate], rng: random.Random) -> list[Candidate]:
    """All of them, each place drawn in proportion to the weights; without weight comes last."""
    left, order = list(candidates), list[Candidate]()
    while left:
        total = sum(max(0.0, c.traits.weight) for c in left)
        if total <= 0:
            return order + left
        point, chosen = rng.random() * total, left[-1]
        for c in left:
            point -= max(0.0, c.traits.weight)
            if point < 0:
                chosen = c
                break
        left.remove(chosen)
        order.append(chosen)
    return order


def expected_output(candidates: Sequence[Candidate], now: float) -> float:
    """Tokens of an answer, the same for all who are compared."""
    known = [n for c in candidates if (n := c.figures.output_tokens(now)) is not None]
    return sum(known) / len(known) if known else EXPECTED_OUTPUT


def _wait(c: Candidate, now: float) -> float:
    """For a turn: as it looks now, or as it has been, which sees what sessions will bring."""
    return max(c.wait_seconds, c.figures.wait_seconds(now))


def _with_failures(c: Candidate, now: float, seconds: float) -> float:
    """Adds what the failures before a success cost, at the last minute's ratio."""
    ratio = min(_WORST_RATIO, c.figures.error_ratio(now))
    if ratio <= 0:
        return seconds
    lost = max(c.figures.failure_seconds(now), seconds)
    return seconds + ratio / (1.0 - ratio) * lost


def _by_score(
    candidates: Sequence[Candidate],
    score: Callable[[Candidate], Score],
    rng: random.Random,
    reason: str,
    *,
    free_first: bool = False,
) -> Ranking:
    """The lowest first, chance by weight between equals."""
    scored = [(c, score(c)) for c in drawn(candidates, rng)]
    scored.sort(key=lambda pair: pair[1].value)
    order = tuple(c for c, _ in scored)
    if free_first:
        order = _free_first(order)
    ranked = _in_order(order, [s for _, s in scored])
    return Ranking(order, ranked, f"{reason}: {_of_first(ranked)}")


def _best_with_buffer(
    scored: Sequence[tuple[Candidate, Score]], buffer: float, rng: random.Random
) -> tuple[tuple[Candidate, ...], tuple[Score, ...]]:
    """The lowest first, after a draw among those within the buffer of it."""
    if not scored:
        return (), ()
    ordered = sorted(scored, key=lambda pair: pair[1].value)
    limit = ordered[0][1].value * (1.0 + buffer)
    near = [c for c, s in ordered if s.value <= limit]
    order = (*drawn(near, rng), *(c for c, s in ordered if s.value > limit))
    return order, _in_order(order, [s for _, s in ordered])


def _free_first(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    return (*(c for c in candidates if not c.full), *(c for c in candidates if c.full))


def _in_order(order: Sequence[Candidate], scores: Sequence[Score]) -> tuple[Score, ...]:
    by_target = {score.target: score for score in scores}
    return tuple(by_target[c.target] for c in order)


def _of_first(scores: Sequence[Score]) -> str:
    return scores[0].text if scores else "no choice"


def _share(weight: float, total: float) -> str:
    return f"{weight:g} ({100 * weight / total:.0f} %)"
