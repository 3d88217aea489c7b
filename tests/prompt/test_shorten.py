"""One text in each tier: what stays, what goes, and what the user's rules say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.prompt.sections import split
from anyclaude.prompt.shorten import UserRule, brief, shorten, told
from anyclaude.prompt.tiers import LIMITS, PromptTier
from anyclaude.prompt.weighing import Kind, weigh
from tests.prompt.sample import READ, SYSTEM

LIGHT, STANDARD, STRONG = (
    LIMITS[tier] for tier in (PromptTier.LIGHT, PromptTier.STANDARD, PromptTier.STRONG)
)


def kinds() -> dict[str, Kind]:
    return {item.section.body.strip(): item.kind for item in weigh(split(SYSTEM), ["Read"])}


def test_parts_are_weighed_by_what_they_say() -> None:
    found = kinds()
    assert found["- Never print credentials, not even shortened ones."] is Kind.SAFETY
    assert found["- You must ask before you delete a file that you did not make."] is Kind.SAFETY
    assert found["- Platform: linux"] is Kind.ENVIRONMENT
    assert found["- Working directory: /home/mason/houses"] is Kind.ENVIRONMENT
    assert found["- Today's date is 2026-03-04."] is Kind.ENVIRONMENT
    assert found["Report what you did faithfully: if a test fails, say so."] is Kind.INSTRUCTION
    assert sum(kind is Kind.CATALOGUE for kind in found.values()) == 4
    assert sum(kind is Kind.EXAMPLE for kind in found.values()) == 2


def test_a_list_of_rules_is_no_catalogue() -> None:
    long = "and there is a reason for it that everybody who was there at the time remembers well. "
    rules = "".join(f"- rule{n}: You must never do thing {n}, {long}\n" for n in range(6))
    assert all(item.protected for item in weigh(split(rules)))
    assert shorten(rules, STRONG).text == rules.strip("\n")


def test_a_rule_about_a_tool_is_known_by_its_name() -> None:
    (item,) = weigh(split("Use Read for files."), ["Read"])
    assert item.kind is Kind.TOOL_RULE


@pytest.mark.parametrize("tier", [PromptTier.LIGHT, PromptTier.STANDARD, PromptTier.STRONG])
def test_protected_parts_stay_byte_for_byte(tier: PromptTier) -> None:
    short = shorten(SYSTEM, LIMITS[tier], ["Read"])
    protected = [part for part in short.parts if part.protected]
    assert len(protected) >= 7
    assert all(part.before in short.text for part in protected)


@given(st.text(max_size=400))
def test_protected_parts_stay_in_any_text(text: str) -> None:
    short = shorten(text, STRONG)
    assert all(part.before in short.text for part in short.parts if part.protected)
    assert shorten(text, STRONG) == short


def test_each_tier_takes_more() -> None:
    lengths = [len(shorten(SYSTEM, limits).text) for limits in (LIGHT, STANDARD, STRONG)]
    assert len(SYSTEM) > lengths[0] > lengths[1] > lengths[2]


def test_light_keeps_every_word() -> None:
    assert shorten(SYSTEM, LIGHT).text.split() == SYSTEM.split()
    assert shorten("a  \n\n\n\nb\t\n", LIGHT).text == "a\n\nb"


def test_what_was_said_before_is_said_once() -> None:
    once = "The gates are opened in the morning, when the sun is up."
    seen: set[str] = set()
    first = shorten(f"{once}\n\nshort\n\n{once}\n\nshort\n", LIGHT, seen=seen)
    assert first.text == f"{once}\n\nshort\n\nshort"
    assert shorten(once, LIGHT, seen=seen).text == ""


def test_strong_names_what_a_catalogue_has() -> None:
    text = shorten(SYSTEM, STRONG).text
    for guild in ("carpentry", "masonry", "plumbing", "roofing"):
        assert f"- {guild}: " in text
    assert "meet on Mondays" not in text
    assert "the history of computing" not in text
    assert "def add" not in text and "seven entries" not in text
    assert "# Examples" not in text  # Nothing is left under it.
    assert text.startswith("You are Mason")  # Who the model is stays.


def test_critical_groups_come_first_and_last() -> None:
    filler = "# Lore\nOnce there was a house, it stood for long, and it was seen by many people.\n"
    rules = "# Rules\nYou must knock. Never run.\n"
    facts = "# Environment\n- Platform: linux\n"
    text = shorten(f"Hello.\n\n{filler}{facts}{rules}", STANDARD).text
    assert text.index("# Rules") < text.index("# Lore") < text.index("# Environment")
    assert shorten(f"Hello.\n\n{filler}{facts}{rules}", LIGHT).text.startswith("Hello.\n\n# Lore")


def rule(pattern: str, action: str, text: str = "") -> UserRule:
    return UserRule(re.compile(pattern, re.MULTILINE), action, text)  # type: ignore[arg-type]


def test_the_user_decides_what_stays_and_goes() -> None:
    rules = [
        rule("history of computing", "keep"),
        rule("Prefer small steps", "drop"),
        rule(r"fai(th)fully", "replace", r"\1oroughly"),
    ]
    short = shorten(SYSTEM, STRONG, (), rules)
    assert "the history of computing" in short.text
    assert "small steps" not in short.text
    assert "Report what you did thoroughly" in short.text
    assert {"dropped", "replaced", "kept"} <= {part.action for part in short.parts}


def test_what_the_user_keeps_may_have_empty_lines() -> None:
    code = "```\na\n\n\n\nb\n```"
    short = shorten(f"Hello.\n\n{code}\n", STRONG, (), [rule("^a$", "keep")])
    assert code in short.text


def test_the_first_rule_that_fits_decides() -> None:
    rules = [rule("credentials", "keep"), rule("Never", "drop")]
    assert "Never print credentials" in shorten(SYSTEM, STRONG, (), rules).text


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("Short.", 20, "Short."),
        ("One sentence. And another that is long.", 20, "One sentence."),
        ("A list of things (and more of them); then the rest of it", 20, "A list of things."),
        ("Wordswithoutanyend" * 3, 20, ""),
        ("some words and no end to them at all", 14, "some words…"),
        ("anything", 0, ""),
    ],
)
def test_the_beginning_of_a_text(text: str, limit: int, short: str) -> None:
    assert brief(text, limit) == short


def test_a_tool_tells_what_it_does_and_its_rules() -> None:
    text, rules = told(READ.description, 60)
    assert text.startswith("Reads a file and returns its lines.")
    assert "`file_path` must be absolute." in text and "Reading a folder will fail." in text
    assert "long winters" not in text and "/etc/hosts" not in text
    assert set(rules) == {"`file_path` must be absolute.", "Reading a folder will fail."}
    assert told("", 60) == ("", ())
