"""Bindings: ids, help, and the page made from them."""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widget import Widget

import tui
from tests.tui.conftest import Opener, Stage
from tests.tui.key_scenes import PLACES, alone, at
from tui.keys import entries, key_name, keys_of, markdown, places, sections

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


def test_the_page_is_current() -> None:
    assert DOCS.read_text(encoding="utf-8") == markdown(), "run: just docs"


def test_ids_are_unique_and_everything_has_help() -> None:
    found = [entry for section in sections({}) for entry in section.entries]
    ids = [entry.id for entry in found]
    assert len(ids) == len(set(ids))
    assert all(entry.help and entry.keys for entry in found)


def test_the_keymap_shows() -> None:
    changed = sections({"view.follow": "f5,ctrl+l"})
    entry = next(e for s in changed for e in s.entries if e.id == "view.follow")
    assert entry.keys == "f5 ctrl+l"


def test_a_binding_without_id_is_refused() -> None:
    class Nameless(Widget):
        BINDINGS = [Binding("x", "y", "does")]  # noqa: RUF012

    with pytest.raises(ValueError, match="no id"):
        list(entries(Nameless, {}))


@pytest.mark.parametrize(
    ("key", "name"),
    [("escape", "esc"), ("slash", "/"), ("ctrl+q", "ctrl+q"), ("G", "G"), ("down", "↓")],
)
def test_key_names(key: str, name: str) -> None:
    assert key_name(key) == name


CLASSES = dict(places())
SECTIONS = {section.title: section.entries for section in sections({})}


def test_every_place_with_keys_can_be_gone_to() -> None:
    assert set(SECTIONS) == set(PLACES)


def test_no_class_with_bindings_is_left_out() -> None:
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        importlib.import_module(module.name)
    found, unseen = set(), [DOMNode]
    while unseen:
        for kind in unseen.pop().__subclasses__():
            unseen.append(kind)
            if kind.__module__.startswith("tui.") and kind.__dict__.get("BINDINGS"):
                found.add(kind)
    assert found == {kind for classes in CLASSES.values() for kind in classes}


@pytest.mark.parametrize("title", list(SECTIONS))
async def test_every_binding_is_pressed_and_does_something(
    console: Opener, pressed: set[str], tmp_path: Path, title: str
) -> None:
    """Each on a console of its own, or on the last one's if that is back where it was."""
    keys = {id: key for c in CLASSES[title] for id, key in keys_of(c, {}).items()}
    async with AsyncExitStack() as used:
        stage: Stage | None = None
        for count, entry in enumerate(SECTIONS[title]):
            if stage is not None and not alone(title, entry.id):
                where = _where(stage)
                if await _does_something(stage, keys[entry.id], entry.id, pressed):
                    if not await _back(stage, where):
                        await used.aclose()
                        stage = None
                    continue
            await used.aclose()
            folder = tmp_path / str(count)
            stage = await used.enter_async_context(at(console, title, entry.id, folder))
            where = _where(stage)
            assert await _does_something(stage, keys[entry.id], entry.id, pressed), (
                f"{keys[entry.id]} did nothing as {entry.id} at {stage.app.focused}"
            )
            if alone(title, entry.id) or not await _back(stage, where):
                await used.aclose()
                stage = None


async def _does_something(stage: Stage, key: str, id: str, pressed: set[str]) -> bool:
    before = _state(stage)
    pressed.clear()
    await stage.press(key)
    return id in pressed and _state(stage) != before


async def _back(stage: Stage, where: tuple[object, ...]) -> bool:
    """Whether the console is where it was, if need be by way of ``esc``."""
    if stage.app.is_running and _where(stage) != where:
        await stage.press("escape")
    return stage.app.is_running and _where(stage) == where


def _where(stage: Stage) -> tuple[object, ...]:
    return tuple(map(id, stage.app.screen_stack)), id(stage.app.focused)


def _state(stage: Stage) -> tuple[object, ...]:
    """All that a key can change: what is on show, what was asked for, and what was copied."""
    app = stage.app
    return (
        str(app.screen._compositor.render_strips()) if app.is_running else "",
        app.is_running,
        [type(screen).__name__ for screen in app.screen_stack],
        str(app.focused),
        tuple(stage.source.fake.calls),
        tuple(stage.source.fake.asked),
        tuple(stage.copied),
        app.theme,
        app.view.follow,
        [notice.message for notice in app._notifications],
        stage.launch.stops,
    )
