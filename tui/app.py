"""The console as an application: it starts the server after its first paint, feeds the screen
ten times a second, and carries out what a person asks for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker

from anyclaude.config.settings import UiSettings
from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from anyclaude.events import EngineState, Event, Subscription, SystemEvent
from tui import format as f
from tui.clipboard import copy_by_command
from tui.dialogs.confirm import Confirm
from tui.dialogs.help import Help
from tui.dialogs.models import ModelPicker
from tui.keys import sections
from tui.launch import Launch, explain
from tui.lines import Line, line
from tui.misses import HEADS_SQL, KEEP_HEADS, heads_of
from tui.panels import Welcome
from tui.screen import MainScreen
from tui.source import Source
from tui.state import Changes, Store
from tui.themes import Themes
from tui.view import ListView
from tui.widgets.side import ErrorsPane

TICK_S = 0.1
SEED_ROWS = 200
HEADS_S = 15.0
DEFAULT_THEME = "anyclaude-dark"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the console takes from outside, so that a test can hand in its own.

    ``tick_s`` ``None`` means that nobody ticks but who calls :meth:`Console.tick`.
    """

    now: Callable[[], float] = time.time
    tick_s: float | None = TICK_S
    copy: Callable[[str], Awaitable[bool]] = copy_by_command
    logged: Callable[[], Sequence[Event]] = tuple


