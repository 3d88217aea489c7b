"""Tools that are only named: which, what is told of them, and what a call for more returns."""

from __future__ import annotations

import json

import pytest

from anyclaude.prompt.canonical import definition_text
from anyclaude.prompt.deferring import (
    LOADER,
    callable_beside,
    deferrable,
    deferred_names,
    loader_for,
    told,
    without_loader,
)
from anyclaude.prompt.optimise import Optimiser
from anyclaude.prompt.tiers import PromptTier
from anyclaude.tools.validate import check_input
from anyclaude.types import Message, MessagesRequest, TextBlock, ToolDefinition


def tool(name: str, description: str = "") -> ToolDefinition:
    schema = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
    return ToolDefinition(name, description, schema)  # type: ignore[arg-type]


BASH = tool("Bash", "Runs a command.")
WAKE = tool("Wake", "Wakes you up at a time. You must never call it twice in a row. " * 4)
TREE, LEAF = tool("mcp__garden__tree"), tool("mcp__garden__leaf", "Draws a leaf.")
TOOLS = (BASH, WAKE, TREE, LEAF)


def asked(*tools: ToolDefinition) -> MessagesRequest:
    system = (TextBlock("You are brief."),)
    return MessagesRequest("m", 9, (Message("user", (TextBlock("hi"),)),), system, tools)


def test_patterns_say_which() -> None:
    assert deferrable(TOOLS, ()) == ()
    assert deferrable(TOOLS, ("mcp__*", "Wake")) == (WAKE, TREE, LEAF)
    assert deferrable(TOOLS, ("wake", "Ba")) == (), "upper and lower case are told apart"
    assert deferrable((*TOOLS, tool(LOADER)), ("*",)) == (), "the client has that name itself"


def test_the_loader_names_them_with_a_few_words() -> None:
    loader = loader_for((WAKE, TREE, LEAF))
    assert loader.description.endswith(
        ":\n- Wake: Wakes you up at a time.\n- mcp__garden__tree\n"
        "- mcp__garden__leaf: Draws a leaf."
    )
    assert deferred_names((BASH, loader)) == {"Wake", "mcp__garden__tree", "mcp__garden__leaf"}
    assert loader == loader_for((WAKE, TREE, LEAF))
    assert not check_input(loader.input_schema, {"names": ["Wake"]}).issues
    for wrong in ({}, {"names": []}, {"names": ["Bash"]}, {"names": ["Wake"], "x": 1}):
        assert check_input(loader.input_schema, wrong).issues


def test_what_a_call_returns() -> None:
    text, failed = told((WAKE, LEAF), {"names": ["Wake", "Nobody", "Wake"]})
    first, second = text.splitlines()
    assert first == definition_text(WAKE) and json.loads(first)["function"]["name"] == "Wake"
    assert second == 'There is no tool "Nobody".' and not failed
    assert told((WAKE,), {"names": ["Nobody"]}) == ('There is no tool "Nobody".', True)
    for wrong in ({}, {"names": []}, {"names": "Wake"}):
        assert told((WAKE, LEAF), wrong) == ("Expected names, a list of: Wake, "
                                             "mcp__garden__leaf.", True)  # fmt: skip


@pytest.mark.parametrize("tier", [PromptTier.STANDARD, PromptTier.STRONG])
def test_tiers_that_defer_show_names_alone(tier: PromptTier) -> None:
    loader = loader_for((WAKE, TREE))
    shown = Optimiser().show(asked(*TOOLS, loader), tier)
    assert not shown.failure
    assert [t.name for t in shown.request.tools] == ["Bash", LEAF.name, LOADER]
    assert shown.request.tools[-1] == loader
    actions = {p.part.title: (p.part.action, p.part.after) for p in shown.parts}
    assert actions["Wake"] == actions[TREE.name] == ("deferred", "")
    assert actions[LOADER] == ("added", definition_text(loader))
    again = Optimiser().show(asked(*TOOLS, loader), tier)
    assert again.request == shown.request and again.id == shown.id


@pytest.mark.parametrize("tier", [PromptTier.OFF, PromptTier.LIGHT])
def test_other_tiers_show_all_and_no_loader(tier: PromptTier) -> None:
    with_it = Optimiser().show(asked(*TOOLS, loader_for((WAKE,))), tier)
    assert with_it.request == Optimiser().show(asked(*TOOLS), tier).request


def test_where_it_is_not_shown_it_cannot_be_called() -> None:
    loader = loader_for((WAKE,))
    assert without_loader(asked(*TOOLS, loader)) == asked(*TOOLS)
    plain = asked(*TOOLS)
    assert without_loader(plain) is plain
    assert callable_beside(TOOLS, (*TOOLS, loader)) == TOOLS
    assert callable_beside((BASH, loader), (*TOOLS, loader)) == (*TOOLS, loader)
