"""Waits and limits that leave each other no room."""

from __future__ import annotations

from collections.abc import Iterator

from anyclaude.config.checks.case import Case, Finding


def check_resilience(case: Case) -> Iterator[Finding]:
    resilience = case.settings.resilience
    if resilience.backoff_s > resilience.backoff_max_s:
        yield (
            "resilience.backoff_s",
            f"is {resilience.backoff_s}, more than any wait may be; expected at most"
            f" resilience.backoff_max_s, {resilience.backoff_max_s}",
        )
