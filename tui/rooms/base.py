"""What the rooms for looking on have in common: how one is left, and how a server is asked
again and again without the screen waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from tui.resizing import skip_stale
from tui.state import Store

EVERY_S = 2.0
NOT_UP = "the server is not up yet"


class Room(Screen[None], inherit_bindings=False):
    """A screen over the main one. Widths and heights are classes, as they are there."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-wide"), (150, "-ultrawide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Back", key_display="esc", tooltip="Back", id="room.leave"),
        Binding(
            "question_mark",
            "app.help",
            "Help",
            key_display="?",
            tooltip="All keys",
            id="room.help",
        ),
        Binding(
            "R",
            "app.restart_engine",
            "Restart engine",
            tooltip="Start the engine again after it failed",
            id="room.restart",
        ),
        Binding("tab", "app.focus_next", "Next", show=False, id="room.next"),
        Binding("shift+tab", "app.focus_previous", "Previous", show=False, id="room.previous"),
    ]

    class Open(Message):
        """Someone wants to see this request in the list."""

        def __init__(self, request_id: str) -> None:
            super().__init__()
            self.request_id = request_id

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__()
        self._control = control
        self._store = store
        self._now = now
        self._phase = store.engine.phase

    def on_resize(self, event: Resize) -> None:
        skip_stale(self, event)

    def action_leave(self) -> None:
        self.dismiss(None)

    def sync(self) -> None:
        """Called on the app's tick while this room is on top."""
        if self._store.engine.phase != self._phase:
            self._phase = self._store.engine.phase
            self.refresh_bindings()


class AskingRoom(Room):
    """A room whose facts are asked for, at most every :data:`EVERY_S` seconds, in a worker."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "ask", "Refresh", show=False, tooltip="Ask again now", id="room.ask"),
    ]

    def __init__(
        self, control: Callable[[], Control | None], store: Store, now: Callable[[], float]
    ) -> None:
        super().__init__(control, store, now)
        self._asking = False
        self._asked_at = float("-inf")
        self.problem = ""

    def sync(self) -> None:
        super().sync()
        passed = self._now() - self._asked_at
        # A clock that was set back must not end the asking.
        if not self._asking and not 0 <= passed < EVERY_S:
            self.action_ask()
        self.paint()

    def action_ask(self) -> None:
        """Asks now, unless an answer is still to come."""
        if self._asking:
            return
        self._asked_at = self._now()
        control = self._control()
        if control is None:
            self.problem = NOT_UP
            self.paint()
            return
        self._asking = True
        self.run_worker(self._ask(control), group="ask", exit_on_error=False)

    async def _ask(self, control: Control) -> None:
        try:
            await self.fetch(control)
        except AnyclaudeError as error:
            self.problem = error.message
        else:
            self.problem = ""
        finally:
            self._asking = False
        if self.is_mounted:
            self.paint()

    async def fetch(self, control: Control) -> None:
        """Asks for what the room shows and keeps it; an AnyclaudeError is shown in place."""
        raise NotImplementedError

    def paint(self) -> None:
        """Brings the widgets up to date with what is known."""
        raise NotImplementedError
