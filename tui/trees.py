"""The prefix tree as it is drawn: in which order, how deep, and what goes on from each edge.

An edge that alone goes on from another stands below it, at the same depth; only a fork, where
prompts part, leads deeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from anyclaude.control import PrefixNode, PrefixTreePicture

Place: TypeAlias = Literal["memory", "disk", "both"]
Key: TypeAlias = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Branch:
    """An edge as it is drawn: ``guide`` leads to its mark; totals count all that go on from it."""

    node: PrefixNode
    guide: str
    edges: int
    tokens: int
    bytes: int
    forks: int

    @property
    def key(self) -> Key:
        """What tells it from others in the next picture too, whose ids are new ones."""
        return (self.node.start, self.node.text, self.node.tokens)


@dataclass(frozen=True, slots=True)
class Sums:
    """A picture in figures."""

    edges: int = 0
    tokens: int = 0
    bytes: int = 0
    on_disk: int = 0
    pinned: int = 0
    running: int = 0


def branches(picture: PrefixTreePicture) -> tuple[Branch, ...]:
    """The edges in the order they are drawn; where prompts part, what holds most comes first."""
    known = {node.id for node in picture.nodes}
    below: dict[int | None, list[PrefixNode]] = {}
    for node in picture.nodes:
        parent = node.parent if node.parent in known else None
        below.setdefault(parent, []).append(node)
    totals = _totals(picture.nodes, below)
    for nodes in below.values():
        nodes.sort(key=lambda n: (-totals[n.id][1], n.text, n.id))
    roots = below.get(None, [])
    found: list[Branch] = []
    # Pairs of an edge and the guides of its line and of the lines below it.
    open_: list[tuple[PrefixNode, str, str]] = _forked(roots, "", top=True)
    while open_:
        node, guide, lead = open_.pop()
        children = below.get(node.id, [])
        found.append(Branch(node, guide, *totals[node.id], len(children)))
        open_ += _forked(children, lead)
    return tuple(found)


def _forked(
    nodes: Sequence[PrefixNode], lead: str, *, top: bool = False
) -> list[tuple[PrefixNode, str, str]]:
    """The edges that go on from one, last first, since they are taken from the end."""
    if len(nodes) == 1:
        return [(nodes[0], lead, lead)]
    found: list[tuple[PrefixNode, str, str]] = []
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        corner = "└─" if last else "┌─" if top and not index else "├─"
        found.append((node, lead + corner, lead + ("  " if last else "│ ")))
    return found[::-1]


def _totals(
    nodes: Sequence[PrefixNode], below: dict[int | None, list[PrefixNode]]
) -> dict[int, tuple[int, int, int]]:
    """Edges, tokens and bytes of each edge and all that go on from it."""
    totals: dict[int, tuple[int, int, int]] = {}
    # Each edge comes after its parent, so from the end on all children are known.
    for node in reversed(nodes):
        parts = [totals[child.id] for child in below.get(node.id, ())]
        totals[node.id] = (
            1 + sum(part[0] for part in parts),
            node.tokens + sum(part[1] for part in parts),
            node.bytes + sum(part[2] for part in parts),
        )
    return totals


def sums(picture: PrefixTreePicture) -> Sums:
    nodes = picture.nodes
    return Sums(
        len(nodes),
        sum(n.tokens for n in nodes),
        sum(n.bytes for n in nodes),
        sum(n.on_disk for n in nodes),
        sum(n.pinned for n in nodes),
        sum(n.running > 0 for n in nodes),
    )


def pinned_sessions(nodes: Sequence[PrefixNode]) -> set[str]:
    """The sessions all of whose edges are pinned: one that others share may be so for them."""
    loose = {session for node in nodes if not node.pinned for session in node.sessions}
    return {session for node in nodes for session in node.sessions} - loose


def place(node: PrefixNode) -> Place:
    if not node.on_disk:
        return "memory"
    return "both" if node.bytes else "disk"


def find(found: Sequence[Branch], key: Key | None, near: int) -> int:
    """The line of an edge in a new picture: itself, else what became of it, else one nearby."""
    if key is None or not found:
        return 0
    start, text, _ = key
    alike = [i for i, b in enumerate(found) if b.node.start == start and b.node.text == text]
    same = [i for i in alike if found[i].key == key]
    choice = same or alike
    if choice:
        return min(choice, key=lambda index: abs(index - near))
    return max(0, min(len(found) - 1, near))
