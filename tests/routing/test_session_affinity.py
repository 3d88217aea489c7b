"""A session stays; what moves it is remembered."""

from __future__ import annotations

from anyclaude.routing.affinity import Affinity
from anyclaude.routing.values import Target
from tests.routing.routing_kit import HandClock

A, B = Target("a"), Target("b")


def test_a_session_stays_where_it_was_put() -> None:
    clock = HandClock()
    affinity = Affinity(clock)
    assert affinity.get("s", "r") is None
    affinity.bind("s", "r", A, "drawn")
    clock.tick(3000)
    affinity.bind("s", "r", A, "again")
    binding = affinity.get("s", "r")
    assert binding is not None
    assert (binding.target, binding.why, binding.moves, binding.since) == (A, "drawn", 0, 1000.0)


def test_a_move_is_counted_and_explained() -> None:
    affinity = Affinity(HandClock())
    affinity.bind("s", "r", A, "drawn")
    affinity.bind("s", "r", B, "a is switched off")
    binding = affinity.get("s", "r")
    assert binding is not None
    assert (binding.target, binding.why, binding.moves) == (B, "a is switched off", 1)


def test_routes_of_one_session_are_apart() -> None:
    affinity = Affinity(HandClock())
    affinity.bind("s", "opus", A, "")
    affinity.bind("s", "haiku", B, "")
    opus, haiku = affinity.get("s", "opus"), affinity.get("s", "haiku")
    assert opus is not None and haiku is not None
    assert (opus.target, haiku.target) == (A, B)


def test_an_hour_without_a_request_ends_it_and_asking_keeps_it() -> None:
    clock = HandClock()
    affinity = Affinity(clock, ttl=3600)
    affinity.bind("s", "r", A, "")
    for _ in range(3):
        clock.tick(3599)
        assert affinity.get("s", "r") is not None
    clock.tick(3600)
    assert affinity.get("s", "r") is None
    assert len(affinity) == 0


def test_the_longest_unused_make_room() -> None:
    affinity = Affinity(HandClock(), limit=3)
    for name in "abc":
        affinity.bind(name, "r", A, "")
    affinity.get("a", "r")
    affinity.bind("d", "r", A, "")
    assert [bool(affinity.get(name, "r")) for name in "abcd"] == [True, False, True, True]


def test_a_backend_that_lost_its_caches_frees_its_sessions() -> None:
    affinity = Affinity(HandClock())
    affinity.bind("s", "r", A, "")
    affinity.bind("t", "r", B, "")
    assert affinity.forget("a") == 1
    assert affinity.get("s", "r") is None and affinity.get("t", "r") is not None
