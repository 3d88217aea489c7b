"""The providers of web search on one port of this machine, each in its own real format.

Formats after the providers' own references: Brave's and Tavily's API, SerpApi's Google results,
SearXNG's ``format=json``; and the page of results that DuckDuckGo's HTML site gives to ddgs.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web

KEYS = {"brave": "BSA-key", "tavily": "tvly-key", "serpapi": "serp-key"}


@dataclass(frozen=True)
class Page:
    """A page that an engine knows."""

    url: str
    title: str
    text: str
    age: str = ""


PAGES = (
    Page(
        "https://www.python.org/downloads/",
        "Download Python",
        "The newest release of Python is 3.14.2.",
        "December 5, 2025",
    ),
    Page("https://docs.python.org/3/whatsnew/", "What's New in Python", "Python 3.14 & its news"),
    Page("https://spam.example.com/python", "Python for free", "Buy Python releases here."),
    Page("https://peps.python.org/pep-0745/", "PEP 745", "Python 3.14 release schedule"),
)


@dataclass
class SearchEngines:
    """Use it as a context. ``fails`` gives an engine's status in place of results."""

    pages: tuple[Page, ...] = PAGES
    fails: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with the failures."""
    hangs: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Engine and query of each request, in their order."""
    sent: list[Mapping[str, Any]] = field(default_factory=list)
    """The parameters of each."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with the first request."""
    base_url: str = ""
    html: dict[str, str] = field(default_factory=dict)
    """Pages of a site that is here too, by their paths."""
    agents: list[str] = field(default_factory=list)
    """Who asked for them."""

    async def __aenter__(self) -> SearchEngines:
        app = web.Application()
        app.router.add_get("/res/v1/web/search", self._brave)
        app.router.add_post("/search", self._tavily)
        app.router.add_get("/search", self._searxng)
        app.router.add_get("/search.json", self._serpapi)
        app.router.add_get("/{path:robots.txt|site/.*}", self._site)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _take(self, engine: str, query: str, sent: Mapping[str, Any]) -> None:
        self.asked.append((engine, query))
        self.sent.append(dict(sent))
        self.reached.set()
        if engine in self.hangs:
            await asyncio.Event().wait()

    def _failed(self, engine: str, body: object) -> web.Response | None:
        status = self.fails.get(engine)
        return web.json_response(body, status=status, headers=self.headers) if status else None

    async def _site(self, request: web.Request) -> web.Response:
        self.agents.append(request.headers["User-Agent"])
        if request.path not in self.html:
            raise web.HTTPNotFound
        kind = "text/plain" if request.path.endswith(".txt") else "text/html"
        return web.Response(text=self.html[request.path], content_type=kind)

    # --------------------------------------------------------------------------------- engines

    async def _brave(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Subscription-Token") != KEYS["brave"]:
            error = {"code": "SUBSCRIPTION_TOKEN_INVALID", "status": 422, "detail": "invalid token"}
            return web.json_response({"type": "ErrorResponse", "error": error}, status=422)
        assert set(request.query) == {"q", "count"} and 1 <= int(request.query["count"]) <= 20
        await self._take("brave", request.query["q"], request.query)
        error = {"code": "RATE_LIMITED", "status": 429, "detail": "Request rate limit exceeded"}
        if failed := self._failed("brave", {"type": "ErrorResponse", "error": error}):
            return failed
        results = [
            {
                "type": "search_result",
                "subtype": "generic",
                "title": page.title,
                "url": page.url,
                "description": html.escape(page.text).replace("Python", "<strong>Python</strong>"),
                "is_source_local": False,
                "is_source_both": False,
                "language": "en",
                "family_friendly": True,
                **({"page_age": "2025-12-05T00:00:00", "age": page.age} if page.age else {}),
            }
            for page in self.pages
        ]
        query = {"original": request.query["q"], "more_results_available": True}
        body: dict[str, Any] = {"type": "search", "query": query, "mixed": {}}
        # An answer without any result has no "web" at all.
        if results:
            body["web"] = {"type": "search", "results": results, "family_friendly": True}
        return web.json_response(body)

    async def _tavily(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEYS['tavily']}":
            detail = {"error": "Unauthorized: missing or invalid API key."}
            return web.json_response({"detail": detail}, status=401)
        body = await request.json()
        await self._take("tavily", body["query"], body)
        detail = {"error": "Your request has been blocked due to excessive requests."}
        if failed := self._failed("tavily", {"detail": detail}):
            return failed
        results = [
            {
                "title": page.title,
                "url": page.url,
                "content": page.text,
                "score": 0.9,
                "raw_content": None,
            }
            for page in self.pages
        ]
        return web.json_response(
            {
                "query": body["query"],
                "follow_up_questions": None,
                "answer": None,
                "images": [],
                "results": results[: body["max_results"]],
                "response_time": 0.8,
                "request_id": "123e4567-e89b-12d3-a456-426614174111",
            }
        )

    async def _serpapi(self, request: web.Request) -> web.Response:
        if request.query.get("api_key") != KEYS["serpapi"]:
            error = (
                "Invalid API key. Your API key should be here: https://serpapi.com/manage-api-key"
            )
            return web.json_response({"error": error}, status=401)
        assert request.query["engine"] == "google"
        await self._take("serpapi", request.query["q"], request.query)
        error = {"error": "Your account has run out of searches."}
        if failed := self._failed("serpapi", error):
            return failed
        results = [
            {
                "position": place,
                "title": page.title,
                "link": page.url,
                "displayed_link": page.url,
                "snippet": page.text,
                **({"date": page.age} if page.age else {}),
            }
            for place, page in enumerate(self.pages, 1)
        ]
        body: dict[str, Any] = {
            "search_metadata": {"id": "1", "status": "Success"},
            "search_parameters": {"engine": "google", "q": request.query["q"]},
        }
        if results:
            body["organic_results"] = results
        else:
            body["error"] = "Google hasn't returned any results for this query."
        return web.json_response(body)

    async def _searxng(self, request: web.Request) -> web.Response:
        assert request.query["format"] == "json"
        await self._take("searxng", request.query["q"], request.query)
        if "searxng" in self.fails:
            return web.Response(status=self.fails["searxng"], text="<h1>Forbidden</h1>")
        results = [
            {
                "url": page.url,
                "title": page.title,
                "content": page.text,
                "publishedDate": page.age or None,
                "engine": "startpage",
                "template": "default.html",
                "parsed_url": ["https", "host", "/", "", "", ""],
                "engines": ["startpage"],
                "positions": [1],
                "score": 1.0,
                "category": "general",
            }
            for page in self.pages
        ]
        return web.json_response(
            {
                "query": request.query["q"],
                "number_of_results": 0,
                "results": results,
                "answers": [],
                "corrections": [],
                "infoboxes": [],
                "suggestions": [],
                "unresponsive_engines": [] if results else [["duckduckgo", "CAPTCHA"]],
            }
        )


_ITEM = """
<div class="result results_links results_links_deep web-result ">
  <div class="links_main links_deep result__body">
    <h2 class="result__title"><a rel="nofollow" class="result__a" href="{url}">{title}</a></h2>
    <div class="result__extras"><div class="result__extras__url">
      <a class="result__url" href="{url}"> {url} </a></div></div>
    <a class="result__snippet" href="{url}">{text}</a>
    <div class="clear"></div>
  </div>
</div>
"""
_ADVERT = "https://duckduckgo.com/y.js?ad_domain=spam.example.com&amp;ad_provider=bingv7aa"


def duckduckgo_html(pages: tuple[Page, ...] = PAGES) -> str:
    """The page of results, an advertisement at its top."""
    items = [_ITEM.format(url=_ADVERT, title="Python sale", text="Buy Python now")]
    items += [
        _ITEM.format(
            url=html.escape(page.url),
            title=html.escape(page.title),
            text=html.escape(page.text).replace("Python", "<b>Python</b>"),
        )
        for page in pages
    ]
    return (
        f'<!DOCTYPE html><html><body class="body--html"><div>{"".join(items)}</div></body></html>'
    )


@dataclass
class FakePrimp:
    """In place of ``primp.Client``, which is what ddgs sends its requests with."""

    status: int = 200
    text: str = field(default_factory=duckduckgo_html)
    error: Exception | None = None
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    made: list[Mapping[str, object]] = field(default_factory=list)

    def __call__(self, **options: object) -> FakePrimp:
        self.made.append(options)
        return self

    def headers_update(self, headers: Mapping[str, str]) -> None:
        assert isinstance(headers, Mapping)

    def request(self, method: str, url: str, *, data: Mapping[str, str]) -> FakePrimp:
        self.requests.append((method, url, data))
        if self.error is not None:
            raise self.error
        return self

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def content(self) -> bytes:
        return self.text.encode()
