"""Fixtures for the console: a still clock, UTC, no animation, and SVG pictures by syrupy."""

from __future__ import annotations

import os

os.environ["TEXTUAL_ANIMATIONS"] = "none"

import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.app import App
from textual.pilot import Pilot

from anyclaude.config.settings import UiSettings
from tests.tui.fake_source import Clock, FakeLaunch, FakeSource
from tui.app import Console
from tui.desk import Surroundings
from tui.launch import Offer
from tui.themes import Themes, load_themes, theme_folder

PICTURED = (3, 11)
"""The Python whose pictures are kept: another one's Unicode tables draw some lines otherwise."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that compare pictures, and leaves them out on other Pythons."""
    other = sys.version_info[:2] != PICTURED
    skipped = pytest.mark.skip(reason="pictures are compared on Python {}.{}".format(*PICTURED))
    for item in items:
        if "svg" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.picture)
            if other:
                item.add_marker(skipped)


class SvgExtension(SingleFileSnapshotExtension):
    """One .svg file per picture, as text so that a change can be read."""

    file_extension = "svg"
    _write_mode = WriteMode.TEXT


@pytest.fixture
def svg(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SvgExtension)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What an export writes into the working folder goes away with the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def pressed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of the bindings that keys were found to stand for, and whose action ran."""
    ids: set[str] = set()

    async def check(app: App[None], key: str, priority: bool = False) -> bool:
        # As in Textual, with a note of what ran.
        chain = app.screen._binding_chain[::-1] if priority else app.screen._modal_binding_chain
        for namespace, bindings in chain:
            for binding in bindings.key_to_bindings.get(key, ()):
                if binding.priority == priority:
                    ids.add(binding.id or "")
                    if await app.run_action(binding.action, namespace):
                        return True
                    ids.discard(binding.id or "")
        return False

    monkeypatch.setattr(App, "_check_bindings", check)
    return ids


class Stage:
    """A console on the fakes, and the hands that drive it."""

    def __init__(
        self,
        app: Console,
        pilot: Pilot[None],
        source: FakeSource,
        launch: FakeLaunch,
        clock: Clock,
        copied: list[str],
    ) -> None:
        self.app, self.pilot, self.source, self.launch = app, pilot, source, launch
        self.clock, self.copied = clock, copied

    async def settle(self) -> None:
        """Lets workers end and the screen come to rest, with ticks before and after."""
        self.app.tick()
        self.app.tick()  # What is selected is looked into when it was a tick ago.
        for _ in range(5):  # What a worker brought may have begun another one.
            await self.app.workers.wait_for_complete()
            self.app.tick()
            await self.pilot.pause()
            if all(worker.is_finished for worker in self.app.workers):
                break
        # What changed may have been laid out only now.
        await self.pilot.pause()

    async def send(self, *events: object) -> None:
        self.source.send(*events)  # type: ignore[arg-type]
        await self.settle()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    def picture(self) -> str:
        """The screen as SVG, without the number that Rich makes up from all that is in it: so
        that of two pictures only those lines differ that look different."""
        return re.sub(r"terminal-\d+", "terminal", self.app.export_screenshot(title="anyclaude"))

    def text(self) -> str:
        """The screen as plain text."""
        width, _ = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text[:width].rstrip() for strip in strips)


Opener = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def console() -> Opener:
    """``async with console(size=(120, 40)) as stage``."""

    @asynccontextmanager
    async def opened(
        size: tuple[int, int] = (120, 40),
        *,
        ui: UiSettings | None = None,
        failure: Exception | None = None,
        offers: tuple[Offer, ...] = (),
        source: FakeSource | None = None,
        themes: Themes | None = None,
        toasts: bool = False,
        data_dir: Path | None = None,
    ) -> AsyncIterator[Stage]:
        source = source or FakeSource()
        launch = FakeLaunch(source, failure, offers)
        clock, copied = Clock(), []

        async def copy(text: str) -> bool:
            copied.append(text)
            return True

        app = Console(
            launch,
            ui or UiSettings(),
            themes or load_themes([theme_folder()]),
            Surroundings(now=clock, tick_s=None, copy=copy, data_dir=data_dir),
        )
        async with app.run_test(size=size, notifications=toasts) as pilot:
            stage = Stage(app, pilot, source, launch, clock, copied)
            await stage.settle()
            yield stage

    return opened
