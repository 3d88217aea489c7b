"""What the inspector says about one request: a module for each tab, each a pure function of the
subject that gives lines. Nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tui.inspect.cache import cache_lines
from tui.inspect.output import output_lines
from tui.inspect.overview import overview_lines
from tui.inspect.prompt import prompt_lines
from tui.inspect.raw import raw_lines
from tui.inspect.subject import Found, PromptPage, Subject
from tui.inspect.timing import timing_lines
from tui.inspect.tools import tools_lines
from tui.lines import Line

__all__ = ["TABS", "Found", "PromptPage", "Subject", "tab_lines"]

_ROOMS: Mapping[str, Callable[[Subject], list[Line]]] = {
    "Overview": overview_lines,
    "Prompt": prompt_lines,
    "Output": output_lines,
    "Tools": tools_lines,
    "Cache": cache_lines,
    "Timing": timing_lines,
    "Raw": raw_lines,
}
TABS = tuple(_ROOMS)


def tab_lines(tab: str, subject: Subject) -> list[Line]:
    """The lines of the tab called ``tab``, one of :data:`TABS`."""
    return _ROOMS[tab](subject)
