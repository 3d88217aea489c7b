"""Pictures for the docs: the demonstration played once, and the screens worth showing of it.

``python -m tui.screenshots docs/pictures`` writes an SVG each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["TEXTUAL_ANIMATIONS"] = "none"

from textual.pilot import Pilot

from anyclaude.config.load import load_settings
from anyclaude.config.settings import Settings, UiSettings
from anyclaude.events import RequestFinished, Subscription
from tui.app import Console
from tui.demo import REQUESTS, DemoLaunch
from tui.desk import Surroundings
from tui.source import Source
from tui.themes import load_themes, theme_folder


@dataclass(frozen=True, slots=True)
class Picture:
    """``keys`` lead to it from the list of requests; ``then`` is how many escapes lead back."""

    name: str
    keys: Sequence[str]
    then: int = 1
    width: int = 120
    height: int = 36
    theme: str = ""


PICTURES = (
    Picture("console", ("g", "j", "j"), 0),
    Picture("prompt", ("enter", "right_square_bracket"), 2),
    Picture("cache", ("enter", *["right_square_bracket"] * 3), 2),
    Picture("tree", ("T",)),
    Picture("vitals", ("v",)),
    Picture("sql", ("s", "down", "enter"), 2),
    Picture("history", ("h",)),
    Picture("keys", ("question_mark",)),
    Picture("narrow", (), 0, 60, 40),
    Picture("light", (), 0, theme="anyclaude-light"),
)


class _Watched(DemoLaunch):
    """Listens from the beginning, so that nothing of the session is missed."""

    events: Subscription

    async def start(self, found: Callable[[Source], None]) -> None:
        def both(source: Source) -> None:
            self.events = source.subscribe()
            found(source)

        await super().start(both)

    async def played(self) -> None:
        ended = 0
        async for event in self.events:
            ended += isinstance(event, RequestFinished)
            if ended == REQUESTS:
                return


async def take(settings: Settings) -> dict[str, str]:
    """Plays the demonstration; every picture as SVG by its name."""
    launch = _Watched(settings)
    taken: dict[str, str] = {}
    app = Console(launch, UiSettings(), load_themes([theme_folder()]), Surroundings(tick_s=None))
    async with app.run_test(size=(120, 36)) as pilot:
        try:
            await app.workers.wait_for_complete()
            await launch.played()
            await _settle(app, pilot)
            for picture in PICTURES:
                taken[picture.name] = await _take(app, pilot, picture)
        finally:
            await launch.stop()
    return taken


async def _take(app: Console, pilot: Pilot[None], picture: Picture) -> str:
    before = app.theme
    await pilot.resize_terminal(picture.width, picture.height)
    if picture.theme:
        app.theme = picture.theme
    for key in picture.keys:
        await pilot.press(key)
        await _settle(app, pilot)
    await _settle(app, pilot)
    svg = app.export_screenshot(title="anyclaude")
    for _ in range(picture.then):
        await pilot.press("escape")
    app.theme = before
    return svg


async def _settle(app: Console, pilot: Pilot[None]) -> None:
    app.tick()
    await app.workers.wait_for_complete()
    app.tick()
    await pilot.pause()


def main() -> None:
    folder = Path(sys.argv[1])
    settings = load_settings(config=None, overrides={}, env=os.environ, cwd=Path.cwd())
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in asyncio.run(take(settings)).items():
        (folder / f"{name}.svg").write_text(svg, "utf-8")


if __name__ == "__main__":
    main()