class Console(App[None], inherit_bindings=False):
    """anyclaude-tui."""

    TITLE = "anyclaude"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+q,ctrl+c",
            "end",
            "Quit now",
            show=False,
            priority=True,
            tooltip="Quit at once",
            id="app.quit_now",
        ),
    ]

    def __init__(
        self,
        launch: Launch,
        ui: UiSettings,
        themes: Themes,
        around: Surroundings = Surroundings(),
    ) -> None:
        super().__init__()
        self._launch = launch
        self._ui = ui
        self._around = around
        self._themes = themes
        self._names = [theme.name for theme in themes.themes]
        for theme in themes.themes:
            self.register_theme(theme)
        self.store = Store()
        self.view = ListView(self.store)
        self.main = MainScreen(self.store, self.view, around.now)
        self._source: Source | None = None
        self._subscription: Subscription | None = None
        self._started = False
        self._ending = False
        self._seen_revision = -1
        self._advice: tuple[str, ...] = ()
        self._detail_wanted: tuple[str, bool] | None = None
        self._heads_asked = (0, float("-inf"))
        self._exit_code = 0
        self.problem = ""

    def get_default_screen(self) -> Screen[None]:
        return self.main

    def on_mount(self) -> None:
        self.theme = self._ui.theme if self._ui.theme in self.available_themes else DEFAULT_THEME
        self.set_keymap(dict(self._ui.keymap))
        for notice in self._themes.notices:
            self._say(notice, "warning")
        if self.theme != self._ui.theme:
            self._say(f"There is no theme {self._ui.theme}; using {self.theme}", "warning")

    def on_ready(self) -> None:
        """The first frame is out: from here on there is time for heavier things."""
        self.tick()
        if self._around.tick_s is not None:
            self.set_interval(self._around.tick_s, self.tick)
        self.run_worker(self._start(), group="start", exit_on_error=False)

    async def _start(self) -> None:
        try:
            await self._launch.start(self._found)
        except Exception as error:
            self.problem = explain(error)
            self.store.apply(EngineState("stopped"), self._around.now())
            self._exit_code = 2 if isinstance(error, ConfigError | UsageError) else 1
        else:
            self._started = True
            if self._source is not None and self._source.attached:
                with suppress(AnyclaudeError):
                    self.store.seed(await self._source.control.requests(SEED_ROWS))
        self.tick()

    def _found(self, source: Source) -> None:
        self._source = source
        self._subscription = source.subscribe()
        self.store.apply(source.engine_state, self._around.now())

    # ---------------------------------------------------------------------------------- tick

    def tick(self) -> None:
        """Takes in what happened since the last tick and paints it once."""
        events: list[Event] = [*self._around.logged()]
        if self._subscription is not None:
            events += self._subscription.drain()
        now = self._around.now()
        for event in events:
            self.store.apply(event, now)
        self._toast([e for e in events if isinstance(e, SystemEvent) and e.level == "error"])
        self._want_heads(now)
        changes = self.store.take_changes()
        if self._seen_revision == self.store.revision and not changes and not self.store.active:
            self._welcome()
            return
        self._seen_revision = self.store.revision
        self._paint(changes)

    def _paint(self, changes: Changes) -> None:
        address = self._source.address if self._source is not None else ""
        self.main.sync(changes, address, self._ending)
        self._welcome()
        self._want_detail()
        if isinstance(self.screen, ModelPicker) and self.screen.is_mounted:
            self.screen.sync(self.store.engine)

    def _welcome(self) -> None:
        if self.store.rows:
            return
        engine, source = self.store.engine, self._source
        if engine.phase == "ready" and source is not None and not self._advice:
            self._advice = ("",)
            self.run_worker(self._advise(source, engine.model), group="advice")
        self.main.sync_welcome(
            Welcome(
                engine,
                self._started,
                source.address if source is not None and self._started else "",
                source.env_lines if source is not None else (),
                tuple(text for text in self._advice if text),
                self.problem,
            )
        )

    async def _advise(self, source: Source, model: str) -> None:
        self._advice = ("", *await source.advice(model))
        self._welcome()

    def _want_detail(self) -> None:
        """Asks for the selected request's detail, once while it runs and once when it ended."""
        row = self.view.selected
        wanted = (row.id, row.active) if row is not None else None
        if wanted == self._detail_wanted or self._source is None:
            return
        self._detail_wanted = wanted
        if row is not None:
            work = self._fetch_detail(self._source, row.id)
            self.run_worker(work, group="detail", exclusive=True)

    async def _fetch_detail(self, source: Source, request_id: str) -> None:
        try:
            detail = await source.control.detail(request_id)
        except AnyclaudeError as error:
            self.main.inspector.set_detail(None, error.message)
        else:
            self.main.inspector.set_detail(detail)
        self.main.sync_inspector()

    def _want_heads(self, now: float) -> None:
        """Asks the log for its figures per system prompt, now and then while there are new."""
        finished, asked_at = self._heads_asked
        if self._source is None or not self._started:
            return
        if self.store.finished_total != finished and not 0 <= now - asked_at < HEADS_S:
            self._heads_asked = (self.store.finished_total, now)
            self.run_worker(self._fetch_heads(self._source), group="heads", exclusive=True)

    async def _fetch_heads(self, source: Source) -> None:
        # A server that can't say, since it is older or its log is closed, leaves them as they are.
        with suppress(AnyclaudeError):
            self.store.heads = heads_of(await source.control.sql(HEADS_SQL, KEEP_HEADS))
            self.store.revision += 1

    def _toast(self, errors: list[SystemEvent]) -> None:
        """The last error of a batch; how many more there were is in the events pane."""
        if errors:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            self._say(f.clean(errors[-1].message) + more, "error")

    def _say(self, message: str, severity: str = "information") -> None:
        kind = severity if severity in ("warning", "error") else "information"
        self.notify(message, severity=kind, markup=False)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------ steering

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Restart shows when the engine failed, cancel when there is something to cancel."""
        if action == "restart_engine":
            return self.store.engine.phase == "failed"
        if action == "cancel":
            row = self.view.selected
            return row is not None and row.active
        return True

    def _steer(self, work: Coroutine[None, None, None]) -> Worker[None]:
        return self.run_worker(self._guarded(work), group="steer")

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except AnyclaudeError as error:
            if isinstance(self.screen, ModelPicker):
                self.screen.show_problem(error.message)
            else:
                self._say(error.message, "error")

    def _ready_source(self) -> Source | None:
        if self._source is None or not self._started:
            self._say("The server is not up yet.", "warning")
            return None
        return self._source

    def action_models(self) -> None:
        source = self._ready_source()
        if source is not None:
            self._steer(self._pick_model(source))

    async def _pick_model(self, source: Source) -> None:
        picker = ModelPicker(self.store.engine)
        await self.push_screen(picker)
        picker.show_models(await source.control.models())

    def on_model_picker_load(self, event: ModelPicker.Load) -> None:
        if self._source is not None:
            self._steer(self._source.control.load_model(event.name))

    def on_model_picker_unload(self) -> None:
        if self._source is not None:
            self._steer(self._source.control.unload_model())

    def action_flush(self) -> None:
        source = self._ready_source()
        if source is None:
            return
        tiers = self.store.vitals.tiers if self.store.vitals else ()
        lines = [
            line(f" {t.tier:<14} {t.entries:>6} entries  {f.size(t.bytes):>8}")
            for t in tiers
            if t.enabled
        ]
        lines += [Line(), line((" The next request of each session is read anew.", "muted"))]

        def answered(yes: bool | None) -> None:
            if yes:
                self._steer(self._flush_caches(source))

        self.push_screen(Confirm("Flush all caches?", lines, again="F"), answered)

    async def _flush_caches(self, source: Source) -> None:
        freed = await source.control.flush()
        parts = [f"{item.tier}: {item.entries} entries, {f.size(item.bytes)}" for item in freed]
        self._say("Freed " + ("; ".join(parts) or "nothing"))

    def action_cancel(self) -> None:
        row, source = self.view.selected, self._ready_source()
        if row is None or source is None or not row.active:
            return
        request_id = row.id
        lines = [
            line(f" {f.short_model(row.model_requested)}  {row.role}"),
            line((f" {row.output_tokens} tokens so far; what was read stays cached.", "muted")),
        ]

        def answered(yes: bool | None) -> None:
            if yes:
                self._steer(self._cancel(source, request_id))

        title = f"Cancel request {f.short_id(request_id)}?"
        self.push_screen(Confirm(title, lines, again="X"), answered)

    async def _cancel(self, source: Source, request_id: str) -> None:
        if not await source.control.cancel(request_id):
            self._say(f"{f.short_id(request_id)} had ended already.")

    def action_restart_engine(self) -> None:
        source = self._ready_source()
        if source is not None:
            self._steer(source.control.restart_engine())

    # --------------------------------------------------------------------------- the console

    def action_help(self) -> None:
        self.push_screen(Help(sections(dict(self._ui.keymap))))

    def action_next_theme(self) -> None:
        if self._names:
            at = self._names.index(self.theme) if self.theme in self._names else -1
            self.theme = self._names[(at + 1) % len(self._names)]
            self._say(f"Theme {self.theme}")

    def action_copy(self) -> None:
        text, what = self._copyable()
        if not text:
            self._say("There is nothing to copy here.", "warning")
            return
        self.copy_to_clipboard(text)
        self.run_worker(self._around.copy(text), group="copy", exit_on_error=False)
        self._say(f"Copied {what}")

    def _copyable(self) -> tuple[str, str]:
        if not self.store.rows:
            lines = self._source.env_lines if self._source is not None else ()
            return "\n".join(lines), "the lines to paste"
        error = self.main.query_one(ErrorsPane).selected
        if error is not None:
            return error.call.raw, "the call as written"
        return self.main.inspector.copied()

    def action_ask_quit(self) -> None:
        """Quits; with requests running it asks first, and a second q means yes."""
        running = len(self.store.active)
        if not running or (self._source is not None and self._source.attached):
            self.action_end()
            return
        noun = "request is" if running == 1 else "requests are"
        lines = [line(f" {running} {noun} running; the client gets an error event.")]

        def answered(yes: bool | None) -> None:
            if yes:
                self.action_end()

        self.push_screen(Confirm("Quit?", lines, again="q"), answered)

    def action_end(self) -> None:
        """Stops the server while the screen says so, then leaves; a second time, at once."""
        if self._ending:
            self._leave()
            return
        self._ending = True
        self._paint(Changes())
        self.run_worker(self._end(), group="end", exit_on_error=False)

    async def _end(self) -> None:
        self.workers.cancel_group(self, "start")
        with suppress(asyncio.CancelledError, Exception):
            await self._launch.stop()
        self._leave()

    def _leave(self) -> None:
        self.exit(return_code=self._exit_code)
