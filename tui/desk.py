"""The ground the console's parts stand on: the store, the main screen, the server, and how a
thing is asked of it. What is asked is in the ``steering`` modules.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from textual.app import App
from textual.events import Event, Paste
from textual.screen import Screen
from textual.worker import Worker

from anyclaude.config.settings import UiSettings
from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from anyclaude.events import Event as BusEvent
from tui import format as f
from tui.clipboard import copy_by_command
from tui.screen import MainScreen
from tui.source import Source
from tui.state import Store
from tui.themes import without_colour
from tui.view import ListView

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the console takes from outside, so that a test can hand in its own.

    ``tick_s`` ``None`` means that nobody ticks but who calls ``Console.tick``; without a
    ``data_dir`` nothing is remembered from one time to the next.
    """

    now: Callable[[], float] = time.time
    tick_s: float | None = TICK_S
    copy: Callable[[str], Awaitable[bool]] = copy_by_command
    logged: Callable[[], Sequence[BusEvent]] = tuple
    data_dir: Path | None = None


@runtime_checkable
class Synced(Protocol):
    """A screen over the main one that is brought up to date on the tick while it is on top."""

    def sync(self) -> None: ...


@runtime_checkable
class Interruptible(Protocol):
    """A screen where ctrl+c means something else than to quit."""

    def interrupt(self) -> None: ...


@runtime_checkable
class Answerable(Protocol):
    """A screen that shows what went wrong with what it asked for, in place."""

    def show_problem(self, problem: str) -> None: ...


class Desk(App[None], inherit_bindings=False):
    """What the steering mixins share; :class:`tui.app.Console` is made of them."""

    def __init__(self, ui: UiSettings, around: Surroundings) -> None:
        super().__init__(ansi_color=without_colour())
        self._ui = ui
        self._around = around
        self.store = Store()
        self.view = ListView(self.store)
        self.main = MainScreen(self.store, self.view, around.now, dict(ui.keymap))
        self.theme_names: list[str] = []
        self._source: Source | None = None
        self._started = False

    def get_default_screen(self) -> Screen[None]:
        return self.main

    def _control(self) -> Control | None:
        """The server's control once it is up; rooms ask for it each time they need it."""
        return self._source.control if self._source is not None and self._started else None

    def _need_control(self) -> Control | None:
        """As :meth:`_control`, and says so when there is none."""
        control = self._control()
        if control is None:
            self._say("The server is not up yet.", "warning")
        return control

    def _say(self, message: str, severity: str = "information") -> None:
        kind = severity if severity in ("warning", "error") else "information"
        text = f.clean(message).replace("\t", " ")
        self.notify(text, severity=kind, markup=False)  # type: ignore[arg-type]

    @property
    def clipboard(self) -> str:
        """What ctrl+v puts into a field: what was copied here may come from anywhere."""
        return f.clean(super().clipboard)

    def copy_to_clipboard(self, text: str) -> None:
        """Half a surrogate pair, which JSON may hold, can't be sent anywhere."""
        super().copy_to_clipboard(text.encode("utf-8", "replace").decode())

    async def on_event(self, event: Event) -> None:
        """What is pasted into a field is on the screen next, so it is made harmless first."""
        if isinstance(event, Paste) and not event.is_forwarded:
            event.text = f.clean(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        await super().on_event(event)

    def _steer(self, work: Coroutine[None, None, None]) -> Worker[None]:
        """Carries out what was asked for, beside the loop; what goes wrong is said."""
        return self.run_worker(self._guarded(work), group="steer")

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except AnyclaudeError as error:
            if isinstance(self.screen, Answerable):
                self.screen.show_problem(error.message)
            else:
                self._say(error.message, "error")
