"""Which requests are a search, and what they ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyclaude.search.asked import SearchWanted, wanted_of
from anyclaude.search.values import Query
from anyclaude.types import Message, MessagesRequest, TextBlock, ToolChoice, ToolDefinition

RAW = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def request(text: str, choice: str = "auto", **raw: object) -> MessagesRequest:
    tool = ToolDefinition("web_search", "", {}, type="web_search_20250305", raw={**RAW, **raw})  # type: ignore[dict-item]
    message = Message("user", (TextBlock(text),))
    return MessagesRequest("m", 9, (message,), tools=(tool,), tool_choice=ToolChoice(choice))  # type: ignore[arg-type]


def test_the_clients_own_words() -> None:
    asked = request("Perform a web search for the query: newest  Python\nrelease 2026")
    assert wanted_of(asked) == SearchWanted(Query("newest Python release 2026"), "web_search", 8)


def test_domains_and_limits() -> None:
    asked = request(
        "Perform a web search for the query: a: b",
        allowed_domains=["docs.python.org", " ", 3],
        blocked_domains="x",
        max_uses=True,
    )
    assert wanted_of(asked) == SearchWanted(Query("a: b", ("docs.python.org",)), "web_search", None)


def test_a_forced_search_takes_the_message() -> None:
    forced = request("What is the weather in Oslo?", "any")
    assert wanted_of(forced) == SearchWanted(Query("What is the weather in Oslo?"), "web_search", 8)
    named = replace(forced, tool_choice=ToolChoice("tool", "web_search"))
    assert wanted_of(named) == wanted_of(forced)


@pytest.mark.parametrize(
    "asked",
    [
        request("What is the weather in Oslo?"),
        request("Perform a web search for the query: x", "none"),
        replace(request("Search: x"), tools=()),
        replace(request("Search: x"), tools=(*request("x").tools, ToolDefinition("Bash", "", {}))),
        replace(
            request("Search: x"),
            messages=(
                Message("user", (TextBlock("hi"),)),
                Message("assistant", (TextBlock("hello"),)),
                Message("user", (TextBlock("Search: x"),)),
            ),
        ),
        replace(request("Search: x"), messages=(Message("system", (TextBlock("Search: x"),)),)),
    ],
)
def test_a_conversation_is_for_a_model(asked: MessagesRequest) -> None:
    assert wanted_of(asked) is None


def test_a_forced_search_without_words_asks_for_nothing() -> None:
    empty = replace(request("", "any"), messages=(Message("user", ()),))
    assert wanted_of(empty) == SearchWanted(Query(""), "web_search", 8)
