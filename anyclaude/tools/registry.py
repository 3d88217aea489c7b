"""The tools that clients offer, by what their definitions say.

A definition with another description or schema is another version of its tool. Each scope (a
conversation of a client: main loops and subagents have tools of their own) is compared with its
own last request; a tool that no scope offers any more is deprecated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from anyclaude.records import ToolVersion
from anyclaude.tools.canonical import canonical_text, hash_of
from anyclaude.tools.trace import Diff, diff
from anyclaude.types import ToolDefinition

_MAX_SCOPES = 64
_MAX_VERSIONS = 2000


@dataclass(frozen=True, slots=True)
class ToolChange:
    """How a scope's tools differ from its last request; ``diff`` is empty unless ``changed``."""

    kind: Literal["added", "removed", "changed"]
    tool: ToolVersion
    diff: Diff = field(default_factory=Diff)

    @property
    def text(self) -> str:
        named = f"{self.tool.name} (version {self.tool.version})"
        return f"{self.kind} {named}" + (f": {self.diff.text}" if self.diff else "")


class Registry:
    """All versions seen since the start; of too many the longest deprecated are forgotten."""

    def __init__(self) -> None:
        self._versions: OrderedDict[tuple[str, str], ToolVersion] = OrderedDict()
        self._newest: dict[str, int] = {}
        self._scopes: OrderedDict[str, dict[str, _Offered]] = OrderedDict()
        self._last: dict[str, tuple[ToolDefinition, ...]] = {}

    @property
    def tools(self) -> tuple[ToolVersion, ...]:
        """Every version known, by name and number."""
        return tuple(sorted(self._versions.values(), key=lambda v: (v.name, v.version)))

    def current(self, name: str, scope: str) -> ToolVersion | None:
        """The version of a tool that a scope offered last."""
        offered = self._scopes.get(scope, {}).get(name)
        return self._versions.get(offered.key) if offered else None

    def see(self, tools: Sequence[ToolDefinition], scope: str, at: float) -> tuple[ToolChange, ...]:
        """Takes note of a request's tools; returns how they differ from the scope's last ones.

        A scope's first request has nothing to differ from. One without tools says nothing.
        """
        if not tools:
            return ()
        given = tuple(tools)
        before = self._scopes.get(scope)
        if before is not None and self._last[scope] == given:
            self._scopes.move_to_end(scope)
            for offered in before.values():
                self._touch(offered, at)
            return ()
        now = {tool.name: self._offer(tool, at) for tool in given}
        self._scopes[scope], self._last[scope] = now, given
        self._scopes.move_to_end(scope)
        while len(self._scopes) > _MAX_SCOPES:
            oldest, _ = self._scopes.popitem(last=False)
            del self._last[oldest]
        self._deprecate()
        self._forget()
        return () if before is None else self._changes(before, now)

    def _offer(self, tool: ToolDefinition, at: float) -> _Offered:
        schema = canonical_text(tool.input_schema)
        offered = _Offered(tool, (tool.name, hash_of(f"{schema}\n{tool.description}")))
        if offered.key not in self._versions:
            number = self._newest.get(tool.name, 0) + 1
            self._newest[tool.name] = number
            version = ToolVersion(tool.name, number, hash_of(schema), at, at)
            self._versions[offered.key] = version
        self._touch(offered, at)
        return offered

    def _touch(self, offered: _Offered, at: float) -> None:
        if (version := self._versions.get(offered.key)) is not None:
            self._versions[offered.key] = replace(version, last_seen=at, deprecated=False)
            self._versions.move_to_end(offered.key)

    def _forget(self) -> None:
        gone = [key for key, version in self._versions.items() if version.deprecated]
        for key in gone[: max(0, len(self._versions) - _MAX_VERSIONS)]:
            del self._versions[key]

    def _deprecate(self) -> None:
        live = {offered.key for tools in self._scopes.values() for offered in tools.values()}
        for key, version in self._versions.items():
            if version.deprecated is (key in live):
                self._versions[key] = replace(version, deprecated=key not in live)

    def _changes(
        self, before: dict[str, _Offered], now: dict[str, _Offered]
    ) -> tuple[ToolChange, ...]:
        changes: list[ToolChange] = []
        for name, offered in now.items():
            version = self._versions[offered.key]
            old = before.get(name)
            if old is None:
                changes.append(ToolChange("added", version))
            elif old.key != offered.key:
                changes.append(ToolChange("changed", version, _difference(old.tool, offered.tool)))
        changes += [
            ToolChange("removed", self._versions[offered.key])
            for name, offered in before.items()
            if name not in now and offered.key in self._versions
        ]
        return tuple(changes)


@dataclass(frozen=True, slots=True)
class _Offered:
    tool: ToolDefinition
    key: tuple[str, str]


def _difference(before: ToolDefinition, after: ToolDefinition) -> Diff:
    return diff(
        {"description": before.description, "input_schema": before.input_schema},
        {"description": after.description, "input_schema": after.input_schema},
    )
