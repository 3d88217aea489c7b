"""Getting around the console: its rooms, its palette, its help and its looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from textual.binding import Binding

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from tui import format as f
from tui.jumps import keyed
from tui.keys import key_name, sections
from tui.palette import Command
from tui.rooms import room
from tui.steering_taking import Taking

if TYPE_CHECKING:
    from tui.dialogs.palette import Palette
    from tui.rooms.base import Room

_NO_COMMANDS = frozenset({"app.palette", "pane.next", "pane.previous", "view.back"})


class Ways(Taking):
    """The actions that change what is on show, not what the server does."""

    def action_help(self) -> None:
        from tui.dialogs.help import Help

        self.push_screen(Help(sections(dict(self._ui.keymap))))

    def action_room(self, name: str) -> None:
        """Opens a room over the main screen; escape leaves it."""
        if self.screen is self.main:
            around = self._around
            self.push_screen(room(name, self._control, self.store, around.now, around.data_dir))

    def on_room_open(self, event: Room.Open) -> None:
        """A room has closed on a request."""
        self.main.show_request(event.request_id)

    def action_next_theme(self) -> None:
        names = self.theme_names
        if names:
            at = names.index(self.theme) if self.theme in names else -1
            self.action_theme(names[(at + 1) % len(names)])

    def action_theme(self, name: str) -> None:
        self.theme = name
        self._say(f"Theme {name}")

    # ------------------------------------------------------------------------------- palette

    def action_palette(self) -> None:
        """Everything that can be done now, found by a few letters."""
        from tui.dialogs.palette import Palette

        if self.screen is not self.main:
            return

        def answered(action: str | None) -> None:
            if action is not None:
                self.run_worker(self.run_action(action, self.main), group="palette")

        palette = Palette([*self._bound(), *self._named()])
        self.push_screen(palette, answered)
        control = self._control()
        if control is not None:
            self.run_worker(self._add_asked(palette, control), group="palette-asks")

    def _bound(self) -> Iterator[Command]:
        """The bindings of the main screen that do something here and now."""
        seen = set(_NO_COMMANDS)
        for active in self.main.active_bindings.values():
            binding = active.binding
            ours = active.node in (self.main, self) and active.enabled
            if binding.id and ours and binding.id not in seen:
                seen.add(binding.id)
                yield self._command(binding)

    def _command(self, binding: Binding) -> Command:
        key = key_name(dict(self._ui.keymap).get(binding.id or "", binding.key).split(",")[0])
        help = f"{binding.description}: [ui.keymap] calls it {binding.id}"
        return Command(binding.tooltip or binding.description, binding.action, key, help)

    def _named(self) -> Iterator[Command]:
        """What has no key of its own."""
        engine = self.store.engine
        for tab in self.main.tabs:
            yield Command(f"Inspector: {tab}", f"show_tab({tab!r})", help="The tab of that name")
        for item in self._copyables():
            if item.text and item.id != "shown":
                title = f"Copy {item.name[:1].lower()}{item.name[1:]}"
                yield Command(title, f"app.copy({item.id!r})", help="To the clipboard")
        for tier in self.store.vitals.tiers if self.store.vitals else ():
            if tier.enabled:
                frees = f"Frees {f.count(tier.entries)} entries, {f.size(tier.bytes)}"
                title = f"Flush the tier {tier.tier}"
                yield Command(title, f"app.flush_tier({tier.tier!r})", help=frees)
        if engine.phase == "ready":
            free = f"Gives back the memory of {f.short_model(engine.model)}"
            yield Command("Unload the model", "app.unload", help=free)
        for name in self.theme_names:
            if name != self.theme:
                yield Command(f"Theme {name}", f"app.theme({name!r})", help="Colours")

    async def _add_asked(self, palette: Palette, control: Control) -> None:
        """Models and switches, which only the server knows."""
        commands: list[Command] = []
        with suppress(AnyclaudeError):
            for model in await control.models():
                if not model.loaded:
                    size = f"{f.size(model.size_bytes)}{'' if model.fits else ', too large'}"
                    title = f"Load {f.one_line(model.name)}"
                    commands.append(Command(title, f"app.load({model.name!r})", help=size))
        with suppress(AnyclaudeError):
            for switch in await control.switches():
                title = f"Turn {'off' if switch.on else 'on'} {f.one_line(switch.name)}"
                action = f"app.set_switch({switch.name!r}, {not switch.on})"
                commands.append(Command(title, action, help=f.one_line(switch.help)))
        if palette.is_current:
            palette.add(commands)

    # ---------------------------------------------------------------------------------- jump

    def action_jump(self) -> None:
        """Draws a key over every pane and tab; that key goes there."""
        from tui.dialogs.jump import Jump

        if self.screen is not self.main:
            return
        targets = keyed(self.main.places())

        def answered(key: str | None) -> None:
            if key is not None:
                self.main.go_to(targets[key].name)

        self.push_screen(Jump(targets), answered)
