"""A copy of the prefix tree for looking at: its edges, and those that only the disk has.

No KV is touched. The tree is read in one go under its lock; the files of the disk tier, which
know a prefix by its hash alone, are then laid along it in one pass over the tokens.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from anyclaude.caches.kv.disk_format import TOKEN_BYTES, Kind, Run, new_prefix_hash, pack
from anyclaude.caches.kv.disk_index import shared_tokens
from anyclaude.caches.kv.node import Lease, Node
from anyclaude.caches.kv.pins import Pins
from anyclaude.caches.kv.tree import PrefixTree
from anyclaude.types import Tokens

S = TypeVar("S")
T = TypeVar("T")

SHORTEST_FILE = 64
"""Tokens that aren't worth a file: an edge that lacks fewer of them counts as on disk."""


@dataclass(slots=True, eq=False)
class Branch:
    """One edge: ``data`` are its tokens, packed. ``covered`` are the spans of it, in tokens from
    its beginning, that files have; ``sessions`` those that lie on it, the newest first."""

    data: bytes
    start: int
    in_memory: bool = False
    nbytes: int = 0
    pinned: bool = False
    running: int = 0
    used_at: float = 0.0
    sessions: list[str] = field(default_factory=list)
    covered: list[tuple[int, int]] = field(default_factory=list)
    parent: Branch | None = None
    children: dict[bytes, Branch] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return len(self.data) // TOKEN_BYTES

    @property
    def end(self) -> int:
        return self.start + self.tokens

    @property
    def on_disk(self) -> bool:
        """Whether the disk has it but for a few tokens."""
        reach = held = 0
        for start, stop in sorted(self.covered):
            held += max(0, stop - max(start, reach))
            reach = max(reach, stop)
        return bool(held) and self.tokens - held < SHORTEST_FILE

    def add(self, child: Branch) -> Branch:
        child.parent = self
        self.children[child.data[:TOKEN_BYTES]] = child
        return child

    def cover(self, start: int, stop: int, used_at: float) -> None:
        if start < stop:
            self.covered.append((start, stop))
            self.used_at = max(self.used_at, used_at)

    def split(self, at: int) -> None:
        """Leaves the first ``at`` tokens here and gives the rest to a new child."""
        share = self.nbytes * at // self.tokens
        rest = Branch(
            self.data[at * TOKEN_BYTES :],
            self.start + at,
            self.in_memory,
            self.nbytes - share,
            self.pinned,
            self.running,
            self.used_at,
            list(self.sessions),
            [(max(0, a - at), b - at) for a, b in self.covered if b > at],
        )
        for child in self.children.values():
            rest.add(child)
        self.covered = [(a, min(b, at)) for a, b in self.covered if a < at]
        self.data, self.nbytes, self.children = self.data[: at * TOKEN_BYTES], share, {}
        self.add(rest)

    def below(self) -> Iterator[Branch]:
        """All that goes on from here, parents before children."""
        stack = list(self.children.values())
        while stack:
            branch = stack.pop()
            yield branch
            stack.extend(branch.children.values())


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is read of a node while the tree stands still; ``tokens`` is the node's own tuple."""

    parent: int
    tokens: Tokens
    nbytes: int
    running: int
    pins: tuple[str, ...]
    used_at: float


def branches_of(tree: PrefixTree[S, T]) -> Branch:
    """The tree's nodes as they are now, below an empty root."""
    made = [Branch(b"", 0)]
    for seen in tree.survey(_look):
        parent = made[seen.parent]
        branch = Branch(
            pack(seen.tokens),
            parent.end,
            True,
            seen.nbytes,
            bool(seen.pins),
            seen.running,
            seen.used_at,
            list(seen.pins),
        )
        made.append(parent.add(branch))
    return made[0]


def _look(root: Node[S, T], pins: Pins[S, T]) -> list[_Seen]:
    pinning: dict[Lease[S, T], str] = {lease: key for key, lease in pins}
    seen: list[_Seen] = []
    stack = [(child, 0) for child in root.children.values()]
    while stack:
        node, parent = stack.pop()
        held = [lease for lease in node.leases if lease not in pinning]
        keys = dict.fromkeys(pinning[lease] for lease in node.leases if lease in pinning)
        running = sum(not lease.weak for lease in held)
        found = _Seen(parent, node.tokens, node.nbytes, running, tuple(keys), node.used_at)
        seen.append(found)
        stack += [(child, len(seen)) for child in node.children.values()]
    return seen


