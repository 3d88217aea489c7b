"""What became of tool definitions on their way, as differences that a person can read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from anyclaude.types import JsonValue

_LISTED = 8
_NO_NAMES: Mapping[str, str] = MappingProxyType({})
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Diff:
    """Paths of keys and list items that came, went or changed; each only at its top.

    ``lost`` counts the keys that went with all that was below them.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    lost: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def text(self) -> str:
        """One line, such as ``added a.b; removed c``."""
        return "; ".join(f"{word} {_list(paths)}" for word, paths in self._parts if paths)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each path, such as ``added a.b``."""
        return tuple(f"{word} {path}" for word, paths in self._parts for path in paths)

    @property
    def _parts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("added", self.added), ("removed", self.removed), ("changed", self.changed)


def diff(before: JsonValue, after: JsonValue, renamed: Mapping[str, str] = _NO_NAMES) -> Diff:
    """The structural difference of two JSON values.

    ``renamed`` keys, old names to new, are no loss: what is below them is compared.
    """
    walk = _Walk(renamed)
    walk.compare(before, after, "")
    return Diff(tuple(walk.added), tuple(walk.removed), tuple(walk.changed), walk.lost)


def removal(value: JsonValue, paths: Iterable[Sequence[str | int]]) -> Diff:
    """The difference that taking ``paths`` out of ``value`` makes."""
    removed, lost = [], 0
    for path in paths:
        names, inner = [], value
        for step in path:
            if isinstance(inner, Mapping):
                inner = inner[str(step)]
                names.append(str(step))
            else:
                assert isinstance(inner, list | tuple) and isinstance(step, int)
                scalars = all(isinstance(item, _SCALARS) for item in inner)
                inner = inner[step]
                names.append(_text(inner) if scalars else str(step))
        removed.append(".".join(names))
        lost += _keys(inner)
    return Diff(removed=tuple(removed), lost=lost)


@dataclass(slots=True)
class _Walk:
    renamed: Mapping[str, str]
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    lost: int = 0

    def compare(self, before: JsonValue, after: JsonValue, path: str) -> None:
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            self._parts(before, after, path)
        elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
            if all(isinstance(item, _SCALARS) for item in (*before, *after)):
                self._parts(_by_text(before), _by_text(after), path)
            else:
                self._parts(_by_place(before), _by_place(after), path)
        elif before != after or type(before) is not type(after):
            self.changed.append(path)

    def _parts(
        self, before: Mapping[str, JsonValue], after: Mapping[str, JsonValue], path: str
    ) -> None:
        moved = {
            new: old
            for old, new in self.renamed.items()
            if old in before and old not in after and new in after and new not in before
        }
        for key, item in before.items():
            inner = f"{path}.{key}" if path else key
            if key in after:
                self.compare(item, after[key], inner)
            elif key in moved.values():
                self.changed.append(inner)
                if not isinstance(item, _SCALARS):
                    self.compare(item, after[self.renamed[key]], inner)
            else:
                self.removed.append(inner)
                self.lost += _keys(item)
        new = [key for key in after if key not in before and key not in moved]
        self.added += [f"{path}.{key}" if path else key for key in new]


def _by_text(items: Sequence[JsonValue]) -> dict[str, JsonValue]:
    return {_text(item): item for item in items}


def _text(item: JsonValue) -> str:
    return item if isinstance(item, str) else json.dumps(item)


def _by_place(items: Sequence[JsonValue]) -> dict[str, JsonValue]:
    return {str(index): item for index, item in enumerate(items)}


def _keys(value: JsonValue) -> int:
    """The keys in a value that goes, the one it stood under included."""
    if isinstance(value, Mapping):
        return 1 + sum(_keys(item) for item in value.values())
    if isinstance(value, list | tuple):
        return 1 + sum(_keys(item) - 1 for item in value)
    return 1


def _list(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(paths[:_LISTED]) + more
