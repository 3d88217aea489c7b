"""The vitals room: speeds, latencies, memory and load over the last minutes, each as a plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize

from anyclaude.control import Control
from tui import format as f
from tui.charts import CHARTS, Chart, draw
from tui.lines import line
from tui.plots import short_span
from tui.rooms.base import Room
from tui.series import SPANS_S, History
from tui.state import Store
from tui.widgets.foot import Foot
from tui.widgets.page import Page
from tui.widgets.status import Row

_NOTHING = (
    "No figures yet. They come once a second from the server when it is up; "
    "esc leads back to the screen that says what it waits for."
)


class ChartPane(Page):
    """One plot with its title."""

    def __init__(self, chart: Chart, history: History) -> None:
        super().__init__(id=f"chart-{chart.id}")
        self.add_class("pane")
        self.can_focus = False
        self.border_title = chart.title
        self._chart = chart
        self._history = history

    def draw(self, now: float, span_s: float) -> None:
        region = self.scrollable_content_region
        if region.width > 0 and region.height > 0:
            lines = draw(self._chart, self._history, now, span_s, region.width, region.height)
            self.show(lines, anew=False)


class Grid(VerticalScroll, inherit_bindings=False):
    """The charts; scrolls where they don't all fit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", "Down", show=False, id="vitals.down"),
        Binding("k,up", "scroll_up", "Up", show=False, id="vitals.up"),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False, id="vitals.pagedown"),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False, id="vitals.pageup"),
        Binding("g,home", "scroll_home", "Top", show=False, id="vitals.home"),
        Binding("G,end", "scroll_end", "Bottom", show=False, id="vitals.end"),
    ]


class VitalsRoom(Room):
    """A grid of plots over the same span of time."""

    DEFAULT_CSS = """
    VitalsRoom #vitals-head { height: 1; background: $panel; }
    VitalsRoom #vitals-head { text-wrap: nowrap; text-overflow: ellipsis; }
    VitalsRoom #vitals-note { height: auto; max-height: 3; display: none; }
    VitalsRoom.-nothing #vitals-note { display: block; }
    VitalsRoom Grid {
        height: 1fr;
        layout: grid;
        grid-size: 2 4;
        grid-rows: 1fr;
        scrollbar-size-vertical: 1;
    }
    VitalsRoom ChartPane { height: 100%; min-height: 8; overflow: hidden; scrollbar-gutter: auto; }
    VitalsRoom.-ultrawide Grid { grid-size: 4 2; }
    VitalsRoom.-narrow Grid { grid-size: 1 8; }
    VitalsRoom.-narrow Grid, VitalsRoom.-short Grid { grid-rows: 8; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "leave", "Back", show=False, tooltip="Back", id="vitals.leave"),
        Binding(
            "plus,equals_sign",
            "span(-1)",
            "Shorter",
            key_display="+",
            tooltip="A shorter time, in more detail",
            id="vitals.shorter",
        ),
        Binding(
            "minus",
            "span(1)",
            "Longer",
            key_display="-",
            tooltip="A longer time, up to an hour",
            id="vitals.longer",
        ),
    ]

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self._span = SPANS_S.index(300)
        self._painted: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Row(id="vitals-head")
        yield Page(id="vitals-note")
        with Grid(id="charts"):
            for chart in CHARTS:
                yield ChartPane(chart, self._store.history)
        yield Foot()

    def on_mount(self) -> None:
        self.query_one("#vitals-note", Page).can_focus = False
        self.query_one(Grid).focus()
        self.call_after_refresh(self.sync)

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.call_after_refresh(self.sync)

    def sync(self) -> None:
        """Draws anew when there are new figures, the time has moved, or sizes have."""
        super().sync()
        now, history = self._now(), self._store.history
        charts = list(self.query(ChartPane))
        sizes = tuple(chart.scrollable_content_region.size for chart in charts)
        key = (history.revision, int(now), self._span, self._store.engine, sizes)
        if key == self._painted or not self.is_mounted:
            return
        self._painted = key
        self._paint_head()
        self.set_class(self._store.vitals is None, "-nothing")
        note = self.query_one("#vitals-note", Page)
        note.show([line((f" {_NOTHING}", "muted"), hang=1)], anew=False)
        for chart in charts:
            chart.draw(now, SPANS_S[self._span])

    def _paint_head(self) -> None:
        store, engine = self._store, self._store.engine
        parts = [(" Vitals  ", "bold")]
        if engine.phase == "failed":
            parts.append(("x engine failed: R restarts it  ", "$error"))
        elif engine.phase == "stopped":
            parts.append(("○ stopped: figures stand still  ", "$warning"))
        parts.append((f"last {short_span(SPANS_S[self._span])}  ", "$accent"))
        parts.append((f"{f.short_model(engine.model) or 'no model'}  ", "$primary"))
        parts.append((f"{store.running} run {store.waiting} wait", "$text-muted"))
        self.query_one("#vitals-head", Row).show(Content.assemble(*parts))

    def action_span(self, step: int) -> None:
        self._span = max(0, min(len(SPANS_S) - 1, self._span + step))
        self.sync()
