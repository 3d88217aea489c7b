"""Routing strategies on fake targets, in simulated time: who gets what, and how long it takes.

Three targets of different speed and failure answer the turns of many sessions. Each keeps the
prefixes of the sessions it has answered, as real ones do, so that a session that moves pays for
it. The dispatcher is the real one.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias

from anyclaude.bench.simulated_time import run_simulated
from anyclaude.errors import ApiError, UpstreamError
from anyclaude.routing.dispatch import Dispatcher, RoutingOptions
from anyclaude.routing.values import (
    STRATEGIES,
    Asked,
    BackendTraits,
    Estimate,
    Route,
    StrategyName,
    Target,
)
from anyclaude.types import JsonValue

TURNS = 20
"""Requests of a session."""
_FIRST_PROMPT = (10_000, 16_000)
_GROWTH = (300, 2_500)
_OUTPUT = (60, 500)
_THINKING_S = (2.0, 30.0)
_SESSION_EVERY_S = 15.0
_KEPT_SESSIONS = 400

Weather: TypeAlias = Literal["steady", "outage"]


@dataclass(frozen=True, slots=True)
class FakeTarget:
    """``base_s`` before anything, then the prompt at ``read_tps`` and the answer at ``write_tps``.

    A share ``fails`` of its requests ends in a 503 after ``fails_after_s``. ``knows``: it tells
    the router what of a prompt it holds, as the local engine does.
    """

    traits: BackendTraits
    base_s: float
    read_tps: float
    write_tps: float
    fails: float
    fails_after_s: float
    knows: bool = False


TARGETS = (
    FakeTarget(
        BackendTraits("fast", priority=0, max_concurrency=6, price_in=3.0, price_out=15.0),
        base_s=0.4,
        read_tps=9_000.0,
        write_tps=90.0,
        fails=0.002,
        fails_after_s=0.3,
    ),
    FakeTarget(
        BackendTraits("middle", priority=1, max_concurrency=12, price_in=0.5, price_out=2.0),
        base_s=0.8,
        read_tps=4_000.0,
        write_tps=50.0,
        fails=0.005,
        fails_after_s=0.5,
    ),
    FakeTarget(
        BackendTraits("slow", priority=2, max_concurrency=16, price_in=1.0, price_out=4.0),
        base_s=0.2,
        read_tps=1_000.0,
        write_tps=25.0,
        fails=0.01,
        fails_after_s=2.0,
        knows=True,
    ),
)
OUTAGE = ("middle", 1_200.0, 2_400.0)
"""Which target refuses connections in bad weather, and between which seconds."""


_SKIES: tuple[tuple[bool, Weather], ...] = (
    (False, "steady"),
    (True, "steady"),
    (True, "outage"),
)


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """``requests`` for each row of the table; the same seed gives the same table."""

    requests: int = 10_000
    seed: int = 6
    strategies: tuple[StrategyName, ...] = STRATEGIES


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one strategy. ``shares`` are of the answers, ``together`` the share of
    requests that their session's most used target answered. ``to_shuffle`` compares mean times
    to the first token with those of shuffle in the same weather and with the same affinity.
    Times are the client's, queue and failed tries included; ``whole_mean`` is to the answer's end.
    """

    strategy: StrategyName
    affinity: bool
    weather: Weather
    shares: dict[str, float]
    errors: int
    retries: int
    ttft_mean: float
    ttft_p95: float
    whole_mean: float
    together: float
    to_shuffle: float | None


@dataclass(frozen=True, slots=True)
class RoutingReport:
    plan: RoutingPlan
    rows: tuple[Row, ...]

    def find(self, strategy: StrategyName, *, affinity: bool, weather: Weather = "steady") -> Row:
        """Raises StopIteration for a row that wasn't asked for."""
        wanted = (strategy, affinity, weather)
        return next(r for r in self.rows if (r.strategy, r.affinity, r.weather) == wanted)

    def json(self) -> dict[str, JsonValue]:
        return {
            "requests": self.plan.requests,
            "seed": self.plan.seed,
            "rows": [asdict(row) for row in self.rows],
        }


