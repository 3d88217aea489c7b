"""Each provider against a double that speaks its real format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from anyclaude.config.settings import SearchSettings, Settings
from anyclaude.events import Bus
from anyclaude.ledger import Ledger, RecordSink
from anyclaude.recent import RecentDetails
from anyclaude.search.providers import brave, serpapi, tavily
from anyclaude.search.service import SearchService
from anyclaude.search.values import Query
from anyclaude.searching import open_search
from tests.doubles.search_engines import KEYS, PAGES, FakePrimp, SearchEngines, duckduckgo_html

QUERY = Query("newest python release")
KEYED = ("brave", "tavily", "serpapi")
SERVERS = (*KEYED, "searxng")


@pytest.fixture
async def engines(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SearchEngines]:
    async with SearchEngines() as engines:
        for module in (brave, tavily, serpapi):
            monkeypatch.setattr(module, "ADDRESS", engines.base_url)
        yield engines


@pytest.fixture
def primp(monkeypatch: pytest.MonkeyPatch) -> FakePrimp:
    """ddgs itself runs, its HTTP client does not."""
    import ddgs.http_client

    fake = FakePrimp()
    monkeypatch.setattr(ddgs.http_client.primp, "Client", fake)
    return fake


@pytest.fixture
async def parts() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as parts:
        yield parts


async def service_of(
    parts: AsyncExitStack, folder: Path, url: str, *providers: str, **more: object
) -> SearchService:
    given = {f"{name}_key": key for name, key in KEYS.items()}
    search = SearchSettings(
        providers=providers,  # type: ignore[arg-type]
        searxng_url=url,
        **{**given, **more},  # type: ignore[arg-type]
    )
    settings = Settings(folder, folder / "log.duckdb", search=search)
    # Finding something writes no row, so the ledger needs no log.
    ledger = Ledger(cast(RecordSink, None), Bus(), RecentDetails())
    return (await open_search(settings, ledger, parts, report=lambda event: None)).service


@pytest.mark.parametrize("name", SERVERS)
async def test_real_formats(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    service = await service_of(parts, tmp_path, engines.base_url, name)
    found = await service.search(QUERY)
    assert (found.error, found.provider, found.troubles) == (None, name, ())
    assert [r.url for r in found.results] == [p.url for p in PAGES]
    assert [r.title for r in found.results] == [p.title for p in PAGES]
    # Neither tags nor entities are left of what an engine makes of a text.
    assert [r.text for r in found.results] == [p.text for p in PAGES]
    assert found.results[0].age == ("" if name == "tavily" else PAGES[0].age)
    assert engines.asked == [(name, QUERY.text)]


@pytest.mark.parametrize("name", SERVERS)
async def test_domains_go_along(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    service = await service_of(parts, tmp_path, engines.base_url, name)
    blocked = await service.search(Query("python", blocked=("spam.example.com",)))
    assert [r.url for r in blocked.results] == [p.url for p in PAGES if "spam" not in p.url]
    allowed = await service.search(Query("python", allowed=("peps.python.org",)))
    assert [r.url for r in allowed.results] == ["https://peps.python.org/pep-0745/"]
    if name == "tavily":
        assert [s["exclude_domains"] for s in engines.sent] == [["spam.example.com"], []]
        assert [s["include_domains"] for s in engines.sent] == [[], ["peps.python.org"]]
    else:
        asked = [query for _, query in engines.asked]
        assert asked == ["python -site:spam.example.com", "python site:peps.python.org"]


@pytest.mark.parametrize("name", SERVERS)
async def test_nothing_found(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    engines.pages = ()
    service = await service_of(parts, tmp_path, engines.base_url, name)
    found = await service.search(QUERY)
    assert found.results == ()
    if name == "searxng":
        assert found.error == "unavailable" and "duckduckgo (CAPTCHA)" in found.detail
    else:
        assert (found.error, found.provider) == (None, name)


@pytest.mark.parametrize("name", KEYED)
async def test_too_many_requests(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    engines.fails[name], engines.headers = 429, {"retry-after": "7"}
    service = await service_of(parts, tmp_path, engines.base_url, name, "searxng")
    found = await service.search(QUERY)
    assert (found.provider, found.error) == ("searxng", None)
    assert name in found.troubles[0]
    again = await service.search(Query("another"))
    assert "it is asked again in 7 s" in again.troubles[0]
    assert [engine for engine, _ in engines.asked] == [name, "searxng", "searxng"]


@pytest.mark.parametrize(
    ("name", "status", "code", "said"),
    [
        ("brave", 500, "unavailable", "brave"),
        ("tavily", 432, "too_many_requests", "the plan's searches are used up"),
        ("tavily", 400, "invalid_input", "tavily"),
        ("serpapi", 429, "too_many_requests", "searches are used up"),
        ("searxng", 403, "unavailable", "search.formats"),
        ("searxng", 404, "unavailable", "check its address"),
    ],
)
async def test_failures_say_what_to_do(
    engines: SearchEngines,
    parts: AsyncExitStack,
    tmp_path: Path,
    name: str,
    status: int,
    code: str,
    said: str,
) -> None:
    engines.fails[name] = status
    service = await service_of(parts, tmp_path, engines.base_url, name)
    found = await service.search(QUERY)
    assert (found.error, found.provider) == (code, name)
    assert said in found.detail


@pytest.mark.parametrize("name", KEYED)
async def test_a_wrong_key_is_named_and_never_shown(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path, name: str
) -> None:
    secret = "open-sesame-4711"
    service = await service_of(parts, tmp_path, engines.base_url, name, **{f"{name}_key": secret})
    found = await service.search(QUERY)
    assert found.error == "unavailable"
    assert f"check search.{name}_key" in found.detail
    assert secret not in repr(found)


async def test_one_that_hangs_or_is_not_there(
    engines: SearchEngines, parts: AsyncExitStack, tmp_path: Path
) -> None:
    engines.hangs.add("brave")
    service = await service_of(
        parts, tmp_path, "http://127.0.0.1:9", "brave", "searxng", timeout_s=0.2
    )
    found = await service.search(QUERY)
    assert found.error == "unavailable"
    assert "0.2 s" in found.troubles[0] and "searxng can't be reached" in found.troubles[1]


# ----------------------------------------------------------------------------- DuckDuckGo, ddgs


async def test_ddgs_reads_the_page(primp: FakePrimp, parts: AsyncExitStack, tmp_path: Path) -> None:
    service = await service_of(parts, tmp_path, "", "duckduckgo")
    found = await service.search(Query("python", blocked=("spam.example.com",)))
    kept = [p for p in PAGES if "spam" not in p.url]
    assert (found.provider, found.error) == ("duckduckgo", None)
    assert [(r.url, r.title, r.text) for r in found.results] == [
        (p.url, p.title, p.text) for p in kept
    ]
    ((method, url, data),) = primp.requests
    assert (method, url) == ("POST", "https://html.duckduckgo.com/html/")
    assert data["q"] == "python -site:spam.example.com"
    assert primp.made[0]["timeout"] == 8


async def test_links_by_way_of_its_counter_lead_to_the_page(
    primp: FakePrimp, parts: AsyncExitStack, tmp_path: Path
) -> None:
    counter = "//duckduckgo.com/l/?uddg=https%3A%2F%2Fwww.python.org%2Fa%3Fb%3Dc&amp;rut=9f"
    primp.text = duckduckgo_html(PAGES[:1]).replace(PAGES[0].url, counter)
    service = await service_of(parts, tmp_path, "", "duckduckgo")
    found = await service.search(QUERY)
    assert [r.url for r in found.results] == ["https://www.python.org/a?b=c"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(202, "too_many_requests"), (429, "too_many_requests"), (500, "unavailable")],
)
async def test_duckduckgo_refuses(
    primp: FakePrimp, parts: AsyncExitStack, tmp_path: Path, status: int, code: str
) -> None:
    primp.status = status
    service = await service_of(parts, tmp_path, "", "duckduckgo")
    found = await service.search(QUERY)
    assert (found.error, found.provider) == (code, "duckduckgo")
    assert str(status) in found.detail


async def test_duckduckgo_is_away(primp: FakePrimp, parts: AsyncExitStack, tmp_path: Path) -> None:
    primp.error = OSError("no route to host")
    service = await service_of(parts, tmp_path, "", "duckduckgo")
    found = await service.search(QUERY)
    assert found.error == "unavailable" and "can't be reached" in found.detail


@pytest.mark.parametrize("text", ["", "<html></html>", "no page at all", "\x00<div class=body>"])
async def test_a_page_without_results(
    primp: FakePrimp, parts: AsyncExitStack, tmp_path: Path, text: str
) -> None:
    primp.text = text
    service = await service_of(parts, tmp_path, "", "duckduckgo")
    found = await service.search(QUERY)
    assert found.results == ()
