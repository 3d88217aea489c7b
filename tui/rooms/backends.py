"""The backends room: who answers requests, how well, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from anyclaude.control import BackendInfo, Control
from anyclaude.errors import AnyclaudeError
from tui import backends
from tui import format as f
from tui.dialogs.choices import Choice, Chooser
from tui.lines import Line, line
from tui.rooms.base import AskingRoom
from tui.state import Store
from tui.widgets.foot import Foot
from tui.widgets.page import Frame, Page
from tui.widgets.rows import Rows

_SLOTS = "Its names for models fall into these; a subagent is one whatever its model."
_UNTIL = "For requests from now on, until anyclaude ends; [[routes]] in the configuration stay."


def _choices(lines: Sequence[tuple[str, Line]]) -> list[Choice]:
    return [Choice(name, text) for name, text in lines]


class BackendsRoom(AskingRoom):
    """One line per backend above the facts of the one under the cursor."""

    DEFAULT_CSS = """
    BackendsRoom #backends { height: 1fr; }
    BackendsRoom #backends-heading { height: 1; color: $text-muted; }
    BackendsRoom #backends-rows { height: 1fr; }
    BackendsRoom #backends-note { height: 1fr; display: none; }
    BackendsRoom.-note #backends-rows, BackendsRoom.-note #backends-heading { display: none; }
    BackendsRoom.-note #backends-note { display: block; }
    BackendsRoom.-note #backend { display: none; }
    BackendsRoom #backend { height: 2fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "leave", "Back", show=False, tooltip="Back", id="backends.leave"),
        Binding("m", "app.models", "Models", tooltip="Pick a model to load", id="backends.models"),
        Binding("s", "slots", "Slots", tooltip="Where Claude Code's slots go", id="backends.slots"),
        Binding("e", "reset", "Reset", tooltip="Close the breaker now", id="backends.reset"),
    ]

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self._found: tuple[BackendInfo, ...] | None = None
        self._name = ""
        self._painted: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="backends", classes="pane") as box:
            self._frame = Frame(box)
            yield Static("", id="backends-heading", markup=False)
            yield Rows(id="backends-rows")
            yield Page(id="backends-note")
        facts = Page(id="backend")
        facts.add_class("pane")
        yield facts
        yield Foot()

    def on_mount(self) -> None:
        self._facts_frame = Frame(self.query_one("#backend"))
        self._rows = self.query_one(Rows)
        self._rows.focus()
        self.sync()

    async def fetch(self, control: Control) -> None:
        self._found = await control.backends()

    def paint(self) -> None:
        """Draws anew when an answer, the engine, the vitals or the width is another."""
        if not self.is_mounted:
            return
        engine, vitals, width = self._store.engine, self._store.vitals, self._rows.room
        key = (self._found, self.problem, engine, vitals, self.size, width, self._name)
        if key == self._painted:
            return
        self._painted = key
        note = self._note()
        self.set_class(bool(note), "-note")
        if note:
            self._frame.show("Backends")
            self.query_one("#backends-note", Page).show(note, anew=False)
        else:
            self._paint_rows(width)

    def _note(self) -> list[Line]:
        if self.problem:
            return backends.problem_lines(self.problem)
        if self._found is None:
            return [line((" Asking …", "muted"))]
        return [] if self._found else backends.empty_lines()

    def _paint_rows(self, width: int) -> None:
        found, store = self._found or (), self._store
        at = next((i for i, b in enumerate(found) if b.name == self._name), self._rows.cursor or 0)
        at = min(at, len(found) - 1)
        chosen = found[at]
        self._name = chosen.name
        self.query_one("#backends-heading", Static).update(Content(backends.heading(width).plain))
        engine = store.engine
        self._rows.show(len(found), lambda i: backends.row(found[i], engine, width), at)
        well = sum(b.healthy for b in found)
        self._frame.show("Backends", f"{well} of {len(found)} healthy")
        self._facts_frame.show(backends.title(chosen))
        facts = backends.facts(chosen, engine, store.vitals)
        self.query_one("#backend", Page).show(facts, anew=False)

    # --------------------------------------------------------------------------------- by hand

    def on_rows_moved(self) -> None:
        found = self._found or ()
        self._name = found[self._rows.cursor or 0].name
        self.paint()

    def action_reset(self) -> None:
        """Closes the breaker of the backend under the cursor."""
        control = self._control()
        chosen = next((b for b in self._found or () if b.name == self._name), None)
        if control is not None and chosen is not None and chosen.breaker:
            self.run_worker(self._reset(control, chosen.name), group="steer", exit_on_error=False)

    async def _reset(self, control: Control, name: str) -> None:
        try:
            await control.reset_backend(name)
        except AnyclaudeError as error:
            self.problem = error.message
        else:
            self.app.notify(f"The breaker of {f.one_line(name)} is closed", markup=False)
            await self.fetch(control)
        self.paint()

    def action_slots(self) -> None:
        """Has opus, sonnet, haiku or the subagents answered elsewhere."""
        control = self._control()
        if control is not None:
            self.run_worker(self._slots(control), group="steer", exit_on_error=False)

    async def _slots(self, control: Control) -> None:
        try:
            given = await control.slots()
        except AnyclaudeError as error:
            self.problem = error.message
            self.paint()
            return
        targets = {one.slot: one.target for one in given}

        def slot_chosen(slot: str | None) -> None:
            if slot is not None:
                offered = _choices(backends.targets(self._found or (), targets[slot]))
                to = Chooser(f"Where {f.one_line(slot)} goes", offered, _UNTIL)
                self.app.push_screen(to, lambda target: self._give(control, slot, target))

        choices = _choices(backends.slots(given))
        self.app.push_screen(Chooser("Claude Code's slots", choices, _SLOTS), slot_chosen)

    def _give(self, control: Control, slot: str, target: str | None) -> None:
        if target is not None:
            work = self._set_slot(control, slot, target)
            self.run_worker(work, group="steer", exit_on_error=False)

    async def _set_slot(self, control: Control, slot: str, target: str) -> None:
        try:
            await control.set_slot(slot, target)
        except AnyclaudeError as error:
            self.problem = error.message
        else:
            where = f"to {f.one_line(target)}" if target else "where the routes say"
            self.app.notify(f"{f.one_line(slot)} goes {where} now", markup=False)
        self.paint()

    def on_rows_sized(self) -> None:
        self.paint()

    def on_rows_opened(self) -> None:
        """The facts, where they are longer than their place."""
        self.query_one("#backend", Page).focus()
