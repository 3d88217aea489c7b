"""Steering the server itself: its model, its caches, its door and its switches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyclaude.control import SHORTEN, Control
from tui import format as f
from tui.desk import Desk

if TYPE_CHECKING:
    from tui.dialogs.models import ModelPicker
    from tui.dialogs.switches import Switches


class ServerSteering(Desk):
    """The actions that concern the server as a whole."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Restart shows when the engine failed."""
        if action == "restart_engine":
            return self.store.engine.phase == "failed"
        return super().check_action(action, parameters)

    def action_restart_engine(self) -> None:
        control = self._need_control()
        if control is not None:
            self._steer(control.restart_engine())

    # ---------------------------------------------------------------------------------- model

    def action_models(self) -> None:
        control = self._need_control()
        if control is not None:
            self._steer(self._pick_model(control))

    async def _pick_model(self, control: Control) -> None:
        from tui.dialogs.models import ModelPicker

        picker = ModelPicker(self.store)
        await self.push_screen(picker)
        picker.show_models(await control.models())

    async def _list_models(self, control: Control) -> None:
        models = await control.models()
        from tui.dialogs.models import ModelPicker

        if isinstance(self.screen, ModelPicker):
            self.screen.show_models(models)

    def on_model_picker_load(self, event: ModelPicker.Load) -> None:
        self._load_model(event.name)

    def on_model_picker_unload(self) -> None:
        self.action_unload()

    def on_model_picker_pull(self, event: ModelPicker.Pull) -> None:
        control = self._control()
        if control is not None:
            self._steer(control.pull_model(event.name))

    def on_model_picker_pulled(self) -> None:
        control = self._control()
        if control is not None:
            self._steer(self._list_models(control))

    def action_load(self, name: str) -> None:
        """Loads a model by name, as from the palette."""
        if self._need_control() is not None:
            self._load_model(name)

    def _load_model(self, name: str) -> None:
        control = self._control()
        if control is not None:
            self._steer(control.load_model(name))

    def action_unload(self) -> None:
        control = self._need_control()
        if control is not None:
            self._steer(control.unload_model())

    # --------------------------------------------------------------------------------- caches

    def action_flush(self) -> None:
        """Asks what is to be flushed, with what that would free."""
        from tui.dialogs.flush import FlushChooser

        def answered(tier: str | None) -> None:
            if tier is not None:
                self.action_flush_tier(tier)

        if self._need_control() is not None:
            tiers = self.store.vitals.tiers if self.store.vitals else ()
            self.push_screen(FlushChooser(tiers), answered)

    def action_flush_tier(self, tier: str) -> None:
        """Flushes one tier, or with ``all`` every one, and says what was freed."""
        control = self._need_control()
        if control is not None:
            self._steer(self._flush_caches(control, tier))

    async def _flush_caches(self, control: Control, tier: str) -> None:
        freed = await control.flush(None if tier == "all" else tier)
        parts = [f"{item.tier}: {item.entries} entries, {f.size(item.bytes)}" for item in freed]
        self._say("Freed " + ("; ".join(parts) or "nothing"))

    # ------------------------------------------------------------------------------- admission

    def action_pause(self) -> None:
        """Keeps new requests waiting, or lets them in again."""
        control = self._need_control()
        if control is not None:
            paused = self.store.vitals is not None and self.store.vitals.paused
            self._steer(control.pause(not paused))

    # -------------------------------------------------------------------------------- switches

    def action_switches(self) -> None:
        control = self._need_control()
        if control is not None:
            self._steer(self._open_switches(control))

    async def _open_switches(self, control: Control) -> None:
        from tui.dialogs.switches import Switches

        dialog = Switches()
        await self.push_screen(dialog)
        dialog.show_switches(await control.switches())

    def action_shorten(self) -> None:
        """Whether prompts are shortened, the other way round."""
        control = self._need_control()
        if control is not None:
            self._steer(self._flip(control, SHORTEN))

    async def _flip(self, control: Control, name: str) -> None:
        on = next((switch.on for switch in await control.switches() if switch.name == name), None)
        if on is None:
            self._say(f"The anyclaude at the other end has no switch {name}.", "warning")
        else:
            await self._set_switch(control, name, not on)

    def on_switches_set(self, event: Switches.Set) -> None:
        self.action_set_switch(event.name, event.on)

    def action_set_switch(self, name: str, on: bool) -> None:
        control = self._need_control()
        if control is not None:
            self._steer(self._set_switch(control, name, on))

    async def _set_switch(self, control: Control, name: str, on: bool) -> None:
        from tui.dialogs.switches import Switches

        await control.set_switch(name, on)
        if isinstance(self.screen, Switches):
            self.screen.show_switches(await control.switches())
        else:
            self._say(f"{name} is {'on' if on else 'off'}")
