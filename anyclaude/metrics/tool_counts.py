"""Tool calls counted by model and tool: verdicts, mending, issues, tokens, time, failures.

Names come from models and clients, so that only so many get a count of their own.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from anyclaude.records import UNCHECKED, McpCallRecord, ToolCallRecord, ToolFailure

MAX_NAMES = 200
UNKNOWN = "(unknown)"
"""Stands for names of tools that do not exist."""

OTHER = "(other)"
"""Stands for every name after the first :data:`MAX_NAMES`."""


class ToolCounts:
    """Running totals since the start."""

    def __init__(self) -> None:
        #: Calls by model, tool and verdict.
        self.calls: Counter[tuple[str, str, str]] = Counter()
        #: Calls by model, tool and stage that mended them; one call may need several.
        self.repairs: Counter[tuple[str, str, str]] = Counter()
        #: Issues by tool and rule.
        self.issues: Counter[tuple[str, str]] = Counter()
        #: Tokens of calls by model and tool.
        self.tokens: Counter[tuple[str, str]] = Counter()
        #: Seconds that writing calls took, by model and tool.
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        #: Calls that the client answered with an error, by tool and kind.
        self.failures: Counter[tuple[str, str]] = Counter()
        self._names: set[str] = set()

    def call(self, call: ToolCallRecord, model: str) -> None:
        """Counts a call of ``model``."""
        faults = [issue for issue in call.issues if issue.rule != UNCHECKED]
        nameless = not call.name or (
            call.verdict in ("failed", "unparsed") and any(i.rule == "exists" for i in faults)
        )
        name = UNKNOWN if nameless else self._name(call.name)
        self.calls[model, name, call.verdict] += 1
        self.repairs.update((model, name, stage) for stage in call.stages)
        self.issues.update((name, issue.rule) for issue in faults)
        self.tokens[model, name] += call.tokens
        self.seconds[model, name] += call.ms / 1000

    def failure(self, failure: ToolFailure) -> None:
        """Counts an error that the client sent for a call."""
        nameless = not failure.name or failure.kind == "unknown_tool"
        name = UNKNOWN if nameless else self._name(failure.name)
        self.failures[name, failure.kind] += 1

    def _name(self, name: str) -> str:
        if name in self._names or len(self._names) < MAX_NAMES:
            self._names.add(name)
            return name
        return OTHER


class ServedCounts:
    """Running totals of calls that ran here since the start."""

    def __init__(self) -> None:
        #: Calls by server, tool and how they ended.
        self.calls: Counter[tuple[str, str, str]] = Counter()
        #: Those that an earlier result answered, by server and tool.
        self.cached: Counter[tuple[str, str]] = Counter()
        #: Seconds that they took, by server and tool.
        self.seconds: defaultdict[tuple[str, str], float] = defaultdict(float)

    def ended(self, call: McpCallRecord) -> None:
        place = call.server, call.tool
        self.calls[(*place, call.status)] += 1
        self.cached[place] += call.cached
        self.seconds[place] += call.ms / 1000
