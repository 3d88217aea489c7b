"""The keys as the help screen and ``docs/keys.md`` list them, taken from the bindings.

``python -m tui.keys`` prints the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import format_key

_NAMES = {
    "escape": "esc",
    "question_mark": "?",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One binding: its id, its keys as a person reads them, and what it does."""

    id: str
    keys: str
    help: str


@dataclass(frozen=True, slots=True)
class Section:
    """The bindings of one place."""

    title: str
    entries: tuple[Entry, ...]


def key_name(key: str) -> str:
    """``ctrl+q``, ``G``, ``esc``: a key as it is written in text."""
    key = key.strip()
    return _NAMES.get(key) or (key if "+" in key else format_key(key))


def keys_of(place: type[DOMNode], keymap: Mapping[str, str]) -> dict[str, str]:
    """The first key of each binding that a class declares, by the binding's id."""
    return {
        binding.id: keymap.get(binding.id, binding.key).split(",")[0].strip()
        for binding in place.__dict__.get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.id
    }


def entries(place: type[DOMNode], keymap: Mapping[str, str]) -> Iterable[Entry]:
    """The bindings a class itself declares; raises ValueError for one without id or help."""
    for binding in place.__dict__.get("BINDINGS", ()):
        if not isinstance(binding, Binding) or not binding.id or not binding.description:
            raise ValueError(f"a binding of {place.__name__} has no id or no description")
        keys = keymap.get(binding.id, binding.key)
        text = binding.tooltip or binding.description
        yield Entry(binding.id, " ".join(key_name(k) for k in keys.split(",")), text)


def sections(keymap: Mapping[str, str]) -> tuple[Section, ...]:
    """Every place that has keys, in the order of their use."""
    return tuple(
        Section(title, tuple(e for cls in classes for e in entries(cls, keymap)))
        for title, classes in places()
    )


def places() -> tuple[tuple[str, tuple[type[DOMNode], ...]], ...]:
    """The classes that have bindings, under the names of the places where they are."""
    from tui.app import Console
    from tui.dialogs.choices import Choices, Chooser
    from tui.dialogs.confirm import Confirm
    from tui.dialogs.copy_menu import CopyMenu
    from tui.dialogs.export import Export
    from tui.dialogs.flush import FlushChooser
    from tui.dialogs.help import Help
    from tui.dialogs.jump import Jump
    from tui.dialogs.models import ModelList, ModelPicker
    from tui.dialogs.palette import Palette
    from tui.dialogs.pick import Pick
    from tui.dialogs.reparse import Reparse
    from tui.dialogs.row import RowView
    from tui.dialogs.sql_export import SqlExport
    from tui.dialogs.switches import Switches
    from tui.rooms.backends import BackendsRoom
    from tui.rooms.base import AskingRoom, Room
    from tui.rooms.history import HistoryRoom
    from tui.rooms.searches import SearchesRoom
    from tui.rooms.sql import SqlRoom
    from tui.rooms.tree import TreeRoom
    from tui.rooms.vitals import Grid, VitalsRoom
    from tui.screen import MainScreen
    from tui.widgets.inspector import InspectorPage
    from tui.widgets.page import Page
    from tui.widgets.query import Editor
    from tui.widgets.requests import FilterBar, RequestList
    from tui.widgets.result import ResultTable
    from tui.widgets.rows import Rows
    from tui.widgets.side import ErrorsPane

    return (
        ("Everywhere", (MainScreen, Console)),
        ("Request list", (RequestList,)),
        ("Filter", (FilterBar,)),
        ("Inspector", (InspectorPage,)),
        ("Inspector, cache and events", (Page,)),
        ("Tool-call errors", (ErrorsPane,)),
        ("Rooms", (Room, AskingRoom, Rows)),
        ("Prefix tree", (TreeRoom,)),
        ("Vitals", (VitalsRoom, Grid)),
        ("Backends", (BackendsRoom,)),
        ("Web searches", (SearchesRoom,)),
        ("SQL", (SqlRoom, Editor, ResultTable)),
        ("SQL dialogs", (Pick, RowView, SqlExport)),
        ("History", (HistoryRoom,)),
        ("Model picker", (ModelList, ModelPicker)),
        ("Lists to choose from", (Choices, Chooser)),
        ("Flush", (FlushChooser,)),
        ("Copy menu", (CopyMenu,)),
        ("Switches", (Switches,)),
        ("Export", (Export,)),
        ("Parse again", (Reparse,)),
        ("Commands", (Palette,)),
        ("Jump", (Jump,)),
        ("Questions", (Confirm,)),
        ("Help", (Help,)),
    )


def markdown() -> str:
    """``docs/keys.md``."""
    lines = [
        "# Keys",
        "",
        "Generated from the bindings by `python -m tui.keys`; `?` shows the same in the console.",
        "Each can be changed by its id in the configuration:",
        "",
        "```toml",
        "[ui.keymap]",
        '"view.follow" = "f5"',
        "```",
    ]
    for section in sections({}):
        lines += ["", f"## {section.title}", "", "| key | does | id |", "| --- | --- | --- |"]
        for entry in section.entries:
            keys = " ".join(f"`{key}`" for key in entry.keys.split(" "))
            lines.append(f"| {keys} | {entry.help} | `{entry.id}` |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
