"""The demonstration as a person sees it: why the third request was slow stands on the screen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from anyclaude.config.settings import Settings, UiSettings
from anyclaude.events import RequestFinished, Subscription
from anyclaude.records import RequestRecord
from tui import format as f
from tui.app import Console
from tui.demo import REQUESTS, SESSION, DemoLaunch
from tui.desk import Surroundings
from tui.source import Source
from tui.themes import load_themes, theme_folder


class Watched(DemoLaunch):
    """Keeps a subscription of its own from the beginning."""

    events: Subscription

    async def start(self, found: Callable[[Source], None]) -> None:
        def both(source: Source) -> None:
            self.events = source.subscribe()
            found(source)

        await super().start(both)


async def _played(launch: Watched) -> list[RequestRecord]:
    records: list[RequestRecord] = []
    async for event in launch.events:
        if isinstance(event, RequestFinished):
            records.append(event.record)
            if len(records) == REQUESTS:
                break
    return records


@pytest.mark.model
async def test_the_screen_says_why_the_third_request_was_slow(
    tmp_path: Path, embedded_model_dir: Path
) -> None:
    data = embedded_model_dir.parent.parent
    launch = Watched(Settings(data, data / "unused.duckdb"))
    app = Console(
        launch,
        UiSettings(),
        load_themes([theme_folder()]),
        Surroundings(tick_s=None),
    )
    async with app.run_test(size=(120, 40)) as pilot:
        try:
            await app.workers.wait_for_complete()
            records = await asyncio.wait_for(_played(launch), 120)
            app.tick()
            await pilot.press("g", "j", "j")
            await app.workers.wait_for_complete()
            app.tick()
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            text = "\n".join(strip.text.rstrip() for strip in strips)
        finally:
            await launch.stop()
    assert not (data / "unused.duckdb").exists()

    main = [r for r in records if r.role == "main" and r.session_id == SESSION]
    assert [r.status for r in main] == [200] * 4
    third = main[2]
    assert third.prefix_break_message == 0 and third.prefix_break_cause
    assert third.tokens_lost > 3000
    # From the screen alone: which message, what happened to it, and what that cost.
    cause = third.prefix_break_cause.replace("_", " ")
    shown = re.sub(r"\s+", " ", text)
    assert f"message {third.prefix_break_message}" in shown
    assert cause in shown
    assert f.seconds(third.prefix_lost_ms) in shown
    assert f"{third.tokens_lost:,} tokens to be read again" in shown
    assert "src/report.py" in shown and "src/parser.py" in shown
    # The others were quick, and the edit was mended.
    assert main[1].tokens_lost == 0 and main[3].tokens_lost == 0
    refused = [r for r in records if r.status == 400]
    assert len(refused) == 1 and "messages" in (refused[0].error_message or "")
