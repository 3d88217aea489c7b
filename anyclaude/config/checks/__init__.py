"""What no single key is to blame for: contradictions across keys and layers.

They are looked for even where the schema found something wrong, so that everything is told at
once; what depends on a key that is wrong by itself is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from anyclaude.config.checks.backends import check_backends
from anyclaude.config.checks.cache import check_cache
from anyclaude.config.checks.case import Case
from anyclaude.config.checks.mcp import check_mcp
from anyclaude.config.checks.prompt import check_prompt
from anyclaude.config.checks.resilience import check_resilience
from anyclaude.config.checks.routes import check_routes
from anyclaude.config.checks.search import check_search
from anyclaude.config.checks.server import check_keys, check_server

__all__ = ["Case", "contradictions"]


def contradictions(case: Case) -> Iterator[str]:
    """A line for each, with the place it came from and the key."""
    for check in (
        check_server,
        check_keys,
        check_backends,
        check_routes,
        check_resilience,
        check_cache,
        check_search,
        check_prompt,
        check_mcp,
    ):
        for key, text in check(case):
            yield f"{case.origin(key)}: {key} {text}"
