"""A guard against a screen that never comes to rest.

A layout posts a resize of the size it was made for. With two sizes queued at once, as when a
window's edge is dragged, each layout would call for the other one for ever (Textual 8.2.8).
"""

from __future__ import annotations

from textual.events import Resize
from textual.widget import Widget


def skip_stale(screen: Widget, event: Resize) -> None:
    """Keeps the screen from being laid out for a size the terminal no longer has."""
    if event.size != screen.app.size:
        event.prevent_default()
