"""Where a query is written: coloured as it is typed, completed, the earlier ones at hand."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click, Key, Paste
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import Static, TextArea

from tui import format as f
from tui.dialogs.choices import content
from tui.lines import Tone, fit, line
from tui.sql.completion import Catalog, Offer, complete
from tui.sql.history import Recall
from tui.sql.words import WordKind, statement_at, words
from tui.widgets.drawn import TONE_CLASSES
from tui.widgets.page import Frame

LONGEST = 100_000
"""Characters that can be pasted at once."""

_COLOURED = 30_000
"""Characters up to which a query is coloured; the colours are found anew with each key."""

_ROWS = 8
_TONES: dict[WordKind, Tone] = {
    "keyword": "pick",
    "function": "run",
    "string": "ok",
    "number": "warn",
    "comment": "think",
}


class Suggestions(Static):
    """What may come next, under the cursor; the editor keeps the focus."""

    DEFAULT_CSS = """
    Suggestions {
        overlay: screen;
        constrain: inside inflect;
        display: none;
        width: auto;
        height: auto;
        background: $panel;
        color: $foreground;
    }
    """

    class Picked(Message):
        """Someone clicked one."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self) -> None:
        super().__init__("", id="suggestions", markup=False)
        self.offer = Offer()
        self.index = 0
        self._top = 0

    def show(self, offer: Offer, at: Offset) -> None:
        """Shows an offer below the cell ``at`` of the screen; nothing when it is empty."""
        self.offer, self.index, self._top = offer, 0, 0
        if self.display != bool(offer):
            self.display = bool(offer)
            self.screen.refresh_bindings()
        if offer:
            self.absolute_offset = at + Offset(-1, 1)
            self._draw()

    def move(self, step: int) -> None:
        self.index = (self.index + step) % len(self.offer.candidates)
        self._top = min(max(self._top, self.index - _ROWS + 1), self.index)
        self._draw()

    def _draw(self) -> None:
        shown = self.offer.candidates[self._top : self._top + _ROWS]
        room = self.screen.size.width - 6
        width = min(40, room, max(len(c.text) for c in self.offer.candidates))
        notes = min(30, room - width, max(len(c.note) for c in self.offer.candidates))
        rows: list[Content] = []
        for number, candidate in enumerate(shown, self._top):
            chosen = number == self.index
            row = line(
                ("▌" if chosen else " ", "pick"),
                (fit(f.one_line(candidate.text), width), "strong" if chosen else "text"),
                (f"  {fit(f.one_line(candidate.note), notes)} ", "muted"),
            )
            rows.append(content(row))
        self.update(Content("\n").join(rows))

    def on_click(self, event: Click) -> None:
        self.post_message(self.Picked(self._top + event.y))


