"""The real client's WebSearch, answered from doubles of the providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anyclaude.config.settings import SearchSettings
from anyclaude.search.providers import brave, serpapi, tavily
from tests.client.conftest import WINDOW, Stage, call, staged
from tests.doubles.search_engines import KEYS, PAGES, FakePrimp, SearchEngines

pytestmark = pytest.mark.client

TOOLS = ("--allowedTools", "WebSearch,ToolSearch")
ASKED = "newest python release"


def scene(**arguments: object) -> list[str]:
    return [
        call("ToolSearch", query="select:WebSearch", max_results=5),
        call("WebSearch", query=ASKED, **arguments),
        "I have read them.",
        call("WebSearch", query=ASKED, **arguments),
        "And again.",
    ]


@asynccontextmanager
async def searching(
    claude: str, embedded: Path, folder: Path, engines: SearchEngines, *providers: str
) -> AsyncIterator[Stage]:
    given = {f"{name}_key": key for name, key in KEYS.items()}
    search = SearchSettings(providers, searxng_url=engines.base_url, **given)  # type: ignore[arg-type]
    async with staged(claude, embedded, folder, WINDOW, search=search) as stage:
        yield stage


@pytest.fixture
async def engines(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SearchEngines]:
    async with SearchEngines() as engines:
        for module in (brave, tavily, serpapi):
            monkeypatch.setattr(module, "ADDRESS", engines.base_url)
        yield engines


@pytest.mark.parametrize("name", ["duckduckgo", "brave", "tavily", "serpapi", "searxng"])
async def test_the_client_shows_results_and_counts_the_search(
    claude_path: str,
    embedded_model_dir: Path,
    tmp_path: Path,
    engines: SearchEngines,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    import ddgs.http_client

    monkeypatch.setattr(ddgs.http_client.primp, "Client", FakePrimp())
    async with searching(claude_path, embedded_model_dir, tmp_path, engines, name) as stage:
        stage.playbook.scenes["look"] = scene(blocked_domains=["spam.example.com"])
        reply = await stage.claude_run("SCENARIO:look go", *TOOLS)
        assert reply.code == 0, reply.stderr
        assert reply.text == "I have read them."
        prompt = stage.playbook.prompts[-1]
        for page in PAGES:
            assert (page.url in prompt) is ("spam" not in page.url)
        assert PAGES[0].text in prompt
        counts = [usage["webSearchRequests"] for usage in reply.out["modelUsage"].values()]
        assert sum(counts) == 1
        rows = await stage.rows("select role, status, backend from requests where role = 'search'")
        assert rows == (("search", 200, "search"),)
        searches = await stage.rows("select provider, query, results, cached, error from searches")
        assert searches == ((name, ASKED, 3, False, None),)


async def test_failures_fall_over_and_the_last_is_the_clients_error(
    claude_path: str, embedded_model_dir: Path, tmp_path: Path, engines: SearchEngines
) -> None:
    engines.fails = {"brave": 429, "searxng": 500}
    names = ("brave", "searxng", "tavily")
    async with searching(claude_path, embedded_model_dir, tmp_path, engines, *names) as stage:
        stage.playbook.scenes["look"] = scene()
        reply = await stage.claude_run("SCENARIO:look go", *TOOLS)
        assert reply.code == 0, reply.stderr
        assert PAGES[0].text in stage.playbook.prompts[-1]
        assert [engine for engine, _ in engines.asked] == ["brave", "searxng", "tavily"]
        engines.fails["tavily"] = 500
        await stage.runtime.control.flush("search")
        failed = await stage.claude_run("SCENARIO:look go", *TOOLS)
        assert failed.code == 0, failed.stderr
        assert "unavailable" in stage.playbook.prompts[-1]
        found = await stage.rows("select provider, error is null from searches")
        assert found == (("tavily", True), ("tavily", False))
