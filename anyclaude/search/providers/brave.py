"""Brave's search API (https://api-dashboard.search.brave.com/app/documentation/web-search)."""

from __future__ import annotations

from urllib.parse import urlencode

from anyclaude.search.domains import with_sites
from anyclaude.search.http import Fetch, fetched, objects, result, text_at
from anyclaude.search.values import Asking, Result

ADDRESS = "https://api.search.brave.com"
_HINTS = dict.fromkeys((401, 403, 422), "check search.brave_key")
_MOST = 20


class Brave:
    """Needs a key; a free one has a request a second."""

    name = "brave"

    def __init__(self, fetch: Fetch, key: str) -> None:
        self._fetch = fetch
        self._key = key

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        asked = {"q": with_sites(asking.query), "count": str(min(asking.limit, _MOST))}
        headers = (("x-subscription-token", self._key),)
        path = f"/res/v1/web/search?{urlencode(asked)}"
        found = await fetched(self.name, self._fetch, "GET", path, headers, hints=_HINTS)
        return tuple(
            result(
                text_at(item, "url"),
                text_at(item, "title"),
                text_at(item, "description"),
                text_at(item, "age", "page_age"),
            )
            for item in objects(found, "web", "results")
        )