class Editor(TextArea):
    """A text area for SQL. Nothing that is pasted or recalled can act on the terminal."""

    COMPONENT_CLASSES = TONE_CLASSES
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "tab", "accept", "Complete", show=False, tooltip="Take the suggestion", id="sql.accept"
        ),
        Binding(
            "ctrl+@,ctrl+space",
            "suggest",
            "Suggest",
            show=False,
            key_display="ctrl+space",
            tooltip="What may come here",
            id="sql.suggest",
        ),
        Binding(
            "ctrl+up",
            "recall(-1)",
            "Earlier query",
            show=False,
            tooltip="The query before; so does ↑ in the first line",
            id="sql.older",
        ),
        Binding(
            "ctrl+down",
            "recall(1)",
            "Later query",
            show=False,
            tooltip="The query after; so does ↓ in the last line",
            id="sql.newer",
        ),
        Binding(
            "escape",
            "hush",
            "Hide",
            key_display="esc",
            tooltip="Close the suggestions",
            id="sql.hush",
        ),
    ]

    class Left(Message):
        """The cursor went down out of the last line."""

    def __init__(self) -> None:
        super().__init__(
            id="sql-text", compact=True, placeholder="SELECT … FROM requests", soft_wrap=True
        )
        self.cursor_blink = False
        self.highlight_cursor_line = False
        self.catalog = Catalog()
        self.past = Recall()
        self._typed = False
        self._picking = False
        self._coloured: tuple[str, list[list[tuple[int, int, Tone]]]] = ("", [])

    @property
    def suggestions(self) -> Suggestions:
        return self.screen.query_one(Suggestions)

    @property
    def cursor(self) -> int:
        """Characters before the cursor."""
        row, column = self.cursor_location
        return self._starts()[row] + column

    @property
    def statement(self) -> str:
        """What is to be run: what is selected, or the statement that the cursor is in."""
        return self.selected_text.strip() or statement_at(self.text, self.cursor)

    def write(self, text: str) -> None:
        """Replaces everything; the cursor goes to the end. Can be undone."""
        self.replace(f.clean(text), self.document.start, self.document.end)
        self.move_cursor(self.document.end)
        self._hide()

    def insert_clean(self, text: str) -> None:
        """Puts text from outside where the cursor is."""
        result = self.replace(f.clean(text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def _starts(self) -> list[int]:
        lines = self.text.split("\n")
        return [0, *accumulate(len(text) + 1 for text in lines)]

    # --------------------------------------------------------------------------------- colours

    def get_line(self, line_index: int) -> Text:
        text = super().get_line(line_index)
        for start, end, tone in self._colours(line_index):
            style = self.get_component_rich_style(f"tone--{tone}")
            text.stylize(Style(color=style.color, bold=style.bold, italic=style.italic), start, end)
        return text

    def _colours(self, row: int) -> list[tuple[int, int, Tone]]:
        if self._coloured[0] != self.text:
            self._coloured = (self.text, self._all_colours())
        found = self._coloured[1]
        return found[row] if row < len(found) else []

    def _all_colours(self) -> list[list[tuple[int, int, Tone]]]:
        text = self.text
        if len(text) > _COLOURED:
            return []
        starts = self._starts()
        rows: list[list[tuple[int, int, Tone]]] = [[] for _ in starts]
        for word in words(text):
            tone = _TONES.get(word.kind)
            if tone is None:
                continue
            first, last = bisect_right(starts, word.start) - 1, bisect_right(starts, word.end - 1)
            for row in range(first, last):
                low = max(word.start, starts[row])
                rows[row].append((low - starts[row], word.end - starts[row], tone))
        return rows

    # ------------------------------------------------------------------------------ completion

    def on_text_area_changed(self) -> None:
        """Offers while someone types, not when a text was put here."""
        typed, self._typed = self._typed, False
        if typed and self.has_focus:
            self._offer(asked=False)
        else:
            self._hide()

    def on_text_area_selection_changed(self) -> None:
        """A cursor that was moved away from the offered word wants nothing there."""
        offer = self.suggestions.offer
        if offer and not (offer.start <= self.cursor <= offer.end and not self.selected_text):
            self._hide()

    def on_blur(self) -> None:
        self._hide()

    def _offer(self, *, asked: bool) -> None:
        self._picking = False
        offer = complete(self.text, self.cursor, self.catalog, asked=asked)
        self.suggestions.show(offer, self.cursor_screen_offset - Offset(self._before(offer), 0))

    def _before(self, offer: Offer) -> int:
        """Cells from the beginning of the offered word to the cursor."""
        return max(0, self.cursor - offer.start) if offer else 0

    def _hide(self) -> None:
        self._picking = False
        if self.suggestions.display:
            self.suggestions.show(Offer(), Offset())

    def take(self, index: int) -> None:
        """Puts a suggestion in place of the word at the cursor."""
        offer = self.suggestions.offer
        text = offer.candidates[index].text
        starts = self._starts()
        low, high = (self._location(starts, at) for at in (offer.start, offer.end))
        result = self.replace(text, low, high, maintain_selection_offset=False)
        self.move_cursor(result.end_location)
        self._hide()

    def _location(self, starts: list[int], at: int) -> tuple[int, int]:
        row = bisect_right(starts, at) - 1
        return row, at - starts[row]

    def action_accept(self) -> None:
        if self.suggestions.display:
            self.take(self.suggestions.index)
        else:
            self.screen.focus_next()

    def action_suggest(self) -> None:
        self._offer(asked=True)

    def action_hush(self) -> None:
        self._hide()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is the room's unless there is something to close here."""
        return self.suggestions.display if action == "hush" else True

    # ----------------------------------------------------------------------------------- keys

    async def _on_key(self, event: Key) -> None:
        if event.key == "enter" and self.suggestions.display and self._picking:
            event.stop()
            event.prevent_default()
            self.take(self.suggestions.index)
            return
        self._typed = event.is_printable
        await super()._on_key(event)

    async def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        if len(event.text) > LONGEST:
            self.notify("That is too long for a query; nothing was pasted.", severity="warning")
        else:
            self.insert_clean(event.text)

    def action_paste(self) -> None:
        self.insert_clean(self.app.clipboard[:LONGEST])

    def action_delete_left(self) -> None:
        self._typed = self.suggestions.display
        super().action_delete_left()

    def action_cursor_up(self, select: bool = False) -> None:
        if self.suggestions.display and not select:
            self._picking = True
            self.suggestions.move(-1)
        elif self.cursor_at_first_line and not select:
            self.action_recall(-1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if self.suggestions.display and not select:
            self._picking = True
            self.suggestions.move(1)
        elif self.cursor_at_last_line and not select:
            if not self._recall(1):
                self.post_message(self.Left())
        else:
            super().action_cursor_down(select)

    def action_recall(self, step: int) -> None:
        self._recall(step)

    def _recall(self, step: int) -> bool:
        found = self.past.older(self.text) if step < 0 else self.past.newer()
        if found is None:
            return False
        self.write(found)
        return True


class QueryPane(Vertical):
    """The editor in its frame, and the suggestions over it."""

    DEFAULT_CSS = """
    QueryPane { height: 9; }
    QueryPane Editor { height: 1fr; background: $background; padding: 0 1; }
    QueryPane Editor:focus { background-tint: $background 0%; }
    """

    def __init__(self) -> None:
        super().__init__(id="sql-query", classes="pane")
        self._frame = Frame(self)

    def compose(self) -> ComposeResult:
        yield Editor()
        yield Suggestions()

    def on_mount(self) -> None:
        self._frame.show("Query", "read-only")

    def on_suggestions_picked(self, event: Suggestions.Picked) -> None:
        event.stop()
        editor = self.query_one(Editor)
        if event.index < len(self.query_one(Suggestions).offer.candidates):
            editor.take(event.index)
        editor.focus()
