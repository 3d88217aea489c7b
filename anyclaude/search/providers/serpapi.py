"""SerpApi's Google results (https://serpapi.com/search-api)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from anyclaude.search.domains import with_sites
from anyclaude.search.http import Fetch, fetched, objects, result, text_at
from anyclaude.search.values import Asking, Result, SearchFailed

ADDRESS = "https://serpapi.com"
_HINTS = {
    401: "check search.serpapi_key",
    403: "check search.serpapi_key",
    429: "the account's searches are used up, or too many an hour",
}
_NOTHING = "hasn't returned any results"


class SerpApi:
    """Needs a key, which the API takes in the address alone."""

    name = "serpapi"

    def __init__(self, fetch: Fetch, key: str) -> None:
        self._fetch = fetch
        self._key = key

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        asked = {
            "engine": "google",
            "q": with_sites(asking.query),
            "num": str(asking.limit),
            "api_key": self._key,
        }
        path = f"/search.json?{urlencode(asked)}"
        found = await fetched(self.name, self._fetch, "GET", path, hints=_HINTS)
        error = text_at(found, "error") if isinstance(found, Mapping) else ""
        if error and _NOTHING not in error:
            raise SearchFailed("unavailable", f"{self.name}: {error[:200]}")
        return tuple(
            result(
                text_at(item, "link"),
                text_at(item, "title"),
                text_at(item, "snippet"),
                text_at(item, "date"),
            )
            for item in objects(found, "organic_results")
        )
