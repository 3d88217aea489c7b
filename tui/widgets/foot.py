"""The keys at the foot of a screen: those that fit, each to be clicked as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click, MouseMove, Resize
from textual.screen import Screen
from textual.widgets import Static


@dataclass(frozen=True, slots=True)
class Key:
    """A binding that can be used now; ``key`` is what a click presses."""

    key: str
    label: str
    name: str
    help: str
    enabled: bool

    @property
    def cells(self) -> int:
        return cell_len(self.label) + 1 + cell_len(self.name)


class Foot(Static):
    """Leaves out, from the right, what would be cut off. Only what can be done now is there.

    One line that is drawn anew when it says something else: Textual's own footer makes a widget
    for each key, every time that the focus moves.
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._keys: tuple[Key, ...] = ()
        self._under: Key | None = None

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self._renew)

    def _renew(self) -> None:
        if not self.is_attached:  # The screen may have closed since.
            return
        keys = tuple(self._usable())
        if keys != self._keys:
            self._keys, self._under = keys, None
            self._draw()

    def _usable(self) -> Iterator[Key]:
        """The bindings that show, one for each action."""
        actions: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in actions:
                actions.add(binding.action)
                label = self.app.get_key_display(binding)
                help = active.tooltip or binding.description
                yield Key(binding.key, label, binding.description, help, active.enabled)

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _places(self) -> Iterator[tuple[int, Key]]:
        """Each key that fits, and the cell where it begins."""
        at, room = 0, self.content_region.width
        for key in self._keys:
            if at + key.cells > room:
                return
            yield at, key
            at += key.cells + 1

    def _draw(self) -> None:
        parts: list[tuple[str, str]] = []
        for at, key in self._places():
            how = " on $block-hover-background" if key is self._under else ""
            how += "" if key.enabled else " dim"
            parts.append((" " if at else "", ""))
            parts.append((key.label, f"bold $footer-key-foreground{how}"))
            parts.append((f" {key.name}", f"$footer-description-foreground{how}"))
        self.update(Content.assemble(*parts), layout=False)

    def _key_at(self, event: Click | MouseMove) -> Key | None:
        spot = event.get_content_offset(self)
        if spot is not None:
            for at, key in self._places():
                if at <= spot.x < at + key.cells:
                    return key
        return None

    def on_click(self, event: Click) -> None:
        key = self._key_at(event)
        if key is not None and key.enabled:
            self.app.simulate_key(key.key)

    def on_mouse_move(self, event: MouseMove) -> None:
        self._point_at(self._key_at(event))

    def on_leave(self) -> None:
        self._point_at(None)

    def _point_at(self, key: Key | None) -> None:
        """What the mouse is over stands out, and is explained when it rests there."""
        if key is not self._under:
            self._under = key
            self.tooltip = key.help if key is not None else None
            self._draw()
