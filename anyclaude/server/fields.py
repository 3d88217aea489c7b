"""Reading JSON values by path, with the API's own words when one is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from anyclaude.errors import InvalidRequest
from anyclaude.types import JsonObject, JsonValue


class Node:
    """A JSON value that knows where it stands; every reader raises InvalidRequest."""

    __slots__ = ("_key", "_parent", "value")

    def __init__(self, value: JsonValue, parent: Node | None = None, key: str | int = "") -> None:
        self.value = value
        self._parent = parent
        self._key = key

    @property
    def path(self) -> str:
        """``messages.0.content.1.text``; empty for the body itself."""
        parts: list[str] = []
        node: Node | None = self
        while node is not None and node._parent is not None:
            parts.append(str(node._key))
            node = node._parent
        return ".".join(reversed(parts))

    def fail(self, message: str) -> InvalidRequest:
        """The error to raise about this value."""
        return InvalidRequest(message, field=self.path or None)

    def object(self) -> JsonObject:
        if not isinstance(self.value, Mapping):
            raise self.fail("Input should be an object")
        return self.value

    def find(self, key: str) -> Node | None:
        """The value under ``key``; ``None`` when it is absent or null."""
        value = self.object().get(key)
        return None if value is None else Node(value, self, key)

    def need(self, key: str) -> Node:
        mapping = self.object()
        node = Node(mapping.get(key), self, key)
        if key not in mapping:
            raise node.fail("Field required")
        return node

    def items(self) -> Iterator[Node]:
        value = self.value
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self.fail("Input should be a valid list")
        return (Node(item, self, index) for index, item in enumerate(value))

    def text(self, *, filled: bool = False) -> str:
        if not isinstance(self.value, str):
            raise self.fail("Input should be a valid string")
        if filled and not self.value:
            raise self.fail("String should have at least 1 character")
        return self.value

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.fail("Input should be a valid boolean")
        return self.value

    def integer(self, low: int) -> int:
        """An integer, ``100.0`` included, of at least ``low``."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail("Input should be a valid integer")
        if value < low:
            raise self.fail(f"Input should be greater than or equal to {low}")
        return value

    def number(self, low: float, high: float) -> float:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail("Input should be a valid number")
        if value < low:
            raise self.fail(f"Input should be greater than or equal to {low:g}")
        if value > high:
            raise self.fail(f"Input should be less than or equal to {high:g}")
        return float(value)

    def choice(self, *allowed: str) -> str:
        """One of ``allowed``; the list is in the error."""
        if not isinstance(self.value, str) or self.value not in allowed:
            *first, last = (f"'{word}'" for word in allowed)
            words = f"{', '.join(first)} or {last}" if first else last
            raise self.fail(f"Input should be {words}")
        return self.value

    def optional_text(self, key: str, default: str = "") -> str:
        node = self.find(key)
        return default if node is None else node.text()

    def optional_flag(self, key: str) -> bool:
        node = self.find(key)
        return False if node is None else node.flag()

    @property
    def marked(self) -> bool:
        """Whether this object carries a ``cache_control`` mark."""
        return isinstance(self.value, Mapping) and isinstance(
            self.value.get("cache_control"), Mapping
        )

    def unmarked(self) -> JsonObject:
        """This object without its ``cache_control``, which moves from turn to turn."""
        mapping = self.object()
        if "cache_control" not in mapping:
            return mapping
        return {key: value for key, value in mapping.items() if key != "cache_control"}
