"""Roles told from the shapes that the client was seen to send."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.prompt.roles import TITLE_TOKENS, bounded, role_of
from anyclaude.types import (
    ClientInfo,
    Message,
    MessagesRequest,
    Role,
    TextBlock,
    ToolDefinition,
    ToolUseBlock,
)

BASH = ToolDefinition("Bash", "runs", {"type": "object"})
SEARCH = ToolDefinition("web_search", "", {}, type="web_search_20250305")
HI = Message("user", (TextBlock("hi"),))
MAIN = MessagesRequest("m", 32000, (HI,), (TextBlock("You are Claude Code."),), (BASH,))
TITLE_SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
COMPACT = (
    "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\nYour task is to create a "
    "detailed summary of the conversation so far.\n<summary>\n…\n</summary>"
)
BILLING = TextBlock("x-anthropic-billing-header: cc_version=2.1.330.a1b; cc_is_subagent=true;")


def conversation(last: str) -> tuple[Message, ...]:
    return (
        HI,
        Message("assistant", (ToolUseBlock("toolu_1", "Bash", {"command": "ls"}),)),
        Message("user", (TextBlock(last),)),
    )


@pytest.mark.parametrize(
    ("client", "request_", "role"),
    [
        (ClientInfo(), MAIN, Role.MAIN),
        (ClientInfo(agent_id="a3f"), MAIN, Role.SUBAGENT),
        (ClientInfo(), replace(MAIN, system=(BILLING, *MAIN.system)), Role.SUBAGENT),
        (ClientInfo(), replace(MAIN, tools=(), output_schema=TITLE_SCHEMA), Role.TITLE),
        (ClientInfo(), replace(MAIN, tools=(), max_tokens=1), Role.PROBE),
        (ClientInfo(), replace(MAIN, tools=(SEARCH,)), Role.SEARCH),
        (ClientInfo(agent_id="a3f"), replace(MAIN, tools=(SEARCH,)), Role.SEARCH),
        (ClientInfo(), replace(MAIN, messages=conversation(COMPACT)), Role.COMPACT),
    ],
)
def test_each_role(client: ClientInfo, request_: MessagesRequest, role: Role) -> None:
    assert role_of(client, request_) is role


@pytest.mark.parametrize(
    "request_",
    [
        replace(MAIN, tools=(BASH, SEARCH)),
        replace(MAIN, output_schema=TITLE_SCHEMA),
        replace(MAIN, tools=(), output_schema={"properties": {"title": {}, "body": {}}}),
        replace(MAIN, max_tokens=1),
        replace(MAIN, messages=conversation("write a summary of the conversation to notes.md")),
        replace(MAIN, messages=conversation("answer in plain text only")),
        replace(MAIN, messages=(Message("user", (TextBlock(COMPACT),)),)),
        replace(MAIN, messages=(*conversation("x"), Message("system", (TextBlock(COMPACT),)))),
        replace(MAIN, system=(TextBlock("mentions cc_is_subagent=true somewhere"),)),
    ],
)
def test_what_only_looks_like_it_is_the_main_loop(request_: MessagesRequest) -> None:
    assert role_of(ClientInfo(), request_) is Role.MAIN


def test_a_title_is_written_within_a_bound() -> None:
    assert bounded(MAIN, Role.TITLE).max_tokens == TITLE_TOKENS
    brief = replace(MAIN, max_tokens=20)
    assert bounded(brief, Role.TITLE) is brief
    assert all(bounded(MAIN, role) is MAIN for role in Role if role is not Role.TITLE)
