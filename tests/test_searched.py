"""Claude Code's WebSearch side request, answered by the whole server without any model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from anyclaude.backends import web
from anyclaude.bench.grammar import check_message, check_sse
from anyclaude.config.settings import BackendSettings, RouteSettings, SearchSettings
from anyclaude.events import RequestFinished, RequestReceived
from anyclaude.runtime import Runtime
from tests.bench.double import answer
from tests.doubles.anthropic_upstream import KEY, anthropic_double
from tests.doubles.search_engines import PAGES, SearchEngines
from tests.search_kit import TOOL, Stage, settings_for, side_request, staged, told

FRESH = "What is the latest stable version of Python?"


@pytest.fixture
async def engines() -> AsyncIterator[SearchEngines]:
    async with SearchEngines() as engines:
        yield engines


@pytest.fixture
async def stage(engines: SearchEngines, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path / "data", engines) as stage:
        yield stage


def blocks(answer: Any) -> list[dict[str, Any]]:
    read = check_sse(answer.text.split("\n"))
    assert read.problems == []
    return list(read.content)


async def test_a_stream_with_results_citations_and_the_true_count(stage: Stage) -> None:
    answer = await stage.ask(side_request("newest python", blocked_domains=["spam.example.com"]))
    read = check_sse(answer.text.split("\n"))
    assert read.problems == [] and read.stop_reason == "end_turn"
    call, result, *texts = read.content
    assert (call["type"], call["name"]) == ("server_tool_use", "web_search")
    assert str(call["id"]).startswith("srvtoolu_") and call["input"] == {"query": "newest python"}
    assert (result["type"], result["tool_use_id"]) == ("web_search_tool_result", call["id"])
    kept = [page for page in PAGES if "spam" not in page.url]
    pages: Any = result["content"]
    assert [(p["url"], p["title"]) for p in pages] == [(p.url, p.title) for p in kept]
    assert [p["page_age"] for p in pages] == [page.age or None for page in kept]
    assert [page.text in str(text["text"]) for page, text in zip(kept, texts, strict=True)]
    cited: Any = texts[0]["citations"]
    assert cited[0]["url"] == kept[0].url and cited[0]["cited_text"] == kept[0].text
    usage: Any = read.usage
    assert usage["server_tool_use"] == {"web_search_requests": 1}
    assert usage["input_tokens"] == usage["output_tokens"] == 0
    assert stage.engines.asked == [("searxng", "newest python -site:spam.example.com")]
    assert "spam.example.com" not in answer.text.replace("-site:spam.example.com", "")


async def test_the_row_the_search_and_the_headers(stage: Stage) -> None:
    answer = await stage.ask(side_request("newest python"))
    (row,) = await stage.rows("select * from requests")
    assert (row["role"], row["backend"], row["status"]) == ("search", "search", 200)
    assert (row["stop_reason"], row["streaming"]) == ("end_turn", True)
    assert row["route_reason"] == "a web search, which needs no model"
    (search,) = await stage.searches()
    assert search.pop("ms") >= 0 and search.pop("tokens") > 20
    assert search == {
        "request_id": answer.headers["request-id"],
        "provider": "searxng",
        "query": "newest python",
        "results": 4,
        "cached": False,
        "error": None,
        "pages": "[]",
    }
    assert answer.headers["x-anyclaude-backend"] == "search"
    assert answer.headers["x-anyclaude-cache"].startswith("tier=none;")
    detail = await stage.runtime.control.detail(answer.headers["request-id"])
    assert json.loads(detail.response)["content"] == blocks(answer)
    metrics = (await stage.http.get("/metrics")).text
    assert 'anyclaude_searches_total{provider="searxng",kind="asked",outcome="found"} 1' in metrics


async def test_the_same_search_again_shows_as_a_cache_hit(stage: Stage) -> None:
    await stage.ask(side_request("newest python"))
    again = await stage.ask(side_request("Newest  Python"))
    assert again.headers["x-anyclaude-cache"].startswith("tier=search;")
    assert len(stage.engines.asked) == 1
    assert [s["cached"] for s in await stage.searches()] == [False, True]
    (tier,) = [t for t in await stage.runtime.control.cache() if t.tier == "search"]
    assert (tier.hits, tier.misses, tier.entries) == (1, 1, 1)
    (flushed,) = await stage.runtime.control.flush("search")
    assert (flushed.tier, flushed.entries) == ("search", 1)
    await stage.ask(side_request("newest python"))
    assert len(stage.engines.asked) == 2


PAGE = (
    "<html><body><nav>Menu and more</nav><article><h1>Download</h1>"
    + "<p>The newest release has a page of its own, with more than any search engine quotes.</p>"
    * 3
    + "<p>Its installer is 28 MB, and its checksum ends in 6447.</p></article></body></html>"
)


async def test_pages_themselves_are_quoted_where_that_is_wanted(
    engines: SearchEngines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    good, closed = f"{engines.base_url}/site/good", f"{engines.base_url}/site/closed"
    engines.pages = (
        replace(PAGES[0], url=good),
        replace(PAGES[1], url=closed),
        replace(PAGES[3], url="http://10.0.0.1/private"),
    )
    rules = "User-agent: anyclaude\nDisallow: /site/closed"
    engines.html = {"/site/good": PAGE, "/site/closed": PAGE, "/robots.txt": rules}
    async with staged(tmp_path / "data", engines, pages=3) as stage:
        answer = await stage.ask(side_request("newest python installer checksum"))
        texts = [b["text"] for b in blocks(answer) if b["type"] == "text"]
        assert "its checksum ends in 6447" in texts[0] and "Menu and more" not in texts[0]
        assert PAGES[1].text in texts[1] and "6447" not in texts[1]
        assert PAGES[3].text in texts[2]
        (search,) = await stage.searches()
        assert json.loads(search["pages"]) == [good]
        events = await stage.rows("select message from events where kind = 'search'")
        assert sorted(row["message"] for row in events) == [
            "a page of 10.0.0.1 wasn't read: 10.0.0.1 is no address of the open web",
            "a page of 127.0.0.1 wasn't read: its robots.txt asks programs to stay away",
        ]
        asked = len(engines.agents)
        assert {agent.split("/")[0] for agent in engines.agents} == {"anyclaude"}
        again = await stage.ask(side_request("newest python installer checksum"))
        assert again.headers["x-anyclaude-cache"].startswith("tier=search;")
        assert [b["text"] for b in blocks(again) if b["type"] == "text"] == texts
        assert len(engines.agents) == asked


async def test_by_default_no_site_hears_of_a_search(
    engines: SearchEngines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", lambda address: True)
    engines.pages = (replace(PAGES[0], url=f"{engines.base_url}/site/good"),)
    engines.html = {"/site/good": PAGE}
    async with staged(tmp_path / "data", engines) as stage:
        await stage.ask(side_request("newest python"))
    assert engines.agents == []


async def test_results_outlive_the_process(engines: SearchEngines, tmp_path: Path) -> None:
    for _ in range(2):
        async with staged(tmp_path / "data", engines) as stage:
            await stage.ask(side_request("newest python"))
            (tier,) = [t for t in await stage.runtime.control.cache() if t.tier == "search"]
    assert (tier.hits, tier.entries, len(engines.asked)) == (1, 1, 1)


async def test_the_sdk_puts_the_stream_together(stage: Stage) -> None:
    client = anthropic.AsyncAnthropic(base_url=stage.runtime.address, api_key="x", max_retries=0)
    asked = side_request("newest python")
    del asked["stream"]
    async with client, client.messages.stream(**asked) as stream:
        message = await stream.get_final_message()
    kinds = [block.type for block in message.content]
    assert kinds[:2] == ["server_tool_use", "web_search_tool_result"] and set(kinds[2:]) == {"text"}
    call: Any = message.content[0]
    result: Any = message.content[1]
    text: Any = message.content[2]
    assert call.input == {"query": "newest python"}
    assert [page.url for page in result.content] == [page.url for page in PAGES]
    assert text.citations[0].type == "web_search_result_location"
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == 1


async def test_in_one_piece_it_is_the_same(stage: Stage) -> None:
    streamed = await stage.ask(side_request("newest python"))
    whole = (await stage.ask({**side_request("newest python"), "stream": False})).json()
    assert check_message(whole) == []
    said = blocks(streamed)
    for block in (*said, *whole["content"]):
        block.pop("id", None)
        block.pop("tool_use_id", None)
    assert whole["content"] == said
    assert whole["usage"]["server_tool_use"] == {"web_search_requests": 1}


async def test_a_failure_is_the_clients_error_block(stage: Stage) -> None:
    stage.engines.fails["searxng"] = 429
    answer = await stage.ask(side_request("newest python"))
    _, result, text = blocks(answer)
    assert result["content"] == {
        "type": "web_search_tool_result_error",
        "error_code": "too_many_requests",
    }
    assert "too_many_requests" in str(text["text"]) and "citations" not in text
    assert "server_tool_use" not in (check_sse(answer.text.split("\n")).usage or {})
    (search,) = await stage.searches()
    assert search["error"].startswith("too_many_requests: searxng")
    (event,) = await stage.rows("select * from events where kind = 'search'")
    assert (event["level"], event["request_id"]) == ("warning", answer.headers["request-id"])
    stage.engines.fails.clear()
    resting = await stage.ask(side_request("another"))
    assert "it is asked again in" in resting.text


@pytest.mark.parametrize(
    ("tool", "query", "code"),
    [
        ({"max_uses": 0}, "x", "max_uses_exceeded"),
        ({}, "x" * 500, "query_too_long"),
        ({"allowed_domains": ["a.org"], "blocked_domains": ["b.org"]}, "x", "invalid_input"),
    ],
)
async def test_what_cannot_be_asked(
    stage: Stage, tool: dict[str, Any], query: str, code: str
) -> None:
    result = blocks(await stage.ask(side_request(query, **tool)))[1]
    assert result["content"] == {"type": "web_search_tool_result_error", "error_code": code}
    assert stage.engines.asked == []


async def test_switched_off_it_says_so(engines: SearchEngines, tmp_path: Path) -> None:
    async with staged(tmp_path / "data", engines, providers=()) as stage:
        _, result, text = blocks(await stage.ask(side_request("newest python")))
        assert result["content"] == {
            "type": "web_search_tool_result_error",
            "error_code": "unavailable",
        }
        assert "search.providers is empty" in str(text["text"])
    assert engines.asked == []


async def test_a_forced_search_and_a_conversation_that_may_search(stage: Stage) -> None:
    asked = {
        "model": "claude-x",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "tools": [TOOL],
    }
    talked = (await stage.ask(asked)).json()
    assert [b["text"] for b in talked["content"]] == ["Said."]
    forced = (
        await stage.ask({**asked, "tool_choice": {"type": "tool", "name": "web_search"}})
    ).json()
    assert forced["content"][0]["input"] == {"query": "What is the weather in Oslo?"}


async def test_a_person_can_end_a_search_that_hangs(stage: Stage) -> None:
    stage.engines.hangs.add("searxng")
    heard = stage.runtime.bus.subscribe()
    asking = asyncio.ensure_future(stage.ask(side_request("newest python")))
    await stage.engines.reached.wait()
    assert await stage.runtime.control.cancel((await told(heard, RequestReceived)).id)
    read = check_sse((await asking).text.split("\n"))
    assert read.error is not None and "cancelled" in str(read.error["message"])
    (search,) = await stage.searches()
    assert search["error"] == "unavailable: it was given up before it ended"
    (row,) = await stage.rows("select status from requests")
    assert row["status"] == 500


async def test_a_client_that_leaves_ends_its_search(stage: Stage) -> None:
    stage.engines.hangs.add("searxng")
    heard = stage.runtime.bus.subscribe()
    async with stage.http.stream("POST", "/v1/messages", json=side_request("x y")) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event: content_block_stop"):
                break
    assert (await told(heard, RequestFinished)).record.status == 499
    (search,) = await stage.searches()
    assert search["error"] == "unavailable: it was given up before it ended"


async def test_where_anthropics_api_answers_it_searches_itself(
    engines: SearchEngines, tmp_path: Path
) -> None:
    """Neither is the search made here, nor anything put into a turn."""
    async with anthropic_double() as double:
        events = tuple(answer("It is 3.14."))
        double.streams = lambda: [piece.encode() for piece in events]
        search = SearchSettings(("searxng",), searxng_url=engines.base_url, proactive=True)
        settings = replace(
            settings_for(tmp_path / "data", search, cache_marks=()),
            backends=(("far", BackendSettings("anthropic", base_url=double.url)),),
            routes=(RouteSettings("*", ("far",)),),
        )
        runtime = Runtime(settings)
        await runtime.start()
        headers = {
            "x-api-key": KEY,
            "anthropic-version": "2023-06-01",
            "x-claude-code-session-id": "s",
        }
        try:
            async with httpx.AsyncClient(base_url=runtime.address, trust_env=False) as http:
                for body in (
                    side_request("newest python"),
                    {
                        "model": "claude-opus-5",
                        "max_tokens": 9,
                        "stream": True,
                        "messages": [{"role": "user", "content": FRESH}],
                    },
                ):
                    asked = {**body, "model": "claude-opus-5"}
                    got = await http.post("/v1/messages", json=asked, headers=headers)
                    assert got.status_code == 200, got.text
                    assert got.headers["x-anyclaude-backend"] == "far"
                    assert json.loads(double.requests[-1].body) == asked
        finally:
            await runtime.stop()
    assert engines.asked == []
