"""Pane 1: the live list of requests, one line each, drawn from the view's rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sized
from typing import ClassVar, Protocol

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input, Static

from tui import columns
from tui.filters import Filter, parse
from tui.lines import Span
from tui.request_row import Phase, RequestRow
from tui.state import Changes, Store
from tui.view import ListView
from tui.widgets.drawn import BAR, TONE_CLASSES, Drawn
from tui.widgets.page import Frame, Page
from tui.widgets.place import Hand

_HINT = "any word, or status: model: tool: cache: ttft>1 in>20k"


class RequestList(Drawn, can_focus=True, inherit_bindings=False):
    """The lines themselves. The view holds cursor and rows; this only paints them."""

    COMPONENT_CLASSES = TONE_CLASSES | {"list--cursor", "list--cursor-blurred"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Inspect", key_display="⏎", id="requests.inspect"),
        Binding("j,down", "move(1)", "Down", show=False, id="requests.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="requests.up"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="requests.pagedown"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="requests.pageup"),
        Binding("g,home", "first", "First", show=False, id="requests.first"),
        Binding("G,end", "last", "Last, and follow", show=False, id="requests.last"),
    ]

    class Moved(Message):
        """The cursor, or how the list behaves, was changed by hand."""

    class Sized(Message):
        """The list has another width, and with it other columns."""

    class Inspect(Message):
        """Someone wants to look into the selected request."""

    def __init__(self, store: Store, view: ListView, now: Callable[[], float]) -> None:
        super().__init__(id="list")
        self._store = store
        self._view = view
        self._now = now
        self._cursor_at: int | None = None
        self._painted: dict[int, Hashable] = {}
        self._hand = Hand()
        self._place = (0, 0)
        self._trimmed = view.trimmed

    @property
    def room(self) -> int:
        return self.scrollable_content_region.width

    def sync(self) -> None:
        """Repaints the lines in sight that say something else now."""
        self.set_extent(self.room, len(self._view.rows))
        self._shift(self._view.trimmed - self._trimmed)
        self._show_cursor()
        height = self.size.height
        stale = [y for y in range(height) if self._painted.get(y) != self._line_at(y)[0]]
        self.repaint(stale)

    def _shift(self, gone: int) -> None:
        """Goes up with the rows when the oldest are gone, so that nobody's place moves."""
        self._trimmed += gone
        if gone and not self._view.follow:
            self._go(max(0, self._place[0] - gone))

    def on_resize(self, event: Resize) -> None:
        self._hand.resized(self.size)
        self.set_extent(self.room, len(self._view.rows))
        self._painted.clear()
        self.refresh()
        self._show_cursor()
        if not self._view.follow:
            self._to_place()
        self.post_message(self.Sized())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._hand.moved(self.size, new_value):
            self._place = (round(new_value), self.scrollable_content_region.height)

    def _go(self, top: int) -> None:
        self._place = (top, self.scrollable_content_region.height)
        self.scroll_to(y=self._hand.puts(top), animate=False, force=True)

    def _to_place(self) -> None:
        """The line that was at the top goes there again; the cursor stays in sight if it was."""
        (top, was), height = self._place, self.scrollable_content_region.height
        cursor = self._view.cursor
        if height and cursor is not None and top <= cursor < top + was:
            top = max(top, cursor - height + 1)
        self.scroll_to(y=self._hand.puts(top), animate=False, force=True)

    def _show_cursor(self) -> None:
        """Brings the cursor in sight when it was moved, and always while following."""
        cursor = self._view.cursor
        moved, self._cursor_at = cursor != self._cursor_at, cursor
        if cursor is not None and (moved or self._view.follow):
            self._reveal(cursor)

    def _reveal(self, line: int) -> None:
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if line < top:
            self._go(line)
        elif height and line >= top + height:
            self._go(line - height + 1)

    def render_line(self, y: int) -> Strip:
        key, row = self._line_at(y)
        self._painted[y] = key
        if row is None:
            return self.blank()
        under = self._under(y)
        bar = columns.PINNED if row.pinned and under else BAR
        return self.drawn(key, lambda: self._spans(row), under, bar)

    def _line_at(self, y: int) -> tuple[Hashable, RequestRow | None]:
        """What the line at row ``y`` of the widget depends on, and the request it shows."""
        line = y + self.scroll_offset.y
        if line >= len(self._view.rows):
            return None, None
        row = self._view.rows[line]
        # One that has ended only says something else when its version is another.
        says = tuple(self._spans(row)) if row.active else (row.id, row.version)
        return (says, self._under(y)), row

    def _spans(self, row: RequestRow) -> list[Span]:
        position = self._store.queue_position(row) if row.phase is Phase.QUEUED else 0
        moment = columns.Moment(self._now(), position)
        return columns.cells(row, columns.columns(self.room), moment, self.room)

    def _under(self, y: int) -> str:
        """The component class of the cursor, where it is."""
        if y + self.scroll_offset.y != self._view.cursor:
            return ""
        return "list--cursor" if self.has_focus else "list--cursor-blurred"

    # -------------------------------------------------------------------------------- by hand

    def _changed(self) -> None:
        self.sync()
        self.post_message(self.Moved())

    def action_move(self, lines: int) -> None:
        self._view.move(lines)
        self._changed()

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.scrollable_content_region.height - 1))

    def action_first(self) -> None:
        self._view.to_first()
        self._changed()

    def action_last(self) -> None:
        self._view.to_last()
        self._changed()

    def action_inspect(self) -> None:
        self.post_message(self.Inspect())

    def on_click(self, event: Click) -> None:
        self._view.select_line(event.y + self.scroll_offset.y)
        self._changed()
        if event.chain > 1:
            self.post_message(self.Inspect())

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        if self.scroll_offset.y > 0 and self._view.follow:
            self._view.follow = False
            self.post_message(self.Moved())

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """The base class scrolls; following resumes only when asked for."""

    def on_focus(self) -> None:
        self.sync()

    def on_blur(self) -> None:
        self.sync()


