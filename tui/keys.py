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
    from tui.app import Console
    from tui.dialogs.confirm import Confirm
    from tui.dialogs.help import Help
    from tui.dialogs.models import ModelList, ModelPicker
    from tui.screen import MainScreen
    from tui.widgets.page import Page
    from tui.widgets.requests import FilterBar, RequestList
    from tui.widgets.side import ErrorsPane

    places: tuple[tuple[str, tuple[type[DOMNode], ...]], ...] = (
        ("Everywhere", (MainScreen, Console)),
        ("Request list", (RequestList,)),
        ("Filter", (FilterBar,)),
        ("Inspector, cache and events", (Page,)),
        ("Tool-call errors", (ErrorsPane,)),
        ("Model picker", (ModelList, ModelPicker)),
        ("Questions", (Confirm,)),
        ("Help", (Help,)),
    )
    return tuple(
        Section(title, tuple(e for cls in classes for e in entries(cls, keymap)))
        for title, classes in places
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
