"""The main screen: where the panes are, which one has the eye, and what the view keys do.

Layouts are classes and CSS alone: breakpoints set ``-ultrawide``/``-wide``/``-narrow`` and
``-short``/``-tall``, the screen itself sets the pane on show, zoom, inspection and the empty state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.events import DescendantFocus, Resize
from textual.screen import Screen
from textual.widget import Widget

from tui.bindings import MAIN
from tui.columns import Moment
from tui.inspect import TABS
from tui.jumps import Target
from tui.keys import key_name, keys_of
from tui.panels import Welcome, welcome_lines
from tui.request_row import Phase
from tui.resizing import skip_stale
from tui.state import Changes, Store
from tui.view import ListView
from tui.widgets.foot import Foot
from tui.widgets.inspector import Inspector
from tui.widgets.page import Page
from tui.widgets.requests import FilterBar, Pill, RequestList, RequestsPane
from tui.widgets.side import CachePane, ErrorsPane, EventsPane
from tui.widgets.status import Banner, Header, PaneTabs, VitalsRow
from tui.widgets.tabrow import TabRow

PANES = {1: "requests", 2: "cache", 3: "errors", 4: "events", 5: "inspector"}
UPPER = (1, 2, 3, 4)
_OF_THE_LIST = frozenset({"filter", "follow", "freeze", "errors_only"})


class MainScreen(Screen[None], inherit_bindings=False):
    """Everything that is always there. The app feeds it; it never asks the source itself."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide"), (160, "-ultrawide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [*MAIN]

    tabs = TABS
    list = getters.query_one("#list", RequestList)
    requests = getters.query_one(RequestsPane)
    inspector = getters.query_one(Inspector)
    filter_bar = getters.query_one(FilterBar)
    welcome = getters.query_one("#welcome", Page)

    def __init__(
        self,
        store: Store,
        view: ListView,
        now: Callable[[], float],
        keymap: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        # Given at once: a class that comes later styles everything anew.
        super().__init__(classes="-empty -pane-1")
        self._store = store
        self._view = view
        self._now = now
        self._keys = keys_of(type(self), keymap)
        self._pane = 1
        self._welcome: Welcome | None = None
        self._offers = (False, False, False)
        self._moving = False
        self._place = ("", False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is done to the list needs a list."""
        return action not in _OF_THE_LIST or bool(self._store.rows)

    def key(self, binding: str) -> str:
        """The key of one of these bindings, as a person reads it."""
        return key_name(self._keys[binding])

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        yield VitalsRow(id="vitals")
        yield PaneTabs(id="panes")
        yield Banner(self._keys, id="banner")
        with Container(id="body"):
            yield RequestsPane(self._store, self._view, self._now)
            with Vertical(id="side"):
                yield CachePane(self._store, key_name(self._keys["room.tree"]))
                yield ErrorsPane(self._store)
                yield EventsPane(self._store)
            yield Inspector(self._store)
        yield Foot()

    def on_mount(self) -> None:
        self.welcome.focus()
        self.sync(Changes(), "", False)

    # ------------------------------------------------------------------------------- painting

    def sync(self, changes: Changes, address: str, ending: bool) -> None:
        """Brings every pane up to date with the store; called on the tick."""
        store = self._store
        self._place = (address, ending)
        self._sync_top()
        self.query_one(Banner).sync(store)
        if changes or store.active:
            self.set_empty(not store.rows)
            self.requests.sync(changes)
        self.query_one(CachePane).sync()
        self.query_one(ErrorsPane).sync()
        self.query_one(EventsPane).sync()
        self.sync_inspector()
        self._sync_offers()

    def _sync_top(self) -> None:
        self.query_one(Header).sync(self._store, self._view, *self._place)
        self.query_one(VitalsRow).sync(self._store)
        self.query_one(PaneTabs).sync(self._store, self._pane)

    def on_resize(self, event: Resize) -> None:
        """The top rows leave out what does not fit, which is another thing now."""
        skip_stale(self, event)
        self.call_after_refresh(self._sync_top)

    def _sync_offers(self) -> None:
        """Renews the footer when something begins or ceases to make sense."""
        row = self._view.selected
        failed = self._store.engine.phase == "failed"
        offers = (failed, row is not None, row is not None and row.active)
        if offers != self._offers:
            self._offers = offers
            self.refresh_bindings()

    def sync_inspector(self) -> None:
        row = self._view.selected
        waiting = row is not None and row.phase is Phase.QUEUED
        position = self._store.queue_position(row) if row is not None and waiting else 0
        self.inspector.sync(row, Moment(self._now(), position))

    def sync_welcome(self, welcome: Welcome) -> None:
        """The page before the first request; repainted only when it says something new."""
        width = self.welcome.scrollable_content_region.width
        if welcome != self._welcome and width:
            self._welcome = welcome
            self.welcome.show(welcome_lines(welcome, width), anew=False)

    def set_empty(self, empty: bool) -> None:
        """Swaps the list for the welcome page, or back."""
        if self.has_class("-empty") == empty:
            return
        self.set_class(empty, "-empty")
        if self.focused in (None, self.welcome, self.list):
            (self.welcome if empty else self.list).focus()

    # ----------------------------------------------------------------------------- view keys

    def action_pane(self, number: int) -> None:
        if number in UPPER:
            self._show_pane(number)
        if number == 1:
            (self.welcome if self.has_class("-empty") else self.list).focus()
        elif number == 5:
            self.action_inspect()
        else:
            self.query_one(f"#{PANES[number]}").focus()

    def action_inspect(self) -> None:
        if self._view.selected is not None:
            self.add_class("-inspect")
            self.query_one("#inspector-page").focus()

    def action_tab(self, step: int) -> None:
        self.inspector.turn(step)
        self.sync_inspector()

    def action_show_tab(self, tab: str) -> None:
        """The inspector with that tab."""
        self.inspector.pick(tab)
        self.sync_inspector()
        self.action_pane(5)

    def places(self) -> Iterator[Target]:
        """Where one can jump to now: the panes in sight, and the tabs."""
        for number, name in PANES.items():
            pane = self.query_one(f"#{name}")
            if pane.region:
                yield Target(f"pane {number}", pane.region.x + 1, pane.region.y, str(number))
        bar = self.query_one(PaneTabs)
        if bar.region:
            for number, x in bar.places():
                if number != self._pane:
                    yield Target(f"pane {number}", bar.region.x + x, bar.region.y, str(number))
        row = self.query_one(TabRow)
        if row.region:
            for tab, x in row.places():
                yield Target(f"tab {tab}", row.region.x + x, row.region.y)

    def go_to(self, place: str) -> None:
        """To one of :meth:`places`, by name."""
        kind, _, name = place.partition(" ")
        if kind == "pane":
            self.action_pane(int(name))
        else:
            self.action_show_tab(name)

    def action_filter(self) -> None:
        if not self._store.rows:
            return
        self._show_pane(1)
        self.filter_bar.open()
        self.requests.sync_frame()

    def action_follow(self) -> None:
        self._view.toggle_follow()
        self.redraw()

    def action_freeze(self) -> None:
        self._view.toggle_freeze()
        self.redraw()

    def action_errors_only(self) -> None:
        self._view.toggle_errors()
        self.redraw()

    def action_zoom(self) -> None:
        if self.has_class("-zoom"):
            self._unzoom()
            return
        pane = self._focused_pane()
        if pane is not None:
            self.add_class("-zoom")
            pane.add_class("-zoomed")

    def action_back(self) -> None:
        """Out of zoom, of the inspector, of the filter, and to the list: one at a time."""
        if self.has_class("-zoom"):
            self._unzoom()
        elif self.has_class("-inspect"):
            self.remove_class("-inspect")
            self.action_pane(self._pane)
        elif self.focused not in (self.list, self.welcome):
            self.action_pane(1)
        elif self.filter_bar.display:
            self.filter_bar.clear()
        elif self._view.errors_only:
            self.action_errors_only()

    def redraw(self) -> None:
        """After the view was changed by hand."""
        self.list.sync()
        self.requests.sync_frame()
        self.sync_inspector()
        self._sync_offers()

    def _redraw_around(self) -> None:
        """What else changes with the cursor, once that is seen in its new place."""
        self._moving = False
        self.sync_inspector()
        self._sync_offers()

    def _show_pane(self, number: int) -> None:
        self._pane = number
        for other in UPPER:
            self.set_class(other == number, f"-pane-{other}")
        self.query_one(PaneTabs).sync(self._store, number)

    def _focused_pane(self) -> Widget | None:
        node = self.focused
        while node is not None and not node.has_class("pane"):
            node = node.parent if isinstance(node.parent, Widget) else None
        return node

    def _unzoom(self) -> None:
        self.remove_class("-zoom")
        for pane in self.query(".-zoomed"):
            pane.remove_class("-zoomed")

    def show_request(self, request_id: str) -> None:
        """Puts the cursor on a request and opens the inspector on it."""
        if self._view.select(request_id):
            self.redraw()
            self.action_inspect()
        else:
            self.notify("That request is not in the list (any more).", markup=False)

    # ------------------------------------------------------------------- messages of the panes

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Focus by tab or mouse shows the pane where only one is shown."""
        for number in UPPER[1:]:
            if event.widget.id == PANES[number]:
                self._show_pane(number)

    def on_request_list_moved(self) -> None:
        self.requests.sync_frame()
        if not self._moving:
            self._moving = True
            self.call_after_refresh(self._redraw_around)

    def on_request_list_inspect(self) -> None:
        self.action_inspect()

    def on_errors_pane_inspect(self, event: ErrorsPane.Inspect) -> None:
        if self._view.select(event.request_id):
            self.inspector.pick("Output")
            self.redraw()
            self.action_inspect()
        else:
            self.notify("That request is not in the list (any more).", markup=False)

    def on_filter_bar_changed(self) -> None:
        self.redraw()

    def on_filter_bar_closed(self) -> None:
        self.list.focus()
        self.redraw()

    def on_pill_clicked(self, event: Pill.Clicked) -> None:
        if self._view.frozen:
            self._view.toggle_freeze()
        self._view.to_last()
        self.redraw()

    def on_tab_row_picked(self, event: TabRow.Picked) -> None:
        self.inspector.pick(event.tab)
        self.sync_inspector()

    def on_pane_tabs_picked(self, event: PaneTabs.Picked) -> None:
        self.action_pane(event.pane)
