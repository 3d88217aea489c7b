"""Names, slots and conditions to routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.errors import ConfigError, InvalidRequest, NotFound
from anyclaude.routing.routes import RouteTable, described, parse_target, slot_named
from anyclaude.routing.values import Asked, Conditions, Route, Target, slot_of
from anyclaude.types import Role

A = (Target("a"),)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("near", Target("near")),
        ("near/qwen", Target("near", "qwen")),
        ("near/mlx-community/Qwen3-4bit", Target("near", "mlx-community/Qwen3-4bit")),
        (" near / qwen ", Target("near", "qwen")),
    ],
)
def test_targets_are_read(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert parse_target(str(target)) == target


@pytest.mark.parametrize("text", ["", "  ", "/qwen", "near/", "/"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ConfigError, match="is no target: expected NAME/model, or NAME"):
        parse_target(text)


@pytest.mark.parametrize(
    ("model", "role", "slot"),
    [
        ("claude-opus-4-5", Role.MAIN, "opus"),
        ("Claude-Sonnet-5", Role.COMPACT, "sonnet"),
        ("claude-haiku-4-5-20251001", Role.TITLE, "haiku"),
        ("claude-opus-4-5", Role.SUBAGENT, "subagent"),
        ("local-model", Role.SUBAGENT, "subagent"),
        ("local-model", Role.MAIN, ""),
    ],
)
def test_slots(model: str, role: Role, slot: str) -> None:
    assert slot_of(model, role) == slot
    assert Asked(model, role).slot == slot


@pytest.mark.parametrize(
    ("match", "asked", "takes"),
    [
        ("*", Asked("anything at all"), True),
        ("claude-*opus*", Asked("Claude-3-OPUS-latest"), True),
        ("CLAUDE-*", Asked("claude-x"), True),
        ("claude-*opus*", Asked("claude-sonnet"), False),
        ("opus", Asked("claude-opus"), False),
        ("gpt-?", Asked("gpt-5"), True),
        ("claude-opus-5", Asked("claude-opus-5[1m]"), True),
        ("claude-opus-5[1m]", Asked("claude-opus-5[1m]"), True),
        ("claude-opus-5[1m]", Asked("claude-opus-5"), False),
        ("slot:haiku", Asked("claude-haiku-4-5"), True),
        ("Slot: Haiku ", Asked("claude-haiku-4-5"), True),
        ("slot:subagent", Asked("claude-opus", Role.SUBAGENT), True),
        ("slot:opus", Asked("claude-opus", Role.SUBAGENT), True),
        ("slot:subagent", Asked("claude-opus"), False),
        ("slot:", Asked("local-model"), False),
        ("a.b", Asked("axb"), False),
    ],
)
def test_matching(match: str, asked: Asked, takes: bool) -> None:
    table = RouteTable([Route(match, A)])
    if takes:
        assert table.find(asked).match == match
    else:
        with pytest.raises(NotFound):
            table.find(asked)


@pytest.mark.parametrize(
    ("conditions", "holds", "fails"),
    [
        (Conditions(roles=("main", "title")), Asked("m"), Asked("m", Role.COUNT)),
        (
            Conditions(headers=(("X-Team", "a*"),)),
            Asked("m", headers=(("x-team", "Alpha"),)),
            Asked("m", headers=(("x-team", "beta"), ("x-other", "alpha"))),
        ),
        (
            Conditions(headers=(("x-a", "1"), ("x-b", "2"))),
            Asked("m", headers=(("x-b", "2"), ("x-a", "1"))),
            Asked("m", headers=(("x-a", "1"),)),
        ),
        (
            Conditions(min_tokens=100),
            Asked("m", prompt_tokens=100),
            Asked("m", prompt_tokens=99),
        ),
        (
            Conditions(max_tokens=100),
            Asked("m", prompt_tokens=100),
            Asked("m", prompt_tokens=101),
        ),
        (
            Conditions(min_tokens=100),
            Asked("m", body_bytes=380),
            Asked("m", body_bytes=379),
        ),
        (
            Conditions(tools=("WebSearch", "mcp__*")),
            Asked("m", tools=("Bash", "mcp__files__read")),
            Asked("m", tools=("Bash",)),
        ),
    ],
)
def test_conditions(conditions: Conditions, holds: Asked, fails: Asked) -> None:
    table = RouteTable([Route("*", A, conditions=conditions)])
    assert table.find(holds).conditions is conditions
    with pytest.raises(NotFound):
        table.find(fails)


def test_the_first_route_that_takes_it_has_it() -> None:
    special = Route("m", A, conditions=Conditions(roles=("title",)))
    table = RouteTable([special, Route("m", (Target("b"),)), Route("*", (Target("c"),))])
    assert table.find(Asked("m", Role.TITLE)).targets == A
    assert table.find(Asked("m")).targets == (Target("b"),)
    assert table.find(Asked("n", Role.TITLE)).targets == (Target("c"),)


def test_without_routes_all_goes_to_the_local_engine() -> None:
    assert RouteTable([], local="mlx").find(Asked("any")).targets == (Target("mlx"),)
    with pytest.raises(NotFound, match="there are routes for nothing"):
        RouteTable([]).find(Asked("any"))


def test_what_nothing_takes_says_what_would_be_taken() -> None:
    table = RouteTable(
        [
            Route("claude-*", A, conditions=Conditions(roles=("main",), min_tokens=5)),
            Route("slot:haiku", A, conditions=Conditions(headers=(("x-key", "secret"),))),
        ]
    )
    with pytest.raises(NotFound) as caught:
        table.find(Asked("claude-opus", Role.TITLE, prompt_tokens=7))
    assert caught.value.message == (
        "no route takes the model 'claude-opus' (slot opus), role title, about 7 tokens; there are"
        " routes for claude-* (role main, at least 5 tokens); slot:haiku (header x-key)"
    )


def test_a_slot_goes_where_it_was_sent_by_hand_until_it_is_routed_again() -> None:
    table = RouteTable([Route("claude-haiku-*", A), Route("*", (Target("b"),))])
    haiku, sub = Asked("claude-haiku-5"), Asked("claude-haiku-5", Role.SUBAGENT)
    table.send("haiku", Target("c", "small"))
    assert table.find(haiku).targets == table.find(sub).targets == (Target("c", "small"),)
    table.send("subagent", Target("d"))
    assert table.find(sub).targets == (Target("d"),), "a subagent is one first"
    assert table.by_hand == {"haiku": Target("c", "small"), "subagent": Target("d")}
    assert table.find(Asked("other", Role.SUBAGENT)).targets == (Target("d"),)
    assert table.find(Asked("other")).targets == (Target("b"),)
    table.send("haiku", None)
    table.send("subagent", None)
    assert table.find(haiku).targets == table.find(sub).targets == A
    assert table.by_hand == {}


def test_small_calls_go_to_the_small_model_and_along_their_route_after_it() -> None:
    small, big, far = Target("s", "tiny"), Target("b"), Target("f")
    route = Route(
        "claude-*",
        (big, small),
        fallback=(far,),
        fallback_context=(far, small),
        fallback_overloaded=(small, big),
    )
    other = Route("*", (big,), fallback=(small, far), conditions=Conditions(max_tokens=100))
    table = RouteTable([route, other], small=small)
    assert table.find(Asked("claude-x", Role.TITLE)) is route, "it is one of the targets already"
    found = table.find(Asked("m", Role.TITLE))
    assert (found.targets, found.fallback, found.fallback_context) == ((small,), (big, far), (big,))
    assert described(found) == "model.small"
    for role in Role:
        if role is not Role.TITLE:
            assert table.find(Asked("m", role)) is other
    with pytest.raises(NotFound):
        table.find(Asked("m", Role.TITLE, prompt_tokens=101))


def test_a_route_for_titles_and_a_slot_by_hand_come_before_the_small_model() -> None:
    own = Route("mine", A, conditions=Conditions(roles=("title", "main")))
    table = RouteTable([own, Route("*", (Target("b"),))], small=Target("s"))
    assert table.find(Asked("mine", Role.TITLE)) is own
    haiku = Asked("claude-haiku-5", Role.TITLE)
    assert table.find(haiku).targets == (Target("s"),)
    table.send("haiku", Target("c"))
    assert table.find(haiku).targets == (Target("c"),)


@pytest.mark.parametrize("name", ["", "gemma", "Opus"])
def test_what_is_no_slot_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"slot: there is no .*; there are opus, sonnet"):
        slot_named(name)


@given(st.text(max_size=30), st.sampled_from(list(Role)))
def test_any_name_finds_the_catch_all(model: str, role: Role) -> None:
    assert RouteTable([Route("*", A)]).find(Asked(model, role)).targets == A
