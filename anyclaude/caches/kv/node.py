"""What the prefix tree is made of: runs of tokens, leases on them, and how their KV is cut."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from anyclaude.types import Tokens

S = TypeVar("S")
T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class TreeStats:
    """What the tree holds now and evicted so far; bytes include states and pinned runs."""

    entries: int
    tokens: int
    nbytes: int
    evictions: int
    states: int = 0
    state_bytes: int = 0


class Cutter(Protocol[S, T_contra]):
    """How KV is cut and weighed; all of it on the owner's thread."""

    def cut(self, kv: S, start: int, stop: int) -> S:
        """Positions ``start`` to ``stop`` as storage of their own, no view of ``kv``."""
        ...

    def nbytes(self, kv: S) -> int:
        """Bytes that the storage of ``kv`` really holds."""
        ...

    def state_nbytes(self, state: T_contra) -> int:
        """Bytes that the storage of ``state`` really holds."""
        ...


class Node(Generic[S, T]):
    """A run of tokens that ends at position ``end``, its KV, and perhaps the state there.

    ``used`` is the tree's clock at the last use, ``used_at`` the Unix time; ``from_disk`` says
    that the KV was loaded and that no request which reused it has ended yet; ``on_loan`` that its
    storage is another's.
    """

    __slots__ = (
        "children",
        "end",
        "from_disk",
        "kv",
        "kv_nbytes",
        "leases",
        "on_loan",
        "parent",
        "state",
        "state_nbytes",
        "tokens",
        "used",
        "used_at",
    )

    def __init__(self, tokens: Tokens, parent: Node[S, T] | None, end: int) -> None:
        self.tokens = tokens
        self.parent = parent
        self.end = end
        self.children: dict[int, Node[S, T]] = {}
        self.kv: S | None = None
        self.kv_nbytes = 0
        self.state: T | None = None
        self.state_nbytes = 0
        self.used = 0
        self.used_at = 0.0
        self.from_disk = False
        self.on_loan = False
        self.leases: set[Lease[S, T]] = set()

    @property
    def start(self) -> int:
        return self.end - len(self.tokens)

    @property
    def nbytes(self) -> int:
        return self.kv_nbytes + self.state_nbytes


class Lease(Generic[S, T]):
    """A match that can't be evicted until it is released. ``length`` tokens are reused.

    ``state`` is the state at ``length`` where the model needs one. ``from_disk`` of the tokens
    came from disk and were in no finished request since. A ``weak`` lease is one that nobody
    waits for: it may be released by an eviction that needs its bytes.
    """

    __slots__ = ("_lock", "from_disk", "length", "nodes", "state", "weak")

    def __init__(
        self,
        lock: threading.Lock,
        nodes: list[Node[S, T]],
        length: int,
        state: T | None,
        *,
        weak: bool = False,
    ) -> None:
        self._lock = lock
        self.nodes = nodes
        self.length = length
        self.state = state
        self.weak = weak
        self.from_disk = sum(min(n.end, length) - n.start for n in nodes if n.from_disk)

    @property
    def released(self) -> bool:
        """Whether it holds nothing (any more); on the owner's thread that stays so for a step."""
        return not self.nodes

    def starts(self, other: Lease[S, T]) -> bool:
        """Whether all of this match is the beginning of the other's; under the lock."""
        same = self.nodes == other.nodes[: len(self.nodes)]
        return bool(self.nodes) and same and self.length <= other.length

    def parts(self) -> list[tuple[S, int]]:
        """The KV of the match, root first: (storage, positions of it to use)."""
        with self._lock:
            return [
                (node.kv, min(node.end, self.length) - node.start)
                for node in self.nodes
                if node.kv is not None and node.start < self.length
            ]

    def states(self) -> dict[int, T]:
        """The states held along the match by their position, ``length`` itself included."""
        with self._lock:
            return {
                node.end: node.state
                for node in self.nodes
                if node.state is not None and node.end <= self.length
            }

    def release(self) -> None:
        """Lets the nodes be evicted again. Idempotent; any thread."""
        with self._lock:
            self.drop()

    def drop(self) -> None:
        """:meth:`release` for whoever holds the lock already."""
        for node in self.nodes:
            node.leases.discard(self)
        self.nodes = []
        self.state = None


def common_prefix(run: Tokens, tokens: Tokens, start: int = 0) -> int:
    """How many tokens of ``run`` stand in ``tokens`` from ``start`` on."""
    limit = max(0, min(len(run), len(tokens) - start))
    if run[:limit] == tokens[start : start + limit]:
        return limit
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if run[low:middle] == tokens[start + low : start + middle]:
            low = middle
        else:
            high = middle - 1
    return low
