"""The prefix tree: which token runs have KV in memory, and whose turn it is to go.

A radix tree over tokens. Each node owns the KV of its own run of tokens and nothing of its
parents', so a prefix that many conversations share is held once. Models with layers that can't
be cut by position (rotating, recurrent) hold the state of those layers at node ends besides, and
match only there.

KV (``S``) and states (``T``) are opaque here: the owner passes in a ``Cutter``. One thread, the
owner, inserts, grafts and evicts; any thread may look up, lease and pin. Cutting happens outside
the lock, so a lookup never waits for the accelerator.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from anyclaude.caches.kv.eviction import (
    drop_leaves,
    drop_stateless,
    kept_bytes,
    thin_states,
    weak_leases,
)
from anyclaude.caches.kv.node import Cutter, Lease, Node, TreeStats, common_prefix
from anyclaude.caches.kv.pins import Pins
from anyclaude.types import Tokens

__all__ = ["Cutter", "Lease", "PrefixTree", "TreeStats", "common_prefix"]

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

STATE_SHARE = 0.5
"""States over this share of the budget are thinned before any leaf goes."""


class PrefixTree(Generic[S, T]):
    """KV by token prefix, exact to the token where every layer can be cut.

    With ``needs_state`` a match counts only up to the deepest state at or below it, and nothing
    is kept past the last state of a run.
    """

    def __init__(
        self,
        cutter: Cutter[S, T],
        *,
        needs_state: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.lock = threading.Lock()
        self.needs_state = needs_state
        self._cutter = cutter
        self._wall = wall
        self._root: Node[S, T] = Node((), None, 0)
        self._pins: Pins[S, T] = Pins()
        self._clock = itertools.count(1)
        self._now = 0
        self._entries = self._tokens = self._states = 0
        self._nbytes = self._state_nbytes = 0
        self._evictions = 0
        self._on_loan: list[Node[S, T]] = []

    # ------------------------------------------------------------------- lookups, any thread

    def lease(self, tokens: Tokens, *, weak: bool = False) -> Lease[S, T]:
        """The longest usable prefix of ``tokens``, held until released; never touches KV.

        A ``weak`` one lasts only until :meth:`evict_to` can't do without its bytes.
        """
        with self.lock:
            return self._lease(tokens, weak=weak)

    def match_length(self, tokens: Tokens) -> int:
        """Tokens that a lease would reuse, without taking one."""
        with self.lock:
            return self._usable(tokens)[1]

    def contains(self, tokens: Tokens) -> bool:
        """Whether a lease would reuse all of ``tokens``."""
        return self.match_length(tokens) == len(tokens)

    def pin(self, key: str, tokens: Tokens, *, by_hand: bool = False) -> int:
        """Keeps the usable prefix of ``tokens`` from eviction; how many tokens that are.

        It takes the place of what ``key`` pinned before, unless that goes on from there: a
        prompt that was given up half way is no reason to let go of the rest. A pin lasts until
        :meth:`unpin` or :meth:`clear`; an older one that isn't ``by_hand`` also until
        :meth:`evict_to` can't do without its bytes.
        """
        with self.lock:
            return self._pins.put(key, self._lease(tokens), by_hand=by_hand)

    def unpin(self, key: str, *, by_hand: bool = False) -> None:
        """Lets what ``key`` pinned be evicted; nothing happens if there is none."""
        with self.lock:
            self._pins.drop(key, by_hand=by_hand)

    def pinned(self) -> tuple[str, ...]:
        """The keys that pin something, the one pinned last at the end; those by hand first."""
        with self.lock:
            return tuple(dict.fromkeys(key for key, _ in self._pins))

    def survey(self, look: Callable[[Node[S, T], Pins[S, T]], R]) -> R:
        """What ``look`` makes of the root and the pins; the tree stands still meanwhile, so it
        must be quick, and change nothing."""
        with self.lock:
            return look(self._root, self._pins)

    @property
    def nbytes(self) -> int:
        """Bytes held now, leased and pinned ones included."""
        with self.lock:
            return self._nbytes

    def stats(self) -> TreeStats:
        with self.lock:
            return TreeStats(
                self._entries,
                self._tokens,
                self._nbytes,
                self._evictions,
                self._states,
                self._state_nbytes,
            )

    def kept_bytes(self) -> int:
        """Bytes that :meth:`evict_to` never frees; looks at every node."""
        with self.lock:
            return kept_bytes(self._root, self._pins.passing())

    def _lease(self, tokens: Tokens, *, weak: bool = False) -> Lease[S, T]:
        nodes, length = self._usable(tokens)
        lease = Lease(self.lock, nodes, length, nodes[-1].state if nodes else None, weak=weak)
        self._touch(nodes)
        for node in nodes:
            node.leases.add(lease)
        return lease

    def _touch(self, nodes: list[Node[S, T]]) -> None:
        self._now, now = next(self._clock), self._wall()
        for node in nodes:
            node.used, node.used_at = self._now, now

    def _usable(self, tokens: Tokens) -> tuple[list[Node[S, T]], int]:
        path, length = self._walk(tokens)
        if not self.needs_state:
            return path, length
        while path and (path[-1].state is None or path[-1].end > length):
            path.pop()
        return path, path[-1].end if path else 0

    def _walk(self, tokens: Tokens) -> tuple[list[Node[S, T]], int]:
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

    # ------------------------------------------------------------------- owner thread: growth

    def insert(self, tokens: Tokens, kv: S, states: Mapping[int, T] | None = None) -> int:
        """Stores the KV of ``tokens`` (positions 0 to ``len(tokens)`` of ``kv``).

        Only what the tree doesn't hold yet is cut out and kept. ``states`` are by position,
        1 to ``len(tokens)``; the tree keeps them as they are, one per position. Returns the
        bytes added. Raises ``ValueError`` on a state elsewhere or in a tree that needs none.
        """
        states = states or {}
        if states and (not self.needs_state or not 0 < min(states) <= max(states) <= len(tokens)):
            raise ValueError(f"states at {sorted(states)} don't fit a run of {len(tokens)} tokens")
        if self.needs_state:
            tokens = tokens[: max(states, default=0)]
        if not tokens:
            return 0
        before = self._nbytes
        path, held = self._walk(tokens)
        for end in sorted(states):
            if end <= held:
                self._cut_at(path, end)
        if held < len(tokens):
            self._end_at(path, held)
        for end in sorted({*states, len(tokens)}):
            if end > held:
                at = path[-1].end if path else 0
                self._grow(path, tokens[at:end], self._cutter.cut(kv, at, end))
        with self.lock:
            for node in path:
                node.from_disk = False
                if node.end in states:
                    self._put_state(node, states[node.end])
            self._touch(path)
        return self._nbytes - before

    def graft(
        self,
        tokens: Tokens,
        start: int,
        kv: S,
        state: T | None = None,
        *,
        on_loan: bool = False,
    ) -> int:
        """Adds KV that comes from disk: ``kv`` covers ``tokens[start:]``, ``state`` their end.

        ``kv`` is kept as it is if nothing of it is here yet; unless it is ``on_loan``, until
        :meth:`settle`, it must own its storage. Returns the bytes added: 0 when
        ``tokens[:start]`` isn't held (any more).
        """
        if not 0 <= start < len(tokens):
            raise ValueError(f"a run from {start} to {len(tokens)} holds nothing")
        before = self._nbytes
        path, held = self._walk(tokens)
        if held < start:
            return 0
        if held < len(tokens):
            self._end_at(path, held)
            whole = held == start
            own = kv if whole else self._cutter.cut(kv, held - start, len(tokens) - start)
            child = self._grow(path, tokens[held:], own)
            child.from_disk = True
            if on_loan and whole:
                child.on_loan = True
                self._on_loan.append(child)
        elif state is not None:
            self._end_at(path, held)
        with self.lock:
            if state is not None and self.needs_state:
                self._put_state(path[-1], state)
            self._touch(path)
        return self._nbytes - before

    @property
    def on_loan(self) -> int:
        """Runs whose storage isn't the tree's own."""
        return len(self._on_loan)

    def settle(self) -> bool:
        """Gives the oldest run on loan storage of its own; ``False`` when there is none."""
        if not self._on_loan:
            return False
        node = self._on_loan[0]
        assert node.kv is not None
        own = self._cutter.cut(node.kv, 0, len(node.tokens))
        nbytes = self._cutter.nbytes(own)
        with self.lock:
            self._repaid(node)
            self._count(node, -1)
            node.kv, node.kv_nbytes = own, nbytes
            self._count(node, 1)
        return True

    def _repaid(self, node: Node[S, T]) -> None:
        if node.on_loan:
            node.on_loan = False
            self._on_loan.remove(node)

    def _cut_at(self, path: list[Node[S, T]], end: int) -> None:
        """Makes ``end`` the end of a node of ``path``, which goes at least that far."""
        for index, node in enumerate(path):
            if node.start < end < node.end:
                path.insert(index, self._split(node, end - node.start))
                return

    def _end_at(self, path: list[Node[S, T]], end: int) -> None:
        """Cuts ``path`` at ``end`` and forgets what lies past it."""
        self._cut_at(path, end)
        while path and path[-1].end > end:
            path.pop()

    def _grow(self, path: list[Node[S, T]], tokens: Tokens, kv: S) -> Node[S, T]:
        parent = path[-1] if path else self._root
        child: Node[S, T] = Node(tokens, parent, parent.end + len(tokens))
        child.kv, child.kv_nbytes = kv, self._cutter.nbytes(kv)
        path.append(child)
        with self.lock:
            parent.children[tokens[0]] = child
            self._count(child, 1)
        return child

    def _put_state(self, node: Node[S, T], state: T) -> None:
        if node.state is None:
            self._count(node, -1)
            node.state, node.state_nbytes = state, self._cutter.state_nbytes(state)
            self._count(node, 1)

    def _split(self, node: Node[S, T], at: int) -> Node[S, T]:
        """Makes the first ``at`` tokens of ``node`` a parent of the rest, and returns it."""
        assert node.kv is not None and node.parent is not None
        parent = node.parent
        head: Node[S, T] = Node(node.tokens[:at], parent, node.start + at)
        head.kv = self._cutter.cut(node.kv, 0, at)
        head.kv_nbytes = self._cutter.nbytes(head.kv)
        rest = self._cutter.cut(node.kv, at, len(node.tokens))
        rest_nbytes = self._cutter.nbytes(rest)
        head.used, head.used_at, head.from_disk = node.used, node.used_at, node.from_disk
        with self.lock:
            self._repaid(node)
            self._count(node, -1)
            node.kv, node.kv_nbytes = rest, rest_nbytes
            node.tokens = node.tokens[at:]
            self._count(node, 1)
            self._count(head, 1)
            node.parent = head
            parent.children[head.tokens[0]] = head
            head.children[node.tokens[0]] = node
            head.leases = set(node.leases)
            for lease in head.leases:
                lease.nodes.insert(lease.nodes.index(node), head)
                if lease.length <= head.end:  # It never meant the rest, which may go now.
                    lease.nodes.remove(node)
                    node.leases.discard(lease)
        return head

    # ---------------------------------------------------------------- owner thread: shrinking

    def evict_to(self, budget: int) -> int:
        """Thins states and drops leaves until ``budget`` bytes are left; bytes freed.

        If that isn't enough, weak leases end, and then pins are let go, oldest first. What is
        leased otherwise, pinned by hand, and the newest pin stay, so the result may be above the
        budget.
        """
        before = self._nbytes
        if before <= budget:
            return 0
        with self.lock:
            self._shrink_to(budget)
            if self._nbytes > budget:
                for lease in weak_leases(self._root):
                    lease.drop()
                self._shrink_to(budget)
            while self._nbytes > budget and self._pins.drop_oldest():
                self._shrink_to(budget)
            return before - self._nbytes

    def _shrink_to(self, budget: int) -> None:
        if self.needs_state:
            drop_stateless(self._root, self._drop)
            share = int(budget * STATE_SHARE)
            thin_states(
                self._root,
                self._now,
                self._forget_state,
                lambda: self._nbytes <= budget or self._state_nbytes <= share,
            )
        drop_leaves(self._root, self._evict, lambda: self._nbytes <= budget)
        if self.needs_state:
            drop_stateless(self._root, self._drop)

    def clear(self) -> TreeStats:
        """Drops all pins and everything that isn't leased; says what went."""
        before = self.stats()
        with self.lock:
            self._pins.clear()
            drop_leaves(self._root, self._drop, lambda: False)
        after = self.stats()
        return TreeStats(
            before.entries - after.entries,
            before.tokens - after.tokens,
            before.nbytes - after.nbytes,
            0,
            before.states - after.states,
            before.state_bytes - after.state_bytes,
        )

    def _forget_state(self, node: Node[S, T]) -> None:
        self._count(node, -1)
        node.state, node.state_nbytes = None, 0
        self._count(node, 1)

    def _evict(self, node: Node[S, T]) -> None:
        self._drop(node)
        self._evictions += 1

    def _drop(self, node: Node[S, T]) -> None:
        assert node.parent is not None
        del node.parent.children[node.tokens[0]]
        self._repaid(node)
        self._count(node, -1)

    def _count(self, node: Node[S, T], sign: int) -> None:
        """Adds a node to the figures, or takes it out; around every change of one."""
        self._entries += sign * (node.nbytes > 0)
        self._tokens += sign * len(node.tokens)
        self._nbytes += sign * node.nbytes
        self._states += sign * (node.state is not None)
        self._state_nbytes += sign * node.state_nbytes
