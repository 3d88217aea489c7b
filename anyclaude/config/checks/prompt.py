"""Regular expressions that are none, what is to stand in place of what they find, and what no
tier or policy would do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anyclaude.config.checks.case import Case, Finding
from anyclaude.config.masking import show


def check_prompt(case: Case) -> Iterator[Finding]:
    prompt = case.settings.prompt
    lists = (("prompt.keep", prompt.keep), ("prompt.drop", prompt.drop))
    for key, patterns in lists:
        for pattern in patterns:
            if problem := _wrong(pattern):
                yield key, f"has {show(key, pattern)}; expected a regular expression: {problem}"
    key = "prompt.replace"
    for pattern, text in prompt.replace:
        if problem := _wrong(pattern):
            yield key, f"has {show(key, pattern)}; expected a regular expression: {problem}"
        elif problem := _wrong(pattern, text):
            yield key, f"has {show(key, text)}; expected a replacement for re.sub: {problem}"

    if prompt.defer and prompt.tier in ("off", "light") and case.sound("prompt.tier"):
        yield (
            "prompt.defer",
            f'is there while prompt.tier is "{prompt.tier}", which tells of every tool; expected'
            ' "standard", "strong" or "auto" there, or no patterns here',
        )
    idle = prompt.summaries == "model" and prompt.overflow != "compress"
    if idle and case.sound("prompt.overflow"):
        yield (
            "prompt.summaries",
            f'is "model" while prompt.overflow is "{prompt.overflow}", which summarises nothing;'
            ' expected "compress" there, or "extract" here',
        )


def _wrong(pattern: str, text: str = "") -> str:
    """What is wrong with a pattern, or with what replaces it; empty when nothing is."""
    try:
        compiled = re.compile(pattern, re.MULTILINE)
        if text:
            re.compile(f"(?:{compiled.pattern})|").sub(text, "")
    except (re.error, IndexError) as error:
        return str(error)
    return ""
