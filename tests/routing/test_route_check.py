"""Every mistake in routes is found, and named so that it can be mended."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.routing.check import check
from anyclaude.routing.values import Conditions, Route, StrategyName, Target

A, B, C = Target("alpha"), Target("beta", "m"), Target("gamma")
KNOWN = ("alpha", "beta", "gamma")


def said(*routes: Route) -> list[str]:
    return [str(problem) for problem in check(routes, KNOWN)]


def test_good_routes_have_no_problems() -> None:
    assert not said(
        Route("slot:haiku", (A,), fallback=(B,), fallback_context=(B,), fallback_overloaded=(B,)),
        Route("claude-*", (A, B), conditions=Conditions(roles=("title",))),
        Route("claude-*", (A, B), "latency"),
        Route("*", (C,)),
    )


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        (Route(" ", (A,)), "routes[0].match: is empty: expected a pattern, or * for every name"),
        (
            Route("slot:hiku", (A,)),
            "routes[0].match: 'slot:hiku' is no slot: expected slot:opus, slot:sonnet,"
            " slot:haiku, slot:subagent",
        ),
        (
            Route("*", (A,), cast(StrategyName, "fastest")),
            "routes[0].strategy: 'fastest': expected one of shuffle, round-robin, priority,"
            " least-busy, usage, latency, cost, cache-aware",
        ),
        (Route("*", ()), "routes[0].targets: is empty: the route would refuse what it takes"),
        (
            Route("*", (A, Target("bta", "m"))),
            "routes[0].targets[1]: there is no backend 'bta'; did you mean 'beta'?",
        ),
        (
            Route("*", (A,), fallback=(Target("zzz"),)),
            "routes[0].fallback[0]: there is no backend 'zzz'; configured: alpha, beta, gamma",
        ),
        (Route("*", (A, B, A)), "routes[0].targets[2]: alpha is listed twice"),
        (
            Route("*", (A, B), fallback_overloaded=(C, B)),
            "routes[0].fallback_overloaded[1]: beta/m is a target of the route itself, which would"
            " fall back on what has just failed",
        ),
        (
            Route("*", (A,), conditions=Conditions(roles=("main", "boss"))),
            "routes[0].roles[1]: 'boss': expected one of main, subagent, title, count, search,"
            " compact, probe",
        ),
        (
            Route("*", (A,), conditions=Conditions(min_tokens=-1)),
            "routes[0].min_tokens: -1 is negative: expected 0 for no bound",
        ),
        (
            Route("*", (A,), conditions=Conditions(min_tokens=9, max_tokens=5)),
            "routes[0].max_tokens: 5 is below min_tokens 9: no request fits",
        ),
    ],
)
def test_one_mistake_is_one_problem(route: Route, problem: str) -> None:
    assert said(route) == [problem]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("*", "claude-*"),
        ("*", "slot:opus"),
        ("claude-*", "claude-*opus*"),
        ("claude-*", "CLAUDE-OPUS-5"),
        ("*opus*", "claude-opus-?"),
        ("gpt-?", "gpt-?"),
    ],
)
def test_a_route_behind_a_wider_one_is_never_reached(earlier: str, later: str) -> None:
    (problem,) = check([Route(earlier, (A,)), Route(later, (B,))], KNOWN)
    assert problem.path == "routes[1].match"
    assert f"{later} is never reached: routes[0], {earlier}" in problem.message


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("claude-*", "*"),
        ("claude-*opus*", "claude-*"),
        ("claude-?", "claude-*"),
        ("claude-*", "slot:opus"),
        ("slot:opus", "slot:haiku"),
        ("m[ab]", "ma"),
    ],
)
def test_what_may_be_reached_is_not_complained_of(earlier: str, later: str) -> None:
    assert not said(Route(earlier, (A,)), Route(later, (B,)))


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        (Conditions(), Conditions(roles=("main",)), True),
        (Conditions(roles=("main", "title")), Conditions(roles=("main",)), True),
        (Conditions(roles=("main",)), Conditions(), False),
        (Conditions(min_tokens=5), Conditions(min_tokens=9), True),
        (Conditions(min_tokens=9), Conditions(min_tokens=5), False),
        (Conditions(max_tokens=9), Conditions(max_tokens=5), True),
        (Conditions(max_tokens=9), Conditions(), False),
        (Conditions(headers=(("a", "1"),)), Conditions(headers=(("a", "1"), ("b", "2"))), True),
        (Conditions(headers=(("a", "1"),)), Conditions(headers=(("a", "2"),)), False),
        (Conditions(tools=("A", "B")), Conditions(tools=("B",)), True),
        (Conditions(tools=("A",)), Conditions(tools=("A", "B")), False),
    ],
)
def test_conditions_count_for_what_is_reached(
    wide: Conditions, narrow: Conditions, covered: bool
) -> None:
    found = said(Route("*", (A,), conditions=wide), Route("m", (B,), conditions=narrow))
    assert bool(found) is covered


_PATTERN: Any = st.text("ab*?", min_size=1, max_size=6)


@given(_PATTERN, _PATTERN, st.lists(st.text("ab", max_size=6), max_size=20))
def test_no_reachable_route_is_called_unreachable(wide: str, narrow: str, names: list[str]) -> None:
    unreachable = bool(said(Route(wide, (A,)), Route(narrow, (B,))))
    escaped = [n for n in names if fnmatchcase(n, narrow) and not fnmatchcase(n, wide)]
    assert not (unreachable and escaped)
