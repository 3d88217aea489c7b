"""Panes 2 to 4, beside the list: cache tiers, tool-call errors, events."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Resize
from textual.message import Message

from tui.misses import head_lines
from tui.panels import Detail, cache_lines, error_lines, event_lines
from tui.state import Store, ToolError
from tui.widgets.page import Frame, Page

_ERRORS = "3 Tool-call errors"


class CachePane(Page):
    """Pane 2: the tiers that exist, what they saved, and how each system prompt fares."""

    def __init__(self, store: Store, tree_key: str) -> None:
        super().__init__(id="cache")
        self.add_class("pane")
        self.border_title = "2 Cache tiers"
        self.border_subtitle = Content(f"{tree_key} shows the tree")
        self._store = store
        self._shown: tuple[object, ...] = ()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._shown = ()
        self.sync()

    def sync(self) -> None:
        vitals = self._store.vitals
        tiers = vitals.tiers if vitals else ()
        history, heads = self._store.history, self._store.heads
        # The plot moves with the seconds, which the figures of each of them bring along.
        state = (tiers, history.reuse.since, int(history.at), heads)
        if state == self._shown:
            return
        self._shown = state
        width, height = self.scrollable_content_region.size
        table = head_lines(heads, width)
        for detail in reversed(Detail):
            lines = [*cache_lines(tiers, history, width, detail), *table]
            if len(lines) <= height:
                break
        self.show(lines, anew=False)


class ErrorsPane(Page):
    """Pane 3: calls that were not valid as written; the selected one in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "select(1)", "Down", show=False, id="errors.down"),
        Binding("k,up", "select(-1)", "Up", show=False, id="errors.up"),
        Binding("enter", "inspect", "Inspect", key_display="⏎", id="errors.inspect"),
    ]

    class Inspect(Message):
        """Someone wants to see the request of the selected error."""

        def __init__(self, request_id: str) -> None:
            super().__init__()
            self.request_id = request_id

    def __init__(self, store: Store) -> None:
        super().__init__(id="errors")
        self.add_class("pane")
        self._frame = Frame(self)
        self._store = store
        self._selected: ToolError | None = None
        self._shown: tuple[object, ...] = ()

    @property
    def selected(self) -> ToolError | None:
        """The error under the cursor, while the pane has the focus."""
        errors = self._errors()
        if not errors or not self.has_focus:
            return None
        chosen = self._selected
        return next((e for e in errors if e is chosen), errors[0])

    def _errors(self) -> list[ToolError]:
        return list(reversed(self._store.tool_errors))

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self._shown = ()
        self.sync()

    def sync(self) -> None:
        store, selected = self._store, self.selected
        refused = store.tool_calls_refused
        state = (store.tool_calls_bad, refused, store.tool_calls_total, id(selected))
        if state == self._shown:
            return
        self._shown = state
        errors = self._errors()
        index = next((i for i, e in enumerate(errors) if e is selected), None)
        width = self.scrollable_content_region.width
        self.show(error_lines(errors, index, width), anew=False)
        counts = f"{store.tool_calls_bad} invalid of {store.tool_calls_total}"
        self._frame.show(_ERRORS, f"{counts}, {refused} refused" if refused else counts)
        if index is not None:
            self.reveal(str(index))

    def on_focus(self) -> None:
        self.sync()

    def on_blur(self) -> None:
        self.sync()

    def action_select(self, step: int) -> None:
        errors, selected = self._errors(), self.selected
        if selected is None:
            return
        index = next(i for i, e in enumerate(errors) if e is selected)
        self._selected = errors[max(0, min(len(errors) - 1, index + step))]
        self.sync()

    def action_inspect(self) -> None:
        if self.selected is not None:
            self.post_message(self.Inspect(self.selected.call.request_id))

    def on_click(self, event: Click) -> None:
        anchor = self.anchor_at(event.y)
        errors = self._errors()
        if anchor and int(anchor) < len(errors):
            self._selected = errors[int(anchor)]
            self.sync()


class EventsPane(Page):
    """Pane 4: loads, flushes, resets and errors."""

    def __init__(self, store: Store) -> None:
        super().__init__(id="events")
        self.add_class("pane")
        self.border_title = "4 Events"
        self._store = store
        self._shown: object = None

    def sync(self) -> None:
        events = self._store.events
        newest = (len(events), id(events[-1]) if events else 0)
        if newest != self._shown:
            self._shown = newest
            self.show(event_lines(list(reversed(events))), anew=False)
