"""Jump mode: a key drawn over every pane and tab; pressing it goes there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Key, Resize
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.jumps import Target
from tui.resizing import skip_stale


class Label(Static):
    """One key, where it leads to."""

    def __init__(self, key: str, target: Target) -> None:
        super().__init__(Content(f" {key} "), markup=False)
        self.styles.offset = (target.x, target.y)
        self._key = key

    def on_click(self, event: Click) -> None:
        self.screen.dismiss(self._key)


class Jump(ModalScreen[str], inherit_bindings=False):
    """Ends with the key that was pressed, when it stands for a place."""

    DEFAULT_CSS = """
    Jump { background: $background 40%; }
    Jump Label {
        position: absolute;
        width: 3;
        height: 1;
        background: $accent;
        color: $background;
        text-style: bold;
    }
    Jump #jump-hint {
        dock: bottom;
        width: 100%;
        height: 1;
        background: $panel;
        color: $foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+o", "close", "Close", key_display="esc", id="jump.close"),
    ]

    def __init__(self, targets: Mapping[str, Target]) -> None:
        super().__init__()
        self._targets = targets
        self._drawn_at: Size | None = None

    def compose(self) -> ComposeResult:
        for key, target in self._targets.items():
            yield Label(key, target)
        yield Static(" A key goes to its place; esc stays here.", id="jump-hint", markup=False)

    def on_resize(self, event: Resize) -> None:
        """With another size the places are others."""
        skip_stale(self, event)
        before, self._drawn_at = self._drawn_at, event.size
        if before is not None and before != event.size and self.is_current:
            self.dismiss(None)

    def on_key(self, event: Key) -> None:
        if event.character is not None and event.character in self._targets:
            event.stop()
            self.dismiss(event.character)

    def action_close(self) -> None:
        self.dismiss(None)
