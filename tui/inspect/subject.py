"""What the inspector knows of the request it shows; every tab is a function of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anyclaude.events import SystemEvent
from anyclaude.records import RequestDetail, ToolFailure
from tui.columns import Moment
from tui.inspect.changes import Changes
from tui.inspect.facts import Facts, Said
from tui.lines import Line, line
from tui.request_row import RequestRow


@dataclass(frozen=True, slots=True)
class PromptPage:
    """A prompt ready to be read: all of it, and what changed since an earlier request's.

    ``text`` is what ``whole`` shows. ``changes`` is ``None`` when there is nothing to compare it
    with, and ``note`` says why; ``earlier`` is the id of the other request.
    """

    text: str
    whole: tuple[Line, ...]
    changes: Changes | None = None
    earlier: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What was fetched of a request beyond its row, and worked out from that.

    ``prompt``, ``raw`` and ``said`` are there once their tab was looked at; ``problem`` is why
    there is no ``detail``. ``said`` is what the client answered each call with, by its id.
    """

    id: str
    detail: RequestDetail | None = None
    problem: str = ""
    facts: Facts = field(default_factory=Facts)
    prompt: PromptPage | None = None
    raw: tuple[Line, ...] | None = None
    said: Mapping[str, Said] | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A request to show: its row and what was found of it, and what else bears on it.

    ``whole`` asks for the prompt instead of its changes. ``events`` are those before it, newest
    first, ``refusals`` the client's errors by the id of the call.
    """

    row: RequestRow
    moment: Moment
    found: Found
    width: int = 80
    whole: bool = False
    events: tuple[SystemEvent, ...] = ()
    refusals: Mapping[str, ToolFailure] = field(default_factory=dict)


def missing(subject: Subject) -> list[Line]:
    """In place of what isn't here: why, or that it is on its way."""
    problem = subject.found.problem
    return [line((f" {problem}" if problem else " …", "muted"), hang=1)]
