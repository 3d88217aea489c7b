"""``[prompt]``: values of every kind, and patterns that are none."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from anyclaude.config import schema
from anyclaude.config.load import load_settings
from anyclaude.config.settings import (
    Overflow,
    PromptSettings,
    Settings,
    Summaries,
    TierChoice,
)
from anyclaude.errors import ConfigError
from anyclaude.options import prompt_options
from anyclaude.prompt.tiers import PromptTier

TEXT = r"""
[prompt]
tier = "strong"
budget_tokens = 4000
keep = ["style guide"]
drop = ["^# Fast"]
defer = ["mcp__*"]
overflow = "window"
overflow_keep = 0.4
keep_tool_results = 1
summaries = "extract"
summary_seconds = 12
[prompt.replace]
"(a)b" = '\1c'
"""


def load(here: Path, text: str = "", /, **env: str) -> Settings:
    (here / "anyclaude.toml").write_text(text)
    return load_settings(env=env, cwd=here)


def test_every_key_is_read(here: Path) -> None:
    assert load(here, TEXT).prompt == PromptSettings(
        (),
        "strong",
        4000,
        ("style guide",),
        ("^# Fast",),
        (("(a)b", r"\1c"),),
        ("mcp__*",),
        "window",
        0.4,
        1,
        "extract",
        12.0,
    )


def test_the_environment_goes_over_it(here: Path) -> None:
    env = {"ANYCLAUDE_PROMPT_TIER": "auto", "ANYCLAUDE_PROMPT_DROP": "x,y"}
    prompt = load(here, TEXT, **env).prompt
    assert (prompt.tier, prompt.drop) == ("auto", ("x", "y"))


def test_words_are_those_of_the_types() -> None:
    for name, words in (
        ("prompt.tier", TierChoice),
        ("prompt.overflow", Overflow),
        ("prompt.summaries", Summaries),
    ):
        key = schema.find(name)
        assert key is not None and tuple(key.rule["enum"]) == get_args(words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('keep = ["("]', 'prompt.keep has "("; expected a regular expression'),
        ('drop = ["ok", "["]', 'prompt.drop has "["; expected a regular expression'),
        ('replace = {"*" = "x"}', 'prompt.replace has "*"; expected a regular expression'),
        (r"""replace = {"a" = '\1'}""", "; expected a replacement for re.sub: invalid group"),
        ('tier = "heavy"', 'prompt.tier is "heavy"; expected "off" or "light" or'),
        (
            'summaries = "model"',
            'prompt.summaries is "model" while prompt.overflow is "refuse", which summarises'
            ' nothing; expected "compress" there, or "extract" here',
        ),
        (
            'tier = "light"\ndefer = ["mcp__*"]',
            'prompt.defer is there while prompt.tier is "light", which tells of every tool;'
            ' expected "standard", "strong" or "auto" there, or no patterns here',
        ),
        ("summary_seconds = 0", "prompt.summary_seconds is 0; expected a number above 0"),
        ("overflow_keep = 1.0", "prompt.overflow_keep is 1.0; expected a number from 0.1 to 0.9"),
    ],
)
def test_a_mistake_is_named(here: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(here, f"[prompt]\n{text}\n")
    (line,) = str(caught.value).splitlines()
    assert said in line and str(here / "anyclaude.toml") in line


def test_what_the_pipeline_gets(here: Path) -> None:
    options = prompt_options(load(here, TEXT))
    assert (options.tier, options.overflow) == (PromptTier.STRONG, "window")
    assert [rule.action for rule in options.rules] == ["keep", "drop", "replace"]
    assert prompt_options(load(here, '[prompt]\ntier = "auto"\n')).tier is None
