"""The keys at the foot of a screen: those that fit, each to be clicked as well."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey


class Foot(Footer):
    """Leaves out, from the right, what would be cut off. Only what can be done now is there."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._made_for = 0

    def compose(self) -> ComposeResult:
        self._made_for = room = self.content_region.width
        for key in super().compose():
            if isinstance(key, FooterKey):
                room -= cell_len(key.key_display) + 1 + cell_len(key.description)
                if room < 0:
                    return
                room -= 1
            yield key

    async def on_resize(self, event: Resize) -> None:
        if self._made_for != self.content_region.width:
            await self.recompose()
