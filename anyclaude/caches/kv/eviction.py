"""Which KV goes first: least recently used leaves, and states that save little for their bytes.

Both take one pass over the tree and a heap, so that thousands of nodes cost milliseconds. The
caller holds the tree's lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Set
from typing import TypeVar

from anyclaude.caches.kv.node import Lease, Node

S = TypeVar("S")
T = TypeVar("T")


def nodes_of(root: Node[S, T]) -> Iterator[Node[S, T]]:
    """All nodes but the root, parents before children."""
    stack = list(root.children.values())
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children.values())


def weak_leases(root: Node[S, T]) -> set[Lease[S, T]]:
    """Those that nobody waits for."""
    return {lease for node in nodes_of(root) for lease in node.leases if lease.weak}


def kept_bytes(root: Node[S, T], passing: Set[Lease[S, T]]) -> int:
    """Bytes under leases that are neither weak nor among the ``passing`` ones."""
    return sum(
        node.nbytes
        for node in nodes_of(root)
        if any(not lease.weak and lease not in passing for lease in node.leases)
    )


def drop_leaves(
    root: Node[S, T], drop: Callable[[Node[S, T]], None], enough: Callable[[], bool]
) -> None:
    """Drops the leaves that nobody leases, least recently used first, until ``enough``."""
    order = 0
    heap: list[tuple[int, int, Node[S, T]]] = []
    for node in nodes_of(root):
        if not node.children and not node.leases:
            heap.append((node.used, order, node))
            order += 1
    heapq.heapify(heap)
    while heap and not enough():
        node = heapq.heappop(heap)[2]
        parent = node.parent
        drop(node)
        if parent is not None and parent is not root and not (parent.children or parent.leases):
            heapq.heappush(heap, (parent.used, order, parent))
            order += 1


def drop_stateless(root: Node[S, T], drop: Callable[[Node[S, T]], None]) -> None:
    """Drops what no match can reach in a tree of states: runs with no state at or below."""
    for node in reversed(list(nodes_of(root))):
        if node.state is None and not node.children and not node.leases:
            drop(node)


def thin_states(
    root: Node[S, T],
    now: int,
    forget: Callable[[Node[S, T]], None],
    enough: Callable[[], bool],
) -> None:
    """Forgets states until ``enough``, those first that save the least per byte.

    What a state saves are the tokens since the one above it, the less the longer ago it was
    used. The last two states of each path stay: the end of a conversation, and the boundary
    before it, where the next request starts when the answer comes back changed. So does the
    state that a lease ends at.
    """
    above: dict[Node[S, T], Node[S, T]] = {}
    below: dict[Node[S, T], list[Node[S, T]]] = {}
    near: dict[Node[S, T], Node[S, T]] = {}
    for node in nodes_of(root):
        assert node.parent is not None
        last = near.get(node.parent, root)
        near[node] = node if node.state is not None else last
        if node.state is not None:
            above[node] = last
            below.setdefault(last, []).append(node)
    ends = {node for node in above if node not in below}
    kept = ends | {above[node] for node in ends}
    kept |= {node for node in above if any(lease.nodes[-1] is node for lease in node.leases)}

    def worth(node: Node[S, T]) -> float:
        age = now - node.used + 1
        return (node.end - above[node].end) / (max(node.state_nbytes, 1) * age)

    heap = [(worth(node), node.end, id(node), node) for node in above if node not in kept]
    heapq.heapify(heap)
    while heap and not enough():
        score, _, _, node = heapq.heappop(heap)
        if node.state is None or score != worth(node):
            continue  # Forgotten, or worth more since its neighbour went: it is in again.
        upper = above[node]
        forget(node)
        below[upper].remove(node)
        for lower in below.pop(node, []):
            above[lower] = upper
            below[upper].append(lower)
            if lower not in kept:
                heapq.heappush(heap, (worth(lower), lower.end, id(lower), lower))