def run_routing(
    plan: RoutingPlan, progress: Callable[[float, str], None] = lambda fraction, what: None
) -> RoutingReport:
    """Every strategy without affinity, with it, and with it through an outage."""
    rows: list[Row] = []
    shuffled: dict[tuple[bool, Weather], float] = {}
    runs = [(affinity, weather, name) for affinity, weather in _SKIES for name in plan.strategies]
    for done, (affinity, weather, name) in enumerate(runs):
        progress(done / len(runs), "")
        tally = run_simulated(_World(plan, name, affinity, weather).run())
        row = tally.row(name, affinity, weather, shuffled.get((affinity, weather)))
        if name == "shuffle":
            shuffled[affinity, weather] = row.ttft_mean
        rows.append(row)
    progress(1.0, "")
    return RoutingReport(plan, tuple(rows))


# --------------------------------------------------------------------------------- the world


@dataclass(slots=True)
class _Tally:
    answered: Counter[str] = field(default_factory=Counter)
    by_session: dict[str, Counter[str]] = field(default_factory=dict)
    ttfts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    errors: int = 0
    retries: int = 0

    def row(
        self,
        strategy: StrategyName,
        affinity: bool,
        weather: Weather,
        shuffled: float | None,
    ) -> Row:
        total = self.answered.total()
        mean = statistics.fmean(self.ttfts)
        if strategy == "shuffle":
            shuffled = mean
        most = sum(max(counts.values()) for counts in self.by_session.values())
        return Row(
            strategy,
            affinity,
            weather,
            {t.traits.name: self.answered[t.traits.name] / total for t in TARGETS},
            self.errors,
            self.retries,
            mean,
            sorted(self.ttfts)[int(0.95 * len(self.ttfts))],
            statistics.fmean(self.wholes),
            most / total,
            mean / shuffled if shuffled else None,
        )


class _Server:
    """A fake target at work."""

    def __init__(self, fake: FakeTarget, rng: random.Random, down: tuple[float, float]) -> None:
        self.fake = fake
        self._rng = rng
        self._down = down
        self._held: OrderedDict[str, int] = OrderedDict()
        self._reading = 0

    def held(self, session: str, prompt: int) -> int:
        return min(prompt, self._held.get(session, 0))

    def estimate(self, asked: Asked) -> Estimate:
        held = self.held(asked.session, asked.prompt_tokens)
        return Estimate(asked.prompt_tokens, held, self.fake.base_s, self._speed())

    async def read(self, session: str, prompt: int) -> int:
        """Reads the prompt up to the first token; the tokens that were new to it."""
        fake, name = self.fake, self.fake.traits.name
        now = asyncio.get_running_loop().time()
        if self._down[0] <= now < self._down[1]:
            await asyncio.sleep(0.01)
            raise _error(name, 502, "network", answered=False)
        if self._rng.random() < fake.fails:
            await asyncio.sleep(fake.fails_after_s)
            raise _error(name, 503, "resource", answered=True)
        new = prompt - self.held(session, prompt)
        self._reading += 1
        try:
            noise = self._rng.uniform(0.8, 1.2)
            await asyncio.sleep(noise * (fake.base_s + new / self._speed()))
        finally:
            self._reading -= 1
        self._held[session] = prompt
        self._held.move_to_end(session)
        if len(self._held) > _KEPT_SESSIONS:
            self._held.popitem(last=False)
        return new

    def _speed(self) -> float:
        """Prompts that are read at the same time share some of the machine."""
        return self.fake.read_tps / (1.0 + 0.25 * max(0, self._reading - 1))


