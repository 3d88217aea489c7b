"""Pictures of every tab of the inspector. ``--snapshot-update`` takes them anew."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.tui.conftest import Opener, Stage
from tests.tui.inspector_scene import conversation, source
from tui.inspect import TABS


async def _open(stage: Stage, tab: str, up: int = 1) -> None:
    """The inspector alone, on a request so many above the last one."""
    await stage.send(*conversation())
    stage.clock.advance(4.4)
    await stage.press(*["k"] * up)
    stage.app.main.inspector.pick(tab)
    await stage.settle()
    await stage.press("5", "z")


@pytest.mark.parametrize("tab", TABS)
async def test_wide(console: Opener, svg: SnapshotAssertion, tab: str) -> None:
    async with console(source=source()) as stage:
        await _open(stage, tab)
        assert stage.picture() == svg


@pytest.mark.parametrize("tab", ["Prompt", "Tools", "Cache"])
async def test_narrow(console: Opener, svg: SnapshotAssertion, tab: str) -> None:
    async with console(size=(60, 40), source=source()) as stage:
        await _open(stage, tab)
        assert stage.picture() == svg


async def test_the_whole_prompt(console: Opener, svg: SnapshotAssertion) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Prompt")
        await stage.press("d")
        assert stage.picture() == svg


async def test_a_cold_prompt(console: Opener, svg: SnapshotAssertion) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Cache", up=3)
        assert stage.picture() == svg


async def test_all_panes(console: Opener, svg: SnapshotAssertion) -> None:
    async with console(source=source()) as stage:
        await _open(stage, "Prompt")
        await stage.press("z")
        assert stage.picture() == svg


async def test_the_smallest_screen(console: Opener, svg: SnapshotAssertion) -> None:
    async with console(size=(40, 20), source=source()) as stage:
        await _open(stage, "Tools")
        assert stage.picture() == svg
