"""The whole prompt in each tier: what is kept, that it is checked, and that it never moves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from anyclaude.prompt import optimise
from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.optimise import Optimiser, rules_digest, user_rules
from anyclaude.prompt.tiers import ORDER, PromptTier
from anyclaude.prompt.tool_shapes import parameters
from anyclaude.tools.validate import check_input
from anyclaude.types import (
    Message,
    MessagesRequest,
    TextBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.prompt.sample import READ, SYSTEM, TURN, request

TIERS = ORDER[1:]


def size(shown: MessagesRequest) -> int:
    texts = [block.text for block in shown.system] + [definition_text(t) for t in shown.tools]
    return sum(len(text) for text in texts)


def test_off_is_the_request_itself() -> None:
    asked = request()
    shown = Optimiser().show(asked, PromptTier.OFF)
    assert shown.request is asked and not shown.parts and not shown.id


def test_each_tier_is_shorter_than_the_one_before() -> None:
    sizes = [size(Optimiser().show(request(), tier).request) for tier in ORDER]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(ORDER)


@pytest.mark.parametrize("tier", TIERS)
def test_names_and_parameters_are_all_there(tier: PromptTier) -> None:
    shown = Optimiser().show(request(), tier)
    assert not shown.failure
    for before, after in zip(request().tools, shown.request.tools, strict=True):
        assert after.name == before.name
        assert parameters(after.input_schema) == parameters(before.input_schema)
        assert after.description


@pytest.mark.parametrize("tier", TIERS)
def test_what_fits_the_whole_schema_fits_the_shown_one(tier: PromptTier) -> None:
    shown = Optimiser().show(request(), tier).request.tools[0]
    for given in (
        {"file_path": "/a"},
        {"file_path": "/a", "limit": 5, "mode": "hex", "extra": [1]},
    ):
        assert not check_input(READ.input_schema, given).issues
        assert not check_input(shown.input_schema, given).issues
    assert check_input(shown.input_schema, {"limit": 5}).issues


def test_a_schema_loses_what_says_nothing_and_then_what_says_little() -> None:
    light, standard, strong = (Optimiser().show(request(), t).request.tools[0] for t in TIERS)

    def limit(tool: ToolDefinition) -> Mapping[str, object]:
        properties = cast("Mapping[str, Mapping[str, object]]", tool.input_schema["properties"])
        return properties["limit"]

    assert "$schema" not in light.input_schema
    assert limit(light) == {
        "type": "integer",
        "description": "How many lines to read. Leave it out for all of them.",
        "minimum": 1,
        "default": 2000,
    }
    assert set(limit(standard)) == {"type", "description"}
    assert limit(strong) == {"type": "integer"}
    properties = cast("Mapping[str, Mapping[str, object]]", strong.input_schema["properties"])
    assert properties["mode"]["enum"] == ["text", "hex"]
    assert properties["extra"]["description"]  # Without a type, a word is all there is.


def test_turns_of_the_system_are_shortened_and_no_others() -> None:
    long = Message("user", (TextBlock(SYSTEM),))
    told = Message("system", (TextBlock(SYSTEM.replace("Mason", "a mason")),))
    shown = Optimiser().show(request(long, told), PromptTier.STRONG).request.messages
    assert shown[2] == long
    assert len(shown[3].content) == 1
    assert len(cast(TextBlock, shown[3].content[0]).text) < len(SYSTEM) / 2


def test_the_same_prompt_is_the_same_bytes_in_every_turn() -> None:
    first, later = Optimiser(), Optimiser()
    turns = (
        Message("assistant", (ToolUseBlock("t1", "Read", {"file_path": "/a"}),)),
        Message("user", (ToolResultBlock("t1", (TextBlock("x" * 999),)),)),
        Message("system", (TextBlock("# Workshop\n - Shell: bash"),)),
    )
    for tier in TIERS:
        short = first.show(request(), tier)
        for optimiser in (first, later):
            long = optimiser.show(request(*turns), tier)
            assert long.request.system == short.request.system
            assert long.request.tools == short.request.tools
            assert long.request.messages[:2] == short.request.messages
            assert long.id != short.id
        assert later.show(request(), tier) == short


def test_what_a_turn_repeats_of_the_system_prompt_is_left_out() -> None:
    rule = " - You must ask before you delete a file that you did not make."
    told = Message("system", (TextBlock(f"{TURN}\n\n# Again\n{rule}\n"),))
    shown = Optimiser().show(request(told), PromptTier.LIGHT).request.messages[2]
    text = cast(TextBlock, shown.content[0]).text
    assert "You must ask" not in text and "# Again" not in text


def test_a_turn_in_which_nothing_is_left_stays_as_it_was() -> None:
    told = Message("system", (TextBlock(TURN),))
    rules = user_rules((), (r"(?s).*",), ())
    shown = Optimiser(rules).show(replace(request(told), system=()), PromptTier.LIGHT)
    assert shown.request.messages[2] == told


def test_the_users_rules_reach_tools() -> None:
    rules = user_rules((), ("winters",), (("numbered", "counted"),))
    text = Optimiser(rules).show(request(), PromptTier.LIGHT).request.tools[0].description
    assert "winters" not in text and "counted" in text
    assert rules_digest(rules) != rules_digest(())


def test_a_result_that_lost_something_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = optimise.shown_tool

    def lossy(tool: ToolDefinition, *args: object) -> tuple[ToolDefinition, tuple[str, ...]]:
        shown, rules = whole(tool, *args)  # type: ignore[arg-type]
        schema = json.loads(json.dumps(shown.input_schema))
        del schema["properties"]["file_path"]
        return replace(shown, input_schema=schema), rules

    monkeypatch.setattr(optimise, "shown_tool", lossy)
    asked = request()
    shown = Optimiser().show(asked, PromptTier.STRONG)
    assert shown.request is asked
    assert shown.failure == "tools.Read lost parameters: file_path"


def test_a_lost_rule_and_a_lost_part_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request()
    whole = optimise.shown_tool
    monkeypatch.setattr(
        optimise,
        "shown_tool",
        lambda tool, *args: (
            replace(whole(tool, *args)[0], description="x"),
            whole(tool, *args)[1],
        ),
    )
    assert "lost a rule" in Optimiser().show(asked, PromptTier.STRONG).failure
    monkeypatch.setattr(optimise, "shown_tool", whole)
    short = optimise.shorten

    def shorter(*args: object) -> optimise.Short:
        made = short(*args)  # type: ignore[arg-type]
        return replace(made, text=made.text.replace("credentials", "things"))

    monkeypatch.setattr(optimise, "shorten", shorter)
    failed = Optimiser().show(asked, PromptTier.LIGHT)
    assert failed.request is asked and "lost a part that must stay" in failed.failure
