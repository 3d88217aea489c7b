"""Tavily's search API (https://docs.tavily.com/documentation/api-reference/endpoint/search)."""

from __future__ import annotations

from anyclaude.search.http import Fetch, fetched, objects, result, text_at
from anyclaude.search.values import Asking, Result
from anyclaude.types import JsonValue

ADDRESS = "https://api.tavily.com"
_HINTS = {
    401: "check search.tavily_key",
    432: "the plan's searches are used up",
    433: "the budget is used up",
}
_MOST = 20


class Tavily:
    """Needs a key. It knows domains by itself."""

    name = "tavily"

    def __init__(self, fetch: Fetch, key: str) -> None:
        self._fetch = fetch
        self._key = key

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        query = asking.query
        body: dict[str, JsonValue] = {
            "query": query.text,
            "max_results": min(asking.limit, _MOST),
            "search_depth": "basic",
            "include_domains": query.allowed,
            "exclude_domains": query.blocked,
        }
        headers = (("authorization", f"Bearer {self._key}"),)
        found = await fetched(
            self.name, self._fetch, "POST", "/search", headers, body, hints=_HINTS
        )
        return tuple(
            result(
                text_at(item, "url"),
                text_at(item, "title"),
                text_at(item, "content"),
                text_at(item, "published_date"),
            )
            for item in objects(found, "results")
        )
