"""Whether words ask for the web: measured on prompts that were written before the rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.search.intent import MAX_PROMPT_CHARS, MAX_QUERY_CHARS, query_in

FOLDER = Path(__file__).parent / "prompts"


def prompts(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text("utf-8").strip().split("\n%%\n")


def test_ordinary_prompts_are_left_alone() -> None:
    ordinary = prompts("coding")
    assert len(set(ordinary)) == 200
    taken = [prompt for prompt in ordinary if query_in(prompt)]
    assert len(taken) <= 2, taken


def test_questions_for_fresh_facts_are_found() -> None:
    fresh = prompts("fresh")
    assert len(set(fresh)) == 100
    missed = [prompt for prompt in fresh if not query_in(prompt)]
    assert len(missed) <= 30, missed


def test_near_misses_are_left_alone() -> None:
    """Questions about a project in the words of the news."""
    taken = [prompt for prompt in prompts("near") if query_in(prompt)]
    assert taken == []


@pytest.mark.parametrize(
    ("prompt", "query"),
    [
        (
            "Search the web for how other people configure ruff.",
            "how other people configure ruff",
        ),
        ('Please do a web search on "mlx kv cache".', '"mlx kv cache"'),
        (
            "What is the latest stable version of Python?",
            "What is the latest stable version of Python",
        ),
        (
            "GPU watchdog timeout with mlx. Please check on the web.",
            "GPU watchdog timeout with mlx. Please check on the web",
        ),
        (
            "Fix the build.\nWhen is the next Python release due?",
            "When is the next Python release due",
        ),
    ],
)
def test_what_is_searched_for(prompt: str, query: str) -> None:
    assert query_in(prompt) == query


@pytest.mark.parametrize(
    "prompt",
    [
        "/web search the web for ruff",
        "<command-name>search the web for ruff</command-name>",
        "```\nSearch the web for ruff.\n```\nExplain this comment.",
        'The label says "Search the web for ruff." Translate it.',
        "Search the web for ruff. " + "x" * MAX_PROMPT_CHARS,
        "",
    ],
)
def test_commands_code_quotes_and_pastes_ask_for_nothing(prompt: str) -> None:
    assert query_in(prompt) == ""


@given(st.text())
def test_a_query_is_one_short_line(text: str) -> None:
    query = query_in(f"Search the web for {text}")
    assert len(query) <= MAX_QUERY_CHARS and "\n" not in query
