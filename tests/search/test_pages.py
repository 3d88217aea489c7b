"""Pages that are read: robots, redirects, types, time, and what becomes of it in results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anyclaude.errors import AnyclaudeError, UpstreamError
from anyclaude.search.cache import CacheOptions
from anyclaude.search.pages import MAX_HOPS, Pages
from anyclaude.search.robots import KEPT_S, Robots, Rules, rules_of
from anyclaude.search.values import Query, SearchOptions
from tests.search.kit import DOCS, PYTHON, SPAM, Clock, FakeProvider, serving

BODY = b"One.\n\nTwo."


@dataclass(frozen=True)
class Said:
    """An answer of the web; plain text unless it says otherwise."""

    body: bytes = BODY
    status: int = 200
    content_type: str = "text/plain"
    charset: str = ""
    location: str = ""


NONE = Said(b"", 404)


@dataclass
class Web:
    """Answers by address; without one there is nothing there."""

    there: dict[str, Said | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, address: str, accept: str, limit: int) -> Said:
        self.asked.append(address)
        said = self.there.get(address, NONE)
        if isinstance(said, Exception):
            raise said
        if said.status == 0:
            self.waiting.set()
            await asyncio.Event().wait()
        return said

    def pages(self, timeout: float = 10.0, clock: Clock | None = None) -> Pages:
        return Pages(self.get, clock or Clock(), timeout)


def anywhere(address: str) -> bool:
    return True


def away() -> UpstreamError:
    return UpstreamError(
        "no connection",
        backend="a.org",
        status=502,
        type="api_error",
        category="network",
        retryable=True,
        answered=False,
    )


async def read(
    web: Web, *addresses: str, permits: Callable[[str], bool] = anywhere
) -> tuple[dict[str, str], tuple[str, ...]]:
    found = await web.pages().read(addresses, permits)
    return found.texts, found.troubles


async def test_pages_are_read_beside_each_other() -> None:
    web = Web({"https://a.org/x": Said(), "https://b.org/": Said(b"\xe9", charset="latin-1")})
    texts, troubles = await read(web, "https://a.org/x", "https://b.org/")
    assert texts == {"https://a.org/x": "One.\nTwo.", "https://b.org/": "é"}
    assert troubles == ()
    assert {"https://a.org/robots.txt", "https://b.org/robots.txt"} < set(web.asked)
    assert (await read(web)) == ({}, ())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Said(status=403), "the server answered 403"),
        (Said(content_type="application/pdf"), "it is application/pdf, and no text"),
        (Said(content_type=""), "it is of no known type, and no text"),
        (Said(b"  \n "), "there is no text in it"),
        (Said(b"", content_type="text/html"), "there is no text in it"),
        (away(), "no connection"),
        (RuntimeError("a parser's own"), "RuntimeError"),
    ],
)
async def test_what_is_not_read_is_told_without_its_path(said: Said | Exception, why: str) -> None:
    web = Web({"https://a.org/secret?q=1": said, "https://b.org/": Said()})
    texts, troubles = await read(web, "https://a.org/secret?q=1", "https://b.org/")
    assert list(texts) == ["https://b.org/"]
    assert troubles == (f"a page of a.org wasn't read: {why}",)


async def test_redirects_are_followed_where_they_may_lead() -> None:
    web = Web(
        {
            "https://a.org/": Said(location="https://b.org/x", status=301),
            "https://b.org/x": Said(),
            "https://c.org/": Said(location="https://blocked.org/", status=302),
            "https://loop.org/": Said(location="https://loop.org/", status=302),
        }
    )
    texts, troubles = await read(
        web,
        *("https://a.org/", "https://c.org/", "https://loop.org/"),
        permits=lambda address: "blocked" not in address,
    )
    assert texts == {"https://a.org/": "One.\nTwo."}
    assert troubles == (
        "a page of c.org wasn't read: it leads to blocked.org, which isn't permitted",
        f"a page of loop.org wasn't read: it leads elsewhere {MAX_HOPS} times",
    )
    assert not any("blocked" in address for address in web.asked)
    assert "https://b.org/robots.txt" in web.asked, "where it leads has rules of its own"


async def test_a_site_that_wants_no_programs_is_left_alone() -> None:
    rules = b"User-agent: *\nDisallow: /private\n\nUser-agent: anyclaude\nDisallow: /mine\n"
    web = Web({"https://a.org/robots.txt": Said(rules), "https://a.org/ok": Said()})
    texts, troubles = await read(web, "https://a.org/ok", "https://a.org/mine/x")
    assert list(texts) == ["https://a.org/ok"]
    assert troubles == ("a page of a.org wasn't read: its robots.txt asks programs to stay away",)
    assert "https://a.org/mine/x" not in web.asked


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        (NONE, True),
        (Said(b"", 401), True),
        (Said(b""), True),
        (Said(b"\xef\xbb\xbfUser-agent: *\nDisallow: /"), False),
        (Said(b"<html>not rules"), True),
        (Said(b"", 503), False),
        (away(), False),
        (AnyclaudeError("it leads to no address of the web"), True),
        (Said(location="https://a.org/robots.txt", status=301), True),
    ],
)
async def test_what_robots_say(said: Said | Exception, allowed: bool) -> None:
    web = Web({"https://a.org/robots.txt": said, "https://a.org/": Said()})
    texts, _ = await read(web, "https://a.org/")
    assert bool(texts) is allowed


async def test_rules_are_looked_up_once_an_hour() -> None:
    clock = Clock()
    looked: list[str] = []

    async def look_up(address: str) -> Rules:
        looked.append(address)
        return rules_of(200, b"User-agent: *\nDisallow: /no\n")

    robots = Robots(look_up, clock)
    assert await robots.allow("https://a.org/yes") and not await robots.allow("https://a.org/no")
    assert looked == ["https://a.org/robots.txt"]
    clock.at += KEPT_S
    assert await robots.allow("https://a.org:8443/no?") is False
    assert await robots.allow("https://a.org/yes")
    assert looked[1:] == ["https://a.org:8443/robots.txt", "https://a.org/robots.txt"]


async def test_what_is_there_in_time_is_taken() -> None:
    web = Web({"https://a.org/": Said(), "https://slow.org/": Said(status=0)})
    found = await web.pages(0.05).read(["https://slow.org/", "https://a.org/"], anywhere)
    assert list(found.texts) == ["https://a.org/"]
    assert found.troubles == ("a page of slow.org wasn't read: no answer in 0.05 s",)


async def test_who_stops_waiting_stops_the_reading() -> None:
    web = Web({"https://slow.org/": Said(status=0)})
    reading = asyncio.ensure_future(web.pages().read(["https://slow.org/"], anywhere))
    await asyncio.wait_for(web.waiting.wait(), 10)
    before = len(asyncio.all_tasks())
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert len(asyncio.all_tasks()) == before - 2


# ------------------------------------------------------------------------------ in results

PAGE = "\n".join(
    [
        "Menus were here.",
        *(f"Paragraph {n} is about other things, such as gardening and soup." for n in range(40)),
        "Python 3.14.2 was released in December; the newest of its line.",
        *(f"Paragraph {n} goes on about cooking at some length." for n in range(40)),
    ]
)


async def test_the_first_results_quote_their_pages(tmp_path: Path) -> None:
    web = Web({PYTHON.url: Said(PAGE.encode())})
    options = SearchOptions(pages=1, max_tokens=400)
    async with serving(tmp_path, FakeProvider(), options=options, pages=web.pages()) as service:
        found = await service.search(Query("newest python"))
        first, second = found.results
        assert "the newest of its line" in first.text and "gardening" in first.text
        assert len(first.text) < 1_600 and first.page == PAGE
        assert second == DOCS, "only so many pages are read"
        assert DOCS.url not in web.asked
        asked = len(web.asked)
        again = await service.search(Query("newest python"))
        assert again.cached and again.results == found.results and len(web.asked) == asked


async def test_a_page_that_fails_leaves_the_snippet_and_a_trouble(tmp_path: Path) -> None:
    web = Web()
    options = SearchOptions(pages=5, blocked=("spam.example.com",))
    provider = FakeProvider("p", [[SPAM, PYTHON]])
    async with serving(tmp_path, provider, options=options, pages=web.pages()) as service:
        found = await service.search(Query("newest python"))
    assert [one.text for one in found.results] == [PYTHON.text]
    assert found.error is None
    assert found.troubles == ("a page of www.python.org wasn't read: the server answered 404",)
    assert SPAM.url not in web.asked


async def test_results_with_pages_and_without_are_kept_apart(tmp_path: Path) -> None:
    web, provider = Web({PYTHON.url: Said(PAGE.encode())}), FakeProvider()
    options = SearchOptions(pages=1)
    async with serving(tmp_path, provider) as service:
        await service.search(Query("newest python"))
    with_pages = CacheOptions(pages=1)
    async with serving(
        tmp_path, provider, options=options, cache=with_pages, pages=web.pages()
    ) as service:
        found = await service.search(Query("newest python"))
    assert not found.cached and found.results[0].page


async def test_without_pages_nobody_is_asked_for_one(tmp_path: Path) -> None:
    web = Web({PYTHON.url: Said()})
    async with serving(tmp_path, FakeProvider(), pages=web.pages()) as service:
        found = await service.search(Query("newest python"))
    assert web.asked == [] and found.results == (PYTHON, DOCS)


async def test_reading_is_bounded_by_size() -> None:
    limits: dict[str, int] = {}
    web = Web({"https://a.org/": Said()})

    async def get(address: str, accept: str, limit: int) -> Said:
        limits[address] = limit
        return await web.get(address, accept, limit)

    await Pages(get, Clock(), 10.0).read(["https://a.org/"], anywhere)
    assert limits == {"https://a.org/robots.txt": 512 * 1024, "https://a.org/": 2 * 2**20}
