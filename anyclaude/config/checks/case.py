"""What the checks look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude.config.settings import RouteSettings, Settings

Finding: TypeAlias = tuple[str, str]
"""A key and what is wrong with it, which follows its name in the message."""

Findings: TypeAlias = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Case:
    """Settings under examination.

    ``routes`` are those that can be understood, counted from 1 as they stand; ``origins`` says of
    each key that was given where, and ``broken`` holds the keys that the schema has something
    against. ``env`` is where keys of backends may be.
    """

    settings: Settings
    routes: tuple[tuple[int, RouteSettings], ...]
    origins: Mapping[str, str]
    broken: frozenset[str]
    env: Mapping[str, str]

    def sound(self, *keys: str) -> bool:
        """Whether the schema has nothing against any of the keys or what they stand in."""
        return not any(part in self.broken for key in keys for part in _outwards(key))

    def sound_within(self, table: str) -> bool:
        """Whether the schema has nothing against a table or anything in it."""
        return self.sound(table) and not any(key.startswith(f"{table}.") for key in self.broken)

    def given(self, key: str) -> bool:
        return key in self.origins

    def origin(self, key: str) -> str:
        """Where a key was given; for one that wasn't, where something beside it was."""
        for part in _outwards(key):
            if part in self.origins:
                return self.origins[part]
            for name, origin in self.origins.items():
                if name.startswith(f"{part}."):
                    return origin
        return "default"

    @property
    def backend_names(self) -> tuple[str, ...]:
        """Of all backends, those included that are not understood."""
        broken = (key.split(".") for key in sorted(self.broken) if key.startswith("backends."))
        return tuple(
            dict.fromkeys(
                (*(name for name, _ in self.settings.backends), *(parts[1] for parts in broken))
            )
        )


def _outwards(key: str) -> Iterator[str]:
    """The key, the table it stands in, and so on: ``a.b.c``, ``a.b``, ``a``."""
    while key:
        yield key
        key = key.rpartition(".")[0]
