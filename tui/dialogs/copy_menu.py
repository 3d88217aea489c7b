"""What can be copied, a letter each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui import format as f
from tui.copying import Copyable
from tui.dialogs.choices import Choice, Choices, Chooser
from tui.lines import fit, line

_LETTERS = {
    "shown": "y",
    "id": "i",
    "prompt": "p",
    "output": "o",
    "tools": "t",
    "curl": "c",
    "sql": "s",
    "paste": "l",
}
_NAME = 42


class CopyMenu(Chooser):
    """Ends with the id of what was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "pick('shown')", "What is on show", id="copy.shown"),
        Binding("i", "pick('id')", "Request id", show=False, id="copy.id"),
        Binding("p", "pick('prompt')", "Prompt", show=False, id="copy.prompt"),
        Binding("o", "pick('output')", "Output", show=False, id="copy.output"),
        Binding("t", "pick('tools')", "Tool calls as JSON", show=False, id="copy.tools"),
        Binding("c", "pick('curl')", "curl", show=False, id="copy.curl"),
        Binding("s", "pick('sql')", "SQL for this request", show=False, id="copy.sql"),
        Binding("l", "pick('paste')", "Lines to paste", show=False, id="copy.paste"),
    ]

    def __init__(self, items: Sequence[Copyable], of: str) -> None:
        super().__init__(
            f"Copy from {of}",
            [_choice(item) for item in items],
            "Keys and tokens are masked in all of it.",
        )
        self._items = {item.id: item for item in items}

    def show_items(self, items: Sequence[Copyable]) -> None:
        """The same things, of which more is known now."""
        self._items = {item.id: item for item in items}
        self._choices = [_choice(item) for item in items]
        if self.is_mounted:
            self.query_one(Choices).show(self._choices)

    def text_of(self, id: str) -> Copyable:
        """One of its things by id."""
        return self._items[id]

    def action_pick(self, id: str) -> None:
        item = self._items[id]
        if item.text:
            self.dismiss(id)
        else:
            self.show_problem(f"{item.name}: {item.note or 'there is nothing'}")


def _choice(item: Copyable) -> Choice:
    key = f"  {_LETTERS[item.id]}  "
    if not item.text:
        text = line((f"{key}{item.name}: {item.note or 'there is nothing'}", "muted"))
        return Choice(item.id, text, enabled=False)
    size = f.size(len(item.text.encode("utf-8", "replace")))
    return Choice(
        item.id, line((key, "accent"), f"{fit(item.name, _NAME)} ", (f"{size:>7}", "muted"))
    )
