"""The demonstration: the real server over a scripted model, and a client that works with it.

Nothing of the figures is made up: the requests go over a socket, the prompts are rendered, read
and cached as ever, and only the model's words and pace come from ``anyclaude/demo.toml``. The
third request is slow because the client changed its first message, which the console explains.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyclaude.events import EngineState, Subscription
from tui.demo_talk import (
    AGENT_SYSTEM,
    CHANGED_NOTES,
    NOTES,
    SYSTEM,
    TASK,
    TEST_REPORT,
    TOOLS,
    source_text,
)
from tui.launch import LocalLaunch
from tui.source import Source

if TYPE_CHECKING:
    import httpx

    from anyclaude.config.settings import Settings

SESSION = "d3m0c0de-0000-4000-8000-000000000001"
OTHER = "d3m0c0de-0000-4000-8000-000000000002"
REQUESTS = 8
"""Four of the main loop, two of a subagent, a title, and one that is refused."""

Json = dict[str, Any]


class DemoLaunch(LocalLaunch):
    """The embedded server in a folder of its own that goes when it stops."""

    def __init__(self, settings: Settings, model: str = "scripted:demo") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="anyclaude-demo-"))
        super().__init__(demo_settings(settings, self._folder, model))
        self._player: asyncio.Task[None] | None = None

    async def start(self, found: Callable[[Source], None]) -> None:
        sources: list[Source] = []

        def both(source: Source) -> None:
            sources.append(source)
            found(source)

        await super().start(both)
        source = sources[0]
        self._player = asyncio.create_task(play_when_ready(source, source.subscribe()))

    async def stop(self) -> None:
        player, self._player = self._player, None
        if player is not None:
            player.cancel()
            with suppress(asyncio.CancelledError):
                await player
        await super().stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, True)


def demo_settings(settings: Settings, folder: Path, model: str) -> Settings:
    """The user's settings with a log and a cache that nobody else sees.

    Unconstrained, since a call that needs mending is part of what there is to see.
    """
    (settings.data_dir / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(settings.data_dir / "models")
    return replace(
        settings,
        data_dir=folder,
        db=folder / "anyclaude.duckdb",
        model=replace(settings.model, default=model),
        server=replace(settings.server, port=0, api_key=""),
        keys=(),
        tools=replace(settings.tools, constrain=False),
    )


async def play_when_ready(source: Source, events: Subscription) -> None:
    """Plays the session once, as soon as the model is there."""
    if source.engine_state.phase != "ready":
        async for event in events:
            if isinstance(event, EngineState) and event.phase == "ready":
                break
    events.close()
    await play(source.address)


async def play(address: str) -> None:
    """The session: three turns, of which the third is read anew, then a fourth with company."""
    import httpx

    async with httpx.AsyncClient(base_url=address, timeout=120, trust_env=False) as http:
        first: Json = {"role": "user", "content": f"{NOTES}\n\n{TASK}"}
        talk: list[Json] = [first]
        await _turn(http, talk, source_text())
        await _turn(http, talk, TEST_REPORT)
        # What makes the third one slow: the client writes its first message anew.
        first["content"] = f"{CHANGED_NOTES}\n\n{TASK}"
        await _turn(http, talk, "src/parser.py has been edited.")
        await asyncio.gather(_turn(http, talk, ""), _subagent(http), _title(http))
        await _post(http, {**_body([]), "messages": []}, OTHER)


async def _turn(http: httpx.AsyncClient, talk: list[Json], result: str) -> None:
    """One request of the main loop; its answer joins ``talk``, and the results of its calls."""
    content = await _post(http, _body(talk), SESSION)
    talk.append({"role": "assistant", "content": content})
    results = _results(content, result)
    if results:
        talk.append({"role": "user", "content": results})


async def _subagent(http: httpx.AsyncClient) -> None:
    talk: list[Json] = [{"role": "user", "content": "Who else calls split_lines?"}]
    for _ in range(2):
        body = {**_body(talk), "system": AGENT_SYSTEM}
        content = await _post(http, body, SESSION, {"x-claude-code-agent-id": "scout"})
        results = _results(content, "src/parser.py:31\nsrc/report.py:12")
        talk += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]


def _results(content: Sequence[Json], text: str) -> list[Json]:
    return [
        {"type": "tool_result", "tool_use_id": block["id"], "content": text}
        for block in content
        if block.get("type") == "tool_use"
    ]


async def _title(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": f"Write a short title for: {TASK}"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    await _post(http, body, SESSION)


def _body(talk: Sequence[Json]) -> Json:
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1024,
        "stream": True,
        "system": SYSTEM,
        "tools": TOOLS,
        "messages": list(talk),
    }


async def _post(
    http: httpx.AsyncClient, body: Json, session: str, more: Mapping[str, str] = {}
) -> list[Json]:
    """The blocks of the answer; none when it failed, which is then for the console to show."""
    from anyclaude.bench.grammar import check_sse

    headers = {
        "user-agent": "claude-cli/2.1.330 (external, demo)",
        "x-claude-code-session-id": session,
        "anthropic-version": "2023-06-01",
        **more,
    }
    response = await http.post("/v1/messages", json=body, headers=headers)
    if response.status_code != 200:
        return []
    if response.headers["content-type"].startswith("application/json"):
        return list(response.json()["content"])
    return list(check_sse(response.text.split("\n")).content)