# ------------------------------------------------------------------------------ what files have


def lay_files(root: Branch, files: Iterable[tuple[Run, float]]) -> None:
    """Marks what files have of the branches, and adds what only they have.

    ``files`` come with the Unix time of their last use. A snapshot of a state counts as all that
    is before it, where there is no other KV.
    """
    given = list(files)
    only_states = all(run.kind is Kind.STATE for run, _ in given)
    by_start: dict[int, list[tuple[Run, float]]] = {}
    for run, used in given:
        if run.kind is Kind.KV or only_states:
            by_start.setdefault(run.start, []).append((run, used))
    positions = sorted(by_start)
    stack = [(root, new_prefix_hash())]
    while stack:
        branch, hasher = stack.pop()
        at = branch.start
        index = bisect.bisect_right(positions, at) if branch is not root else 0
        # Files may cut the branch short on the way.
        while index < len(positions) and positions[index] <= branch.end:
            position = positions[index]
            hasher.update(_part(branch, at, position))
            at, digest = position, hasher.copy().digest()
            for run, used in by_start[position]:
                if run.prefix == digest:
                    _lay(branch, position - branch.start, run, used)
            index += 1
        hasher.update(_part(branch, at, branch.end))
        stack += [(child, hasher.copy()) for child in branch.children.values()]


def _part(branch: Branch, start: int, stop: int) -> bytes:
    at = branch.start
    return branch.data[(start - at) * TOKEN_BYTES : (stop - at) * TOKEN_BYTES]


def _lay(branch: Branch, offset: int, run: Run, used_at: float) -> None:
    """Lays a file along the branches from ``offset`` of this one on."""
    if run.kind is Kind.STATE:
        above: Branch | None = branch
        while above is not None:
            above.cover(0, offset if above is branch else above.tokens, used_at)
            above = above.parent
        return
    data = run.tokens
    while True:
        count = shared_tokens(data, branch.data, offset)
        branch.cover(offset, offset + count, used_at)
        data, offset = data[count * TOKEN_BYTES :], offset + count
        if not data:
            return
        if offset < branch.tokens:
            branch.split(offset)
        child = branch.children.get(data[:TOKEN_BYTES])
        if child is None:
            child = branch.add(Branch(data, branch.end))
        branch, offset = child, 0


# ------------------------------------------------------------------------------ who lies on them


def lay_sessions(root: Branch, talks: Sequence[tuple[str, bytes]]) -> None:
    """Writes the sessions on the branches; ``talks`` are their tokens, packed, the newest first.

    A session lies on a branch that it goes all the way along, or on which it ends.
    """
    walked: dict[Branch, list[str]] = {}
    for session, data in talks:
        branch, at = root.children.get(data[:TOKEN_BYTES]), 0
        while branch is not None:
            part = data[at : at + len(branch.data)]
            if not part or not branch.data.startswith(part):
                break
            walked.setdefault(branch, []).append(session)
            at += len(part)
            branch = branch.children.get(data[at : at + TOKEN_BYTES])
    for branch in root.below():
        found = dict.fromkeys((*walked.get(branch, ()), *branch.sessions))
        branch.sessions = [session for session in found if session]


def join_chains(root: Branch) -> None:
    """Makes one edge of those that follow each other with nothing to tell them apart."""
    for branch in [*root.below()]:
        while len(branch.children) == 1:
            (child,) = branch.children.values()
            if _about(branch) != _about(child):
                break
            at = branch.tokens
            branch.covered += [(a + at, b + at) for a, b in child.covered]
            branch.data += child.data
            branch.nbytes += child.nbytes
            branch.used_at = max(branch.used_at, child.used_at)
            branch.children = {}
            for grandchild in child.children.values():
                branch.add(grandchild)
            child.children = {}


def _about(branch: Branch) -> tuple[object, ...]:
    return (
        branch.in_memory,
        branch.on_disk,
        branch.pinned,
        branch.running,
        tuple(branch.sessions),
    )
