"""Bindings: ids, help, and the page made from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.binding import Binding
from textual.widget import Widget

from tui.keys import entries, key_name, markdown, sections

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
