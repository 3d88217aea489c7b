"""What a request tells of tools: offers that changed, calls that failed, what became of schemas."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.dialect import Dialect
from anyclaude.events import SystemEvent, ToolFailed
from anyclaude.records import ToolVersion
from anyclaude.tools.registry import Registry
from anyclaude.tools.results import failures
from anyclaude.tools.transforms import Hidden, Step, event_of, in_grammar, in_prompt
from anyclaude.types import MessagesRequest, ToolChoice, ToolDefinition

_MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class Taken:
    """How the request with these ``tools`` was taken by ``model``.

    ``hidden`` tells what its prompt has not of a tool, ``dialect`` is that of the grammar that
    the calls are held to, ``None`` without one.
    """

    model: str
    tools: tuple[ToolDefinition, ...]
    choice: ToolChoice
    hidden: Hidden
    dialect: Dialect | None


@dataclass(frozen=True, slots=True)
class Untold:
    """Steps of which nothing was said yet for this version of a tool."""

    tool: ToolDefinition
    version: ToolVersion
    steps: tuple[Step, ...]


class ToolWatch:
    """Looks at every request in turn. Belongs to the event loop."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._traced: OrderedDict[tuple[str, str, int, Step], None] = OrderedDict()

    def received(
        self, request: MessagesRequest, request_id: str, scope: str, at: float
    ) -> tuple[SystemEvent | ToolFailed, ...]:
        """The events of one request; a failure counts once, however often it is sent again.

        ``scope`` names the client's conversation, ``at`` is Unix time.
        """
        events: list[SystemEvent | ToolFailed] = []
        if changes := self.registry.see(request.tools, scope, at):
            message = "the client's tools changed: " + ", ".join(
                f"{change.kind} {change.tool.name}" for change in changes
            )
            detail = "\n".join(change.text for change in changes)
            events.append(SystemEvent(at, "info", "tools", message[:500], request_id, detail))
        for failure in failures(request, request_id):
            if failure.tool_use_id not in self._known:
                self._known[failure.tool_use_id] = None
                events.append(ToolFailed(at, failure))
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return tuple(events)

    def untold(self, taken: Taken, scope: str) -> tuple[Untold, ...]:
        """What of an admitted request's tools is to be told by :func:`transformed`, once.

        For a model of its own a version is told anew.
        """
        found = [self._untold(tool, taken, scope) for tool in taken.tools]
        while len(self._traced) > _MAX_KNOWN:
            self._traced.popitem(last=False)
        return tuple(one for one in found if one is not None)

    def _untold(self, tool: ToolDefinition, taken: Taken, scope: str) -> Untold | None:
        version = self.registry.current(tool.name, scope)
        if version is None:
            return None
        steps: list[Step] = []
        for step in _steps(tool, taken):
            key = (taken.model, tool.name, version.version, step)
            if key not in self._traced:
                steps.append(step)
            self._traced[key] = None
            self._traced.move_to_end(key)
        return Untold(tool, version, tuple(steps)) if steps else None


def transformed(
    untold: Sequence[Untold], taken: Taken, request_id: str, at: float
) -> tuple[SystemEvent, ...]:
    """One event for each tool of which anything changed. Never raises; not for the event loop."""
    events = [_event(one, taken, request_id, at) for one in untold]
    return tuple(event for event in events if event is not None)


def _steps(tool: ToolDefinition, taken: Taken) -> tuple[Step, ...]:
    dialect, choice = taken.dialect, taken.choice
    held = dialect is not None and dialect.grammar is not None and choice.mode != "none"
    if not held or (choice.mode == "tool" and choice.name != tool.name):
        return ("prompt",)
    return "prompt", "grammar"


def _event(one: Untold, taken: Taken, request_id: str, at: float) -> SystemEvent | None:
    try:
        done = []
        if "prompt" in one.steps:
            done.append(in_prompt(one.tool, taken.hidden))
        if "grammar" in one.steps and taken.dialect is not None:
            done.append(in_grammar(one.tool, taken.dialect))
        return event_of(one.version, done, at, request_id)
    except Exception as error:  # A schema is a stranger's, and a template a program of its own.
        message = f"{one.tool.name}: what became of its schema can't be told: {error!r}"
        return SystemEvent(at, "warning", "tools", message[:500], request_id)
