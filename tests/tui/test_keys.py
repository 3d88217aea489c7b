"""Bindings: ids, help, and the page made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.binding import Binding
from textual.widget import Widget

from tests.tui.conftest import Opener, Stage
from tests.tui.key_scenes import PLACES, at
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
BOUND = [
    pytest.param(section.title, entry.id, id=entry.id)
    for section in sections({})
    for entry in section.entries
]


def test_every_place_with_keys_can_be_gone_to() -> None:
    assert {section.title for section in sections({})} == set(PLACES)


@pytest.mark.parametrize(("title", "binding"), BOUND)
async def test_every_binding_is_pressed_and_does_something(
    console: Opener,
    pressed: set[str],
    tmp_path: Path,
    title: str,
    binding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    async with at(console, title, binding, tmp_path / "data") as stage:
        key = next(k[binding] for k in (keys_of(c, {}) for c in CLASSES[title]) if binding in k)
        before = _state(stage)
        pressed.clear()
        await stage.press(key)
        assert binding in pressed, f"{key} was not taken as {binding} at {stage.app.focused}"
        assert _state(stage) != before, f"{key} did nothing"


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
