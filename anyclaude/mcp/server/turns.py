"""Which requests were one turn of a person's, told from their rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from anyclaude.records import RequestRecord
from anyclaude.types import Role

OWN_SESSION = "anyclaude-mcp"
"""The session of requests that are made here, which are nobody's turns."""

_AUXILIARY = frozenset(role.value for role in (Role.COUNT, Role.TITLE, Role.PROBE))


@dataclass(frozen=True, slots=True)
class Turns:
    """The newest session's last finished turn, and the one that is under way; oldest first."""

    last: tuple[RequestRecord, ...] = ()
    running: tuple[RequestRecord, ...] = ()

    @property
    def asked_about(self) -> tuple[RequestRecord, ...]:
        """The turn that somebody means who asks why the last one was slow."""
        return self.last or self.running


def turns_of(records: Sequence[RequestRecord]) -> Turns:
    """``records`` are newest first, as :meth:`~anyclaude.control.Control.requests` has them.

    A turn goes on as long as its answers call tools, and ends with one that doesn't.
    """
    asked = [r for r in records if r.role not in _AUXILIARY and r.session_id != OWN_SESSION]
    if not asked:
        return Turns()
    mine = [r for r in asked if r.session_id == asked[0].session_id]
    running = list(itertools.takewhile(_calls, mine))
    rest = mine[len(running) :]
    last = rest[:1] + list(itertools.takewhile(_calls, rest[1:]))
    return Turns(tuple(reversed(last)), tuple(reversed(running)))


def slowest(turn: Sequence[RequestRecord]) -> RequestRecord:
    """The request of a turn that took longest."""
    return max(turn, key=lambda record: record.duration_ms)


def _calls(record: RequestRecord) -> bool:
    return record.stop_reason == "tool_use"
