"""Screens of their own, each opened by a key over the main one and left by escape.

A room is imported when it is first opened: nothing of it may cost the first paint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.screen import Screen

    from anyclaude.control import Control
    from tui.state import Store


def room(
    name: str,
    control: Callable[[], Control | None],
    store: Store,
    now: Callable[[], float],
    folder: Path | None = None,
) -> Screen[None]:
    """The room of that name, which may keep something in ``folder``.

    Raises LookupError when there is none.
    """
    if name == "tree":
        from tui.rooms.tree import TreeRoom

        return TreeRoom(control, store, now)
    if name == "vitals":
        from tui.rooms.vitals import VitalsRoom

        return VitalsRoom(control, store, now)
    if name == "backends":
        from tui.rooms.backends import BackendsRoom

        return BackendsRoom(control, store, now)
    if name == "sql":
        from tui.rooms.sql import SqlRoom

        return SqlRoom(control, store, now, folder)
    if name == "history":
        from tui.rooms.history import HistoryRoom

        return HistoryRoom(control, store, now)
    if name == "searches":
        from tui.rooms.searches import SearchesRoom

        return SearchesRoom(control, store, now)
    raise LookupError(f"there is no room {name!r}")
