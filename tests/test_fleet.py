"""Breakers of two instances over one state that both see."""

from __future__ import annotations

from dataclasses import dataclass, field

from anyclaude.backends import faults
from anyclaude.caches.shared.state import LocalState
from anyclaude.config.settings import BackendSettings, Settings
from anyclaude.fleet import SharedBreakers, shared_names
from anyclaude.routing.breaker import Breaker, BreakerOptions


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Pair:
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        state, options = LocalState(self.clock), BreakerOptions(failures=2, successes=1)
        self.state = state
        self.breakers = [Breaker("lm", options, self.clock) for _ in range(2)]
        self.fleets = [
            SharedBreakers({"lm": breaker}, state, me=f"instance {at}", wall=self.clock)
            for at, breaker in enumerate(self.breakers)
        ]

    async def sync(self) -> list[str]:
        for _ in range(2):
            for fleet in self.fleets:
                await fleet.sync()
        return [breaker.state for breaker in self.breakers]

    def fail(self, at: int) -> None:
        for _ in range(2):
            permit = self.breakers[at].allow()
            assert permit is not None
            permit.failure(faults.unreachable("lm", "gone"))


async def test_what_one_finds_out_both_go_by_until_one_finds_it_well_again() -> None:
    pair = Pair()
    assert await pair.sync() == ["closed", "closed"]
    pair.fail(0)
    assert await pair.sync() == ["open", "open"]
    assert pair.breakers[1].open_for == pair.breakers[0].open_for > 0
    assert "another anyclaude found: 2 failures in a row" in pair.breakers[1].snapshot().why
    pair.clock.now += 60
    probe = pair.breakers[1].allow()
    assert probe is not None
    probe.success()
    assert await pair.sync() == ["closed", "closed"]
    pair.fail(1)
    assert await pair.sync() == ["open", "open"], "and again, the other way round"


async def test_a_persons_trip_stays_here() -> None:
    pair = Pair()
    pair.breakers[0].trip(seconds=1000)
    assert await pair.sync() == ["open", "closed"]


async def test_what_is_over_or_unreadable_changes_nothing() -> None:
    pair = Pair()
    pair.fail(0)
    await pair.fleets[0].sync()
    pair.clock.now += 35
    await pair.fleets[1].sync()
    assert pair.breakers[1].state == "closed"
    for value in ("{", "[]", '{"by":"x","state":"broken","until":1e9,"why":""}'):
        held = await pair.state.get("breaker:lm")
        await pair.state.put("breaker:lm", value, seen=held.version if held else 0, ttl_s=100)
        await pair.fleets[1].sync()
        assert pair.breakers[1].state == "closed"


def test_one_server_has_one_name_whatever_it_is_called(tmp_path: object) -> None:
    def named(name: str, **more: str) -> dict[str, str]:
        backend = BackendSettings(type="openai", base_url="http://h/v1", **more)  # type: ignore[arg-type]
        engine = ("mlx", BackendSettings())
        return shared_names(Settings(tmp_path, tmp_path, backends=((name, backend), engine)))  # type: ignore[arg-type]

    assert named("a")["a"] == named("b")["b"]
    assert named("a")["a"] != named("a", api_key="k")["a"]
    assert list(named("a")) == ["a"]
