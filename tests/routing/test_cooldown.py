"""Who rests, and for how long."""

from __future__ import annotations

import pytest

from anyclaude.errors import ApiError, Overloaded
from anyclaude.routing.cooldown import Cooldowns, Rest
from anyclaude.routing.figures import TargetFigures
from anyclaude.routing.values import Target
from tests.routing.routing_kit import HandClock, refused, too_long, upstream

T = Target("a", "m")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (upstream(429), 5.0),
        (upstream(429, retry_after=20), 20.0),
        (upstream(429, retry_after=3600), 60.0),
        (upstream(503, retry_after=2), 2.0),
        (upstream(503), 0.0),
        (upstream(500), 0.0),
        (refused(), 0.0),
        (upstream(401), 0.0),
        (upstream(404), 0.0),
        (too_long(), 0.0),
        (Overloaded("our own queue", retry_after=9), 0.0),
    ],
)
def test_one_error(error: ApiError, seconds: float) -> None:
    clock = HandClock()
    cooldowns = Cooldowns(clock, 5.0)
    assert cooldowns.note(T, error, TargetFigures(T)) == seconds
    assert cooldowns.left(T) == seconds
    clock.tick(seconds)
    assert cooldowns.left(T) == 0


def test_more_than_half_of_five_calls() -> None:
    clock = HandClock()
    figures, cooldowns = TargetFigures(T), Cooldowns(clock, 5.0)
    figures.finished(clock(), 1, 1, 1.0, 0.5)
    figures.finished(clock(), 1, 1, 1.0, 0.5)
    rested = []
    for _ in range(3):
        figures.failed(clock(), 0.1, upstream(500))
        rested.append(cooldowns.note(T, upstream(500), figures))
    assert rested == [0, 0, 5.0]


def test_the_longer_rest_holds_and_a_person_ends_it() -> None:
    clock = HandClock()
    cooldowns = Cooldowns(clock, 5.0)
    cooldowns.note(T, upstream(429, retry_after=30), TargetFigures(T))
    cooldowns.note(T, upstream(429, retry_after=1), TargetFigures(T))
    assert cooldowns.left(T) == 30
    cooldowns.note(Target("b"), upstream(429), TargetFigures(Target("b")))
    cooldowns.clear("a")
    assert (cooldowns.left(T), cooldowns.left(Target("b"))) == (0, 5)


def test_a_rest_is_told_unless_it_was_heard_of() -> None:
    clock, told = HandClock(), list[Rest]()
    cooldowns = Cooldowns(clock, 5.0, told.append)
    cooldowns.note(T, upstream(429, "slow down"), TargetFigures(T))
    cooldowns.rest(T, 30.0)
    cooldowns.rest(T, 1.0)
    assert told == [Rest(1000.0, T, 5.0, "429 slow down")]
    assert cooldowns.left(T) == 30


def test_it_can_be_off_and_is_bounded() -> None:
    assert Cooldowns(HandClock(), 0).note(T, upstream(429), TargetFigures(T)) == 0
    cooldowns = Cooldowns(HandClock(), 5.0, limit=2)
    for name in "xyz":
        target = Target("a", name)
        cooldowns.note(target, upstream(429), TargetFigures(target))
    assert [cooldowns.left(Target("a", name)) for name in "xyz"] == [0, 5, 5]
