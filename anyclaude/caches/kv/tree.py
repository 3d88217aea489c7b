"""The prefix tree: which token runs have KV in memory, and whose turn it is to go.

A radix tree over tokens. Each node owns the KV of its own run of tokens and nothing of its
parents', so a prefix that many conversations share is held once. Models whose cache can't be
cut by position (rotating, recurrent) hold whole snapshots at node ends instead, and match only
there.

The KV itself is opaque here (``S``): it is cut by the ``Cutter`` that the owner passes in. One
thread, the owner, inserts, cuts and evicts; any thread may :meth:`PrefixTree.lease`. Cutting
happens outside the lock, so a lookup never waits for the accelerator.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from anyclaude.types import Tokens

S = TypeVar("S")


class Cutter(Protocol[S]):
    """How KV is cut and weighed; all of it on the owner's thread."""

    def cut(self, kv: S, start: int, stop: int) -> S:
        """Positions ``start`` to ``stop`` as storage of their own, no view of ``kv``."""
        ...

    def nbytes(self, kv: S) -> int:
        """Bytes that the storage of ``kv`` really holds."""
        ...


class Node(Generic[S]):
    """A run of tokens and its KV; ``snapshot`` is a whole state valid at the run's end."""

    __slots__ = ("children", "kv", "leases", "nbytes", "parent", "snapshot", "tokens", "used")

    def __init__(self, tokens: Tokens, parent: Node[S] | None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: dict[int, Node[S]] = {}
        self.kv: S | None = None
        self.snapshot: S | None = None
        self.nbytes = 0
        self.used = 0
        self.leases: set[Lease[S]] = set()


class Lease(Generic[S]):
    """A match that can't be evicted until it is released. ``length`` tokens are reused."""

    __slots__ = ("_tree", "length", "nodes", "snapshot")

    def __init__(self, tree: PrefixTree[S], length: int, nodes: list[Node[S]]) -> None:
        self._tree = tree
        self.length = length
        self.nodes = nodes
        self.snapshot: S | None = None

    def parts(self) -> list[tuple[S, int]]:
        """The KV of the match, root first: (storage, positions of it to use)."""
        with self._tree.lock:
            left, parts = self.length, []
            for node in self.nodes:
                take = min(left, len(node.tokens))
                if take and node.kv is not None:
                    parts.append((node.kv, take))
                left -= take
            return parts

    def release(self) -> None:
        """Lets the nodes be evicted again. Idempotent."""
        with self._tree.lock:
            for node in self.nodes:
                node.leases.discard(self)
            self.nodes = []
            self.snapshot = None


@dataclass(frozen=True, slots=True)
class TreeStats:
    """What the tree holds now and evicted so far."""

    entries: int
    tokens: int
    nbytes: int
    evictions: int


class PrefixTree(Generic[S]):
    """KV by token prefix, exact to the token where the cache can be cut.

    ``sliceable`` says whether ``S`` can be cut by position; if not, :meth:`insert` keeps the
    whole state at the end of its tokens and :meth:`lease` matches only such ends.
    """

    def __init__(self, cutter: Cutter[S], *, sliceable: bool) -> None:
        self.lock = threading.Lock()
        self.sliceable = sliceable
        self._cutter = cutter
        self._root: Node[S] = Node((), None)
        self._clock = itertools.count(1)
        self._nbytes = 0
        self._evictions = 0

    # ------------------------------------------------------------------------------ lookups

    def lease(self, tokens: Tokens) -> Lease[S]:
        """The longest usable prefix of ``tokens``, pinned. Any thread; never touches KV."""
        with self.lock:
            nodes, length = self._walk(tokens)
            snapshot: S | None = None
            if not self.sliceable:
                nodes, length, snapshot = self._deepest_snapshot(nodes, tokens, length)
            now = next(self._clock)
            lease = Lease(self, length, nodes)
            lease.snapshot = snapshot
            for node in nodes:
                node.used = now
                node.leases.add(lease)
            return lease

    def match_length(self, tokens: Tokens) -> int:
        """Tokens that a lease would reuse, without taking one."""
        with self.lock:
            nodes, length = self._walk(tokens)
            if not self.sliceable:
                length = self._deepest_snapshot(nodes, tokens, length)[1]
            return length

    def stats(self) -> TreeStats:
        with self.lock:
            nodes = [n for n in self._nodes() if n.nbytes]
            return TreeStats(
                len(nodes), sum(len(n.tokens) for n in nodes), self._nbytes, self._evictions
            )

    def _walk(self, tokens: Tokens) -> tuple[list[Node[S]], int]:
        node, position, path = self._root, 0, []
        while position < len(tokens):
            child = node.children.get(tokens[position])
            if child is None:
                break
            shared = common_prefix(child.tokens, tokens, position)
            path.append(child)
            position += shared
            if shared < len(child.tokens):
                break
            node = child
        return path, position

    def _deepest_snapshot(
        self, nodes: list[Node[S]], tokens: Tokens, length: int
    ) -> tuple[list[Node[S]], int, S | None]:
        end = 0
        best: tuple[list[Node[S]], int, S | None] = ([], 0, None)
        for index, node in enumerate(nodes):
            end += len(node.tokens)
            if end <= length and node.snapshot is not None:
                best = (nodes[: index + 1], end, node.snapshot)
        return best

    # ------------------------------------------------------------------- owner thread: growth

    def insert(self, tokens: Tokens, kv: S) -> int:
        """Stores the KV of ``tokens`` (positions 0 to ``len(tokens)`` of ``kv``).

        Only what the tree doesn't hold yet is cut out and kept. Returns the bytes added.
        Owner thread only.
        """
        if not tokens:
            return 0
        path, length = self._walk(tokens)
        if path:
            into = length - sum(len(n.tokens) for n in path[:-1])
            if into < len(path[-1].tokens):
                self._split(path[-1], into)
                path[-1] = self._parent_of(path[-1])
        before = self._nbytes
        tail = self._grow(path[-1] if path else self._root, tokens, length, kv)
        if not self.sliceable:
            self._keep_snapshot(tail, kv)
        now = next(self._clock)
        with self.lock:
            for node in [*path, tail]:
                node.used = now
        return self._nbytes - before

    def _parent_of(self, node: Node[S]) -> Node[S]:
        assert node.parent is not None
        return node.parent

    def _grow(self, node: Node[S], tokens: Tokens, length: int, kv: S) -> Node[S]:
        if length == len(tokens):
            return node
        child: Node[S] = Node(tokens[length:], node)
        if self.sliceable:
            child.kv = self._cutter.cut(kv, length, len(tokens))
            child.nbytes = self._cutter.nbytes(child.kv)
        with self.lock:
            node.children[child.tokens[0]] = child
            self._nbytes += child.nbytes
        return child

    def _keep_snapshot(self, node: Node[S], kv: S) -> None:
        if node is self._root or node.snapshot is not None:
            return
        with self.lock:
            node.snapshot = kv
            node.nbytes = self._cutter.nbytes(kv)
            self._nbytes += node.nbytes

    def _split(self, node: Node[S], at: int) -> None:
        """Makes the first ``at`` tokens of ``node`` a parent of the rest."""
        head: Node[S] = Node(node.tokens[:at], node.parent)
        tail_kv = node.kv
        if node.kv is not None:
            head.kv = self._cutter.cut(node.kv, 0, at)
            tail_kv = self._cutter.cut(node.kv, at, len(node.tokens))
            head.nbytes = self._cutter.nbytes(head.kv)
        with self.lock:
            parent = self._parent_of(node)
            parent.children[head.tokens[0]] = head
            node.parent = head
            node.tokens = node.tokens[at:]
            if node.kv is not None and tail_kv is not None:
                self._nbytes -= node.nbytes
                node.kv, node.nbytes = tail_kv, self._cutter.nbytes(tail_kv)
                self._nbytes += node.nbytes + head.nbytes
            head.children[node.tokens[0]] = node
            head.used = node.used
            for lease in node.leases:
                head.leases.add(lease)
                lease.nodes.insert(lease.nodes.index(node), head)

    # ----------------------------------------------------------------- owner thread: shrinking

    def evict_to(self, budget: int) -> int:
        """Drops least recently used leaves until ``budget`` bytes are left; bytes freed.

        Leased nodes and their ancestors stay, so the result may be above the budget.
        """
        freed = 0
        while self._nbytes > budget:
            with self.lock:
                victim = min(
                    (n for n in self._nodes() if not n.children and not n.leases),
                    key=lambda n: n.used,
                    default=None,
                )
                if victim is None:
                    break
                freed += self._drop(victim)
                self._evictions += 1
        return freed

    def clear(self) -> TreeStats:
        """Drops everything that isn't leased; says what went."""
        before = self.stats()
        with self.lock:
            for node in reversed(list(self._nodes())):
                if not node.children and not node.leases:
                    self._drop(node)
        after = self.stats()
        return TreeStats(
            before.entries - after.entries,
            before.tokens - after.tokens,
            before.nbytes - after.nbytes,
            0,
        )

    def _drop(self, node: Node[S]) -> int:
        parent = self._parent_of(node)
        del parent.children[node.tokens[0]]
        self._nbytes -= node.nbytes
        return node.nbytes

    def _nodes(self) -> Iterator[Node[S]]:
        """All nodes but the root, parents before children."""
        stack = list(self._root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())


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
