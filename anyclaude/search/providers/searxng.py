"""A SearXNG instance of the user's own (https://docs.searxng.org/dev/search_api.html)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from anyclaude.search.domains import with_sites
from anyclaude.search.http import Fetch, fetched, objects, result, text_at
from anyclaude.search.values import Asking, Result, SearchFailed
from anyclaude.types import JsonValue

_HINTS = {403: 'its settings.yml must have "json" among search.formats'}


class SearxNg:
    """Needs an address; without results it says which of its engines failed."""

    name = "searxng"

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        asked = {"q": with_sites(asking.query), "format": "json"}
        path = f"/search?{urlencode(asked)}"
        found = await fetched(self.name, self._fetch, "GET", path, hints=_HINTS)
        results = tuple(
            result(
                text_at(item, "url"),
                text_at(item, "title"),
                text_at(item, "content"),
                text_at(item, "publishedDate"),
            )
            for item in objects(found, "results")
        )
        if not results and (silent := _unresponsive(found)):
            raise SearchFailed("unavailable", f"{self.name}: its engines gave nothing: {silent}")
        return results


def _unresponsive(found: JsonValue) -> str:
    """``duckduckgo (CAPTCHA), brave (timeout)``."""
    engines = found.get("unresponsive_engines") if isinstance(found, Mapping) else None
    if not isinstance(engines, list):
        return ""
    pairs = [pair for pair in engines if isinstance(pair, list) and len(pair) == 2]
    return ", ".join(f"{name} ({why})" for name, why in pairs)[:300]
