"""The console as an application: it starts the server after its first paint, feeds the screen
ten times a second, and carries out what a person asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from anyclaude.config.settings import UiSettings
from anyclaude.errors import AnyclaudeError, ConfigError, UsageError
from anyclaude.events import EngineState, Event, Subscription, SystemEvent
from tui import format as f
from tui.desk import Interruptible, Surroundings, Synced
from tui.details import Details, Wish
from tui.launch import Launch, Offer
from tui.lines import line
from tui.looks import LOOK_S, Looks
from tui.misses import HEADS_SQL, KEEP_HEADS, heads_of
from tui.panels import Welcome
from tui.request_row import RequestRow
from tui.source import Source
from tui.state import Changes
from tui.steering import ServerSteering
from tui.steering_requests import RequestSteering
from tui.steering_ways import Ways
from tui.themes import Themes
from tui.troubles import Remedy, engine_trouble

SEED_ROWS = 200
# What is done to a server, or asked of it, where there is none.
_OF_THE_SERVER = frozenset(
    (
        *("models", "flush", "pause", "switches", "shorten", "room", "copy_menu"),
        *("cancel", "replay", "pin", "export", "reparse"),
    )
)
HEADS_S = 15.0


class Console(ServerSteering, RequestSteering, Ways, Looks, inherit_bindings=False):
    """anyclaude-tui."""

    TITLE = "anyclaude"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+q",
            "end",
            "Quit now",
            show=False,
            priority=True,
            tooltip="Quit at once",
            id="app.quit_now",
        ),
        Binding(
            "ctrl+c",
            "interrupt",
            "Stop",
            show=False,
            priority=True,
            tooltip="Quit at once; in the SQL room, stop the query or copy what is selected",
            id="app.interrupt",
        ),
    ]

    def __init__(
        self,
        launch: Launch,
        ui: UiSettings,
        themes: Themes,
        around: Surroundings = Surroundings(),  # noqa: B008 - a frozen value
    ) -> None:
        super().__init__(ui, around)
        self._launch = launch
        self._dress(themes)
        self._subscription: Subscription | None = None
        self._ending = False
        self._seen_revision = -1
        self._advice: tuple[str, ...] = ()
        self._details = Details(self.store)
        self._looked_at = ""
        self._heads_asked = (0, float("-inf"))
        self._exit_code = 0
        self._ways_on: tuple[Offer, ...] = ()
        self.problem = ""

    @property
    def launch(self) -> Launch:
        """What started the server on show; another one after an offer was taken."""
        return self._launch

    def on_mount(self) -> None:
        self.set_keymap(dict(self._ui.keymap))
        self._say_of_themes()

    def on_ready(self) -> None:
        """The first frame is out: from here on there is time for heavier things."""
        self.tick()
        if self._around.tick_s is not None:
            self.set_interval(self._around.tick_s, self.tick)
            self.set_interval(LOOK_S, self.look_at_themes)
        self.run_worker(self._start(), group="start", exit_on_error=False)

    async def _start(self) -> None:
        try:
            await self._launch.start(self._found)
        except Exception as error:
            failure = await self._launch.explain(error)
            self.problem, self._ways_on = failure.problem, failure.offers
            self.store.apply(EngineState("stopped"), self._around.now())
            self._exit_code = 2 if isinstance(error, ConfigError | UsageError) else 1
            self.main.refresh_bindings()
        else:
            self._started = True
            if self._source is not None and self._source.attached:
                with suppress(AnyclaudeError):
                    self.store.seed(await self._source.control.requests(SEED_ROWS))
                await self._find_pins(self._source.control)
        self.tick()

    def action_take_offer(self, binding: str) -> None:
        """Starts again in the way that was offered after a failed start."""
        offer = next((o for o in self._ways_on if o.binding == binding), None)
        if offer is not None:
            self._ways_on, self.problem, self._exit_code = (), "", 0
            self.main.refresh_bindings()
            self.run_worker(self._start_by(offer.launch), group="start", exit_on_error=False)

    async def _start_by(self, launch: Launch) -> None:
        with suppress(Exception):
            await self._launch.stop()
        self._launch = launch
        self.store.apply(EngineState("unloaded"), self._around.now())
        await self._start()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A way to start is there when it was offered, and until then little else."""
        if action == "take_offer":
            return any(offer.binding == parameters[0] for offer in self._ways_on)
        if self.problem and action in _OF_THE_SERVER:
            return False
        return super().check_action(action, parameters)

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
        self._sync_top()
        if self._seen_revision == self.store.revision and not changes and not self.store.active:
            self._welcome()
            self._want_detail()
            return
        self._seen_revision = self.store.revision
        self._paint(changes)
        self._follow_up()

    def _sync_top(self) -> None:
        top = self.screen
        if top is not self.main and isinstance(top, Synced) and top.is_mounted:
            top.sync()

    def _paint(self, changes: Changes) -> None:
        address = self._source.address if self._source is not None else ""
        self.main.sync(changes, address, self._ending)
        self._welcome()
        self._want_detail()

    def _welcome(self) -> None:
        if self.store.rows:
            return
        engine, source = self.store.engine, self._source
        serves = source if self._started else None
        if engine.phase == "ready" and source is not None and not self._advice:
            self._advice = ("",)
            self.run_worker(self._advise(source, engine.model), group="advice")
        self.main.sync_welcome(
            Welcome(
                engine,
                self._started,
                serves.address if serves is not None else "",
                serves.env_lines if serves is not None else (),
                tuple(text for text in self._advice if text),
                self.problem,
                tuple((self.main.key(o.binding), o.text) for o in self._help(engine)),
            )
        )

    def _help(self, engine: EngineState) -> Sequence[Offer | Remedy]:
        """What a person can do about a start, or an engine, that failed."""
        if engine.phase == "failed":
            return engine_trouble(engine.detail).remedies
        return self._ways_on

    async def _advise(self, source: Source, model: str) -> None:
        self._advice = ("", *await source.advice(model))
        self._welcome()

    def _want_detail(self, *, at_once: bool = False) -> None:
        """Has the selected request looked into, as far as the tab on show needs it.

        One that the cursor only passes, or that the next one follows, is not worth it: unless
        ``at_once`` it must have been the selected one a tick ago.
        """
        row, source = self.view.selected, self._source
        passed, self._looked_at = self._looked_at, row.id if row is not None else ""
        if passed != self._looked_at and not at_once:
            return
        wish = self._details.wish(row, self.main.inspector.tab) if source is not None else None
        if row is not None and source is not None and wish is not None:
            work = self._find_detail(source, row, wish)
            self.run_worker(work, group="detail", exclusive=True)

    async def _find_detail(self, source: Source, row: RequestRow, wish: Wish) -> None:
        self.main.inspector.set_found(await self._details.find(source.control, row, wish))
        self.main.sync_inspector()

    def on_inspector_wanted(self) -> None:
        self._want_detail(at_once=True)

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

    # -------------------------------------------------------------------------------- leaving

    def action_ask_quit(self) -> None:
        """Quits; with requests running it asks first, and a second q means yes."""
        from tui.dialogs.confirm import Confirm

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

    def action_interrupt(self) -> None:
        if isinstance(self.screen, Interruptible):
            self.screen.interrupt()
        else:
            self.action_end()

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