class Filtered(Protocol):
    """A list that a filter narrows."""

    filter: Filter

    @property
    def rows(self) -> Sized: ...

    @property
    def total(self) -> int: ...

    def set_filter(self, new: Filter) -> None: ...


class FilterBar(Vertical):
    """The filter being written, or in force."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", id="filter.clear"),
        Binding("enter,down", "done", "Keep", key_display="⏎", id="filter.keep", priority=True),
    ]

    class Changed(Message):
        """The filter is another one now."""

    class Closed(Message):
        """Writing is over."""

    def __init__(self, view: Filtered) -> None:
        super().__init__(id="filter")
        self._view = view

    def compose(self) -> ComposeResult:
        box = Input(placeholder=_HINT, compact=True, id="filter-text", select_on_focus=False)
        box.cursor_blink = False
        yield Static(" /", id="filter-mark", markup=False)
        yield box
        yield Static("", id="filter-count", markup=False)

    def open(self) -> None:
        self.display = True
        self.query_one(Input).focus()

    def sync(self) -> None:
        problem = self._view.filter.problem
        text = f" {problem}" if problem else f" {len(self._view.rows)} of {self._view.total} "
        label = self.query_one("#filter-count", Static)
        label.set_class(bool(problem), "-problem")
        label.update(Content(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        self._view.set_filter(parse(event.value))
        self.post_message(self.Changed())

    def action_clear(self) -> None:
        self.clear()
        self.post_message(self.Closed())

    def clear(self) -> None:
        """No filter, and the bar is gone."""
        self.query_one(Input).value = ""
        self._view.set_filter(parse(""))
        self.display = False
        self.post_message(self.Changed())

    def action_done(self) -> None:
        if not self.query_one(Input).value.strip():
            self.clear()
        self.post_message(self.Closed())


class Pill(Static):
    """How many requests came since following ended; a click resumes."""

    class Clicked(Message):
        """Resume following."""

    def __init__(self) -> None:
        super().__init__("", id="pill", markup=False)
        self._shown = ""
        self.display = False

    def show(self, text: str) -> None:
        """Shows ``text``, or with nothing to say is gone."""
        if text != self._shown:
            self._shown = text
            self.display = bool(text)
            self.update(Content(text))

    def on_click(self) -> None:
        self.post_message(self.Clicked())


class RequestsPane(Vertical):
    """Heading, list, filter bar and pill; before the first request, the welcome page."""

    def __init__(self, store: Store, view: ListView, now: Callable[[], float]) -> None:
        super().__init__(id="requests", classes="pane")
        self._frame = Frame(self)
        self._store = store
        self._view = view
        self._now = now

    def compose(self) -> ComposeResult:
        yield Page(id="welcome")
        yield Static("", id="heading", markup=False)
        yield RequestList(self._store, self._view, self._now)
        yield Pill()
        yield FilterBar(self._view)

    def on_mount(self) -> None:
        self.query_one(FilterBar).display = False
        self.sync_frame()

    def on_request_list_sized(self) -> None:
        room = self.query_one(RequestList).room
        heading = columns.heading(columns.columns(room), room)
        self.query_one("#heading", Static).update(Content(heading))

    def sync(self, changes: Changes) -> None:
        """Takes in a batch of changes and repaints what they touch."""
        if changes:
            self._view.update(changes)
        self.query_one(RequestList).sync()
        self.sync_frame()

    def sync_frame(self) -> None:
        """Subtitle, pill and filter count."""
        view = self._view
        shown, total = len(view.rows), view.total
        words = [f"{shown} of {total}" if view.narrowed else f"{total} requests"]
        if view.frozen:
            words.append("frozen")
        elif view.follow:
            words.append("follow")
        self._frame.show("1 Requests", "  ".join(words))
        resume = "space to resume" if view.frozen else "G to resume"
        self.query_one(Pill).show(f" +{view.unseen} new  {resume} " if view.unseen else "")
        bar = self.query_one(FilterBar)
        if bar.display:
            bar.sync()
