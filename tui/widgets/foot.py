"""The keys at the foot of a screen: those that fit, each to be clicked as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Leave, MouseDown, MouseMove, Resize
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Hint:
    """A key, as it is pressed and as it is written, and what it does."""

    key: str
    display: str
    text: str
    enabled: bool
    tooltip: str

    @property
    def cells(self) -> int:
        return cell_len(self.display) + 1 + cell_len(self.text)


class Foot(Widget):
    """Leaves out, from the right, what would be cut off. Only what can be done now is there.

    One line of one widget: Textual's own footer makes a widget of each key anew whenever any
    binding may have changed, which under traffic is most of what a repaint costs.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"foot--key", "foot--text", "foot--hover"}
    DEFAULT_CSS = """
    Foot {
        dock: bottom;
        width: 1fr;
        height: 1;
        padding: 0 0 0 1;
        color: $footer-foreground;
        background: $footer-background;
    }
    Foot > .foot--key {
        color: $footer-key-foreground;
        background: $footer-key-background;
        text-style: bold;
    }
    Foot > .foot--text {
        color: $footer-description-foreground;
        background: $footer-description-background;
    }
    Foot > .foot--hover { background: $block-hover-background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hints: tuple[Hint, ...] = ()
        self._renewing = False
        self._hovered: Hint | None = None

    @property
    def hints(self) -> tuple[Hint, ...]:
        """What is on show, from the left."""
        return tuple(hint for hint, _ in self._places())

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        # While another window has the keys they stay as they were.
        if screen.app.app_focus and not self._renewing and self.is_attached:
            self._renewing = True
            self.call_after_refresh(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        if not self.is_attached:
            return
        found: dict[str, Hint] = {}
        for _, binding, enabled, tooltip in self.screen.active_bindings.values():
            if binding.show and binding.action not in found:
                display = self.app.get_key_display(binding)
                text = binding.description
                found[binding.action] = Hint(binding.key, display, text, enabled, tooltip)
        hints = tuple(found.values())
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def _places(self) -> Iterator[tuple[Hint, int]]:
        """What fits, and the cell where each begins."""
        at, room = 0, self.size.width
        for hint in self._hints:
            if at + hint.cells > room:
                return
            yield hint, at
            at += hint.cells + 1

    def _at(self, x: int) -> Hint | None:
        """What is drawn at a cell of the widget, its padding counted."""
        x -= self.gutter.left
        return next((hint for hint, at in self._places() if at <= x < at + hint.cells), None)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        blank = Style(bgcolor=self.rich_style.bgcolor)
        key, text = (self.get_component_rich_style(f"foot--{part}") for part in ("key", "text"))
        segments: list[Segment] = []
        for hint, at in self._places():
            if at:
                segments.append(Segment(" ", blank))
            under = Style(dim=True) if not hint.enabled else Style()
            if hint == self._hovered:
                under += Style(bgcolor=self.get_component_rich_style("foot--hover").bgcolor)
            segments += [
                Segment(hint.display, key + under),
                Segment(f" {hint.text}", text + under),
            ]
        return Strip(segments).adjust_cell_length(width, blank)

    # ---------------------------------------------------------------------------- by the mouse

    def on_resize(self, event: Resize) -> None:
        self.refresh()

    def on_mouse_down(self, event: MouseDown) -> None:
        hint = self._at(event.x)
        if hint is not None and hint.enabled:
            self.app.simulate_key(hint.key)
        elif hint is not None:
            self.app.bell()

    def on_mouse_move(self, event: MouseMove) -> None:
        self._hover(self._at(event.x))

    def on_leave(self, event: Leave) -> None:
        self._hover(None)

    def _hover(self, hint: Hint | None) -> None:
        if hint != self._hovered:
            self._hovered = hint
            self.tooltip = (hint.tooltip or None) if hint is not None else None
            self.refresh()
