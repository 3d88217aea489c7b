"""Steering one request: the selected one."""

from __future__ import annotations

from dataclasses import dataclass

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from tui import format as f
from tui.desk import Desk
from tui.lines import line
from tui.request_row import RequestRow


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A replay that waits for its model to be loaded."""

    request_id: str
    model: str


class RequestSteering(Desk):
    """The actions that concern the selected request."""

    _jump_to = ""
    _awaited: _Awaited | None = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Cancel shows when there is something to cancel, the others when a request is there."""
        row = self.view.selected
        match action:
            case "cancel":
                return row is not None and row.active
            case "replay" | "reparse":
                return row is not None and not row.active
            case "pin":
                return row is not None and bool(row.session_id)
            case _:
                return super().check_action(action, parameters)

    def action_cancel(self) -> None:
        from tui.dialogs.confirm import Confirm

        row, control = self.view.selected, self._need_control()
        if row is None or control is None or not row.active:
            return
        request_id = row.id
        lines = [
            line(f" {f.short_model(row.model_requested)}  {row.role}"),
            line((f" {row.output_tokens} tokens so far; what was read stays cached.", "muted")),
        ]

        def answered(yes: bool | None) -> None:
            if yes:
                self._steer(self._cancel(control, request_id))

        title = f"Cancel request {f.short_id(request_id)}?"
        self.push_screen(Confirm(title, lines, again="X"), answered)

    async def _cancel(self, control: Control, request_id: str) -> None:
        if not await control.cancel(request_id):
            self._say(f"{f.short_id(request_id)} had ended already.")

    # --------------------------------------------------------------------------------- replay

    def action_replay(self) -> None:
        """Asks which model, runs the request again, and goes to the new row."""
        row, control = self.view.selected, self._need_control()
        if row is not None and control is not None:
            self._steer(self._ask_replay(control, row))

    async def _ask_replay(self, control: Control, row: RequestRow) -> None:
        from tui.dialogs.replay import ReplayChooser, model_of

        def answered(chosen: str | None) -> None:
            if chosen is not None:
                self._steer(self._replay(control, row.id, model_of(chosen)))

        chooser = ReplayChooser(row)
        await self.push_screen(chooser, answered)
        chooser.show_models(await control.models())

    async def _replay(self, control: Control, request_id: str, model: str) -> None:
        engine = self.store.engine
        if model and (engine.phase, engine.model) != ("ready", model):
            await control.load_model(model)
            self._awaited = _Awaited(request_id, model)
            self._say(f"{f.short_id(request_id)} runs again when {f.short_model(model)} is loaded")
            return
        new = await control.replay(request_id, model)
        self._say(f"{f.short_id(request_id)} runs again as {f.short_id(new)}")
        self._go_to(new)

    def _follow_up(self) -> None:
        """On the tick: goes on with a replay whose model is loaded now, and to its row once it
        is there."""
        if self._jump_to:
            self._go_to(self._jump_to)
        awaited, engine, control = self._awaited, self.store.engine, self._control()
        if awaited is None or control is None:
            return
        if engine.phase == "failed":
            self._awaited = None
        elif (engine.phase, engine.model) == ("ready", awaited.model):
            self._awaited = None
            self._steer(self._replay(control, awaited.request_id, awaited.model))

    def _go_to(self, request_id: str) -> None:
        if self.view.select(request_id):
            self._jump_to = ""
            self.main.redraw()
        else:
            self._jump_to = request_id if request_id not in self.store.rows else ""

    # ------------------------------------------------------------------------------------ pin

    def action_pin(self) -> None:
        """Keeps what the selected request's session has in memory, or lets it go again."""
        row, control = self.view.selected, self._need_control()
        if row is not None and row.session_id and control is not None:
            pinned = row.session_id not in self.store.pinned
            self._steer(self._pin(control, row.session_id, pinned))

    async def _pin(self, control: Control, session_id: str, pinned: bool) -> None:
        await control.pin(session_id, pinned)
        self.store.pin(session_id, pinned)
        self.main.redraw()
        word = "is pinned: its prompts stay in memory" if pinned else "is no longer pinned"
        self._say(f"Session {f.one_line(session_id)[:8]} {word}")

    async def _find_pins(self, control: Control) -> None:
        """What was pinned before this console came: a session all of whose edges are."""
        try:
            nodes = (await control.prefix_tree()).nodes
        except AnyclaudeError:
            return  # Older servers have no picture of the tree; then nothing is marked.
        loose = {session for node in nodes if not node.pinned for session in node.sessions}
        for session in {s for node in nodes if node.pinned for s in node.sessions} - loose:
            self.store.pin(session, True)

    # -------------------------------------------------------------------------------- reparse

    def action_reparse(self) -> None:
        """Shows what the present parser makes of the selected request's output."""
        row, control = self.view.selected, self._need_control()
        if row is not None and control is not None:
            self._steer(self._reparse(control, row))

    async def _reparse(self, control: Control, row: RequestRow) -> None:
        from tui.dialogs.reparse import Reparse

        dialog = Reparse(f.short_id(row.id))
        await self.push_screen(dialog)
        sent = tuple(row.calls)
        now = await control.reparse(row.id)
        if not sent and row.record is not None:
            sent = (await control.detail(row.id)).tool_calls
        dialog.show_calls(sent, now)