class _World:
    """One run: its own random numbers, the same for every strategy as far as that can be."""

    def __init__(
        self, plan: RoutingPlan, strategy: StrategyName, affinity: bool, weather: Weather
    ) -> None:
        self._plan = plan
        self._strategy = strategy
        self._affinity = affinity
        self._servers = {
            fake.traits.name: _Server(
                fake,
                random.Random(f"{plan.seed}/{fake.traits.name}"),
                OUTAGE[1:] if weather == "outage" and fake.traits.name == OUTAGE[0] else (0.0, 0.0),
            )
            for fake in TARGETS
        }
        self._tally = _Tally()

    async def run(self) -> _Tally:
        loop = asyncio.get_running_loop()
        targets = tuple(Target(name) for name in self._servers)
        dispatcher = Dispatcher(
            (Route("*", targets, self._strategy, self._affinity),),
            [fake.traits for fake in TARGETS],
            RoutingOptions(),
            clock=loop.time,
            rng=random.Random(f"{self._plan.seed}/router"),
            estimate=self._estimate,
        )
        left = self._plan.requests
        async with asyncio.TaskGroup() as group:
            for number in range((left + TURNS - 1) // TURNS):
                turns = min(TURNS, left - number * TURNS)
                group.create_task(self._session(dispatcher, number, turns))
        return self._tally

    def _estimate(self, asked: Asked, target: Target) -> Estimate | None:
        server = self._servers[target.backend]
        return server.estimate(asked) if server.fake.knows else None

    async def _session(self, dispatcher: Dispatcher, number: int, turns: int) -> None:
        rng, name = random.Random(f"{self._plan.seed}/{number}"), f"s{number}"
        await asyncio.sleep(number * _SESSION_EVERY_S)
        prompt = rng.randint(*_FIRST_PROMPT)
        for _ in range(turns):
            output = rng.randint(*_OUTPUT)
            await self._request(dispatcher, Asked("m", prompt_tokens=prompt, session=name), output)
            prompt += output + rng.randint(*_GROWTH)
            await asyncio.sleep(rng.uniform(*_THINKING_S))

    async def _request(self, dispatcher: Dispatcher, asked: Asked, output: int) -> None:
        loop, tally = asyncio.get_running_loop(), self._tally
        began = loop.time()

        async def attempt(target: Target) -> int:
            return await self._servers[target.backend].read(asked.session, asked.prompt_tokens)

        try:
            answer = await dispatcher.run(asked, attempt)
        except ApiError:
            tally.errors += 1
            return
        answer.handle.first_content(answer.value)
        backend = answer.decision.target.backend
        tally.ttfts.append(loop.time() - began)
        tally.retries += answer.retries
        tally.answered[backend] += 1
        tally.by_session.setdefault(asked.session, Counter())[backend] += 1
        await asyncio.sleep(output / self._servers[backend].fake.write_tps)
        answer.handle.finished(asked.prompt_tokens, output)
        tally.wholes.append(loop.time() - began)


def _error(
    name: str, status: int, category: Literal["network", "resource"], *, answered: bool
) -> UpstreamError:
    return UpstreamError(
        "no room" if answered else "connection refused",
        backend=name,
        status=status,
        type="overloaded_error" if answered else "api_error",
        category=category,
        retryable=True,
        answered=answered,
    )


# --------------------------------------------------------------------------------- the table

HEADINGS = (
    "strategy",
    "affinity",
    *(fake.traits.name for fake in TARGETS),
    "errors",
    "retries",
    "TTFT mean",
    "TTFT p95",
    "/ shuffle",
    "whole answer",
    "together",
)


def cells_of(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """A row of text under :data:`HEADINGS` for each."""
    return [
        (
            row.strategy if row.weather == "steady" else f"{row.strategy}, {OUTAGE[0]} down",
            "yes" if row.affinity else "no",
            *(f"{100 * share:.1f} %" for share in row.shares.values()),
            str(row.errors),
            str(row.retries),
            f"{row.ttft_mean:.2f} s",
            f"{row.ttft_p95:.2f} s",
            f"{row.to_shuffle:.2f}" if row.to_shuffle is not None else "",
            f"{row.whole_mean:.1f} s",
            f"{100 * row.together:.1f} %",
        )
        for row in rows
    ]


def markdown(report: RoutingReport) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ("---", "---", *["---:"] * (len(HEADINGS) - 2)), *cells_of(report.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
