"""The picture that a person sees of the prefix tree, in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from anyclaude.caches.kv.branches import (
    Branch,
    branches_of,
    join_chains,
    lay_files,
    lay_sessions,
)
from anyclaude.caches.kv.disk_format import TOKEN_BYTES, Run, unpack
from anyclaude.caches.kv.tree import PrefixTree
from anyclaude.control import PrefixNode
from anyclaude.types import Tokens

S = TypeVar("S")
T = TypeVar("T")

TEXT = 60
_TEXT_TOKENS = 32


def draw(
    tree: PrefixTree[S, T],
    files: Iterable[tuple[Run, float]],
    talks: Sequence[tuple[str, bytes]],
    decode: Callable[[Tokens], str],
    limit: int,
) -> tuple[tuple[PrefixNode, ...], int]:
    """At most ``limit`` edges, those used last and then the first and largest, and the number of
    the others.

    ``files`` are those of the disk tier with their last use, ``talks`` the sessions and their
    tokens, packed, the newest first. Takes milliseconds, and is for a thread that may.
    """
    root = branches_of(tree)
    lay_files(root, files)
    lay_sessions(root, talks)
    join_chains(root)
    _use_parents(root)
    ranked = sorted(root.below(), key=_rank)
    kept = set(ranked[:limit])
    return tuple(_nodes(root, kept, decode)), max(0, len(ranked) - limit)


def _use_parents(root: Branch) -> None:
    """Whoever uses a branch uses those above it, so that none is ranked before its parent."""
    for branch in reversed([*root.below()]):
        if branch.parent is not None:
            branch.parent.used_at = max(branch.parent.used_at, branch.used_at)


def _rank(branch: Branch) -> tuple[float, int, int, int]:
    return -branch.used_at, branch.start, -branch.nbytes, -branch.tokens


def _nodes(
    root: Branch, kept: set[Branch], decode: Callable[[Tokens], str]
) -> Iterable[PrefixNode]:
    """Each after its parent, the one used last first among its siblings."""
    count = 0
    stack: list[tuple[Branch, int | None]] = [(child, None) for child in _drawn(root, kept)]
    while stack:
        branch, parent = stack.pop()
        yield PrefixNode(
            count,
            parent,
            branch.start,
            branch.tokens,
            branch.nbytes,
            branch.on_disk,
            branch.pinned,
            branch.running,
            tuple(branch.sessions),
            branch.used_at,
            _text(branch, decode),
        )
        stack += [(child, count) for child in _drawn(branch, kept)]
        count += 1


def _drawn(branch: Branch, kept: set[Branch]) -> list[Branch]:
    """The children to draw, last first, as a stack wants them."""
    return sorted((c for c in branch.children.values() if c in kept), key=_rank, reverse=True)


def _text(branch: Branch, decode: Callable[[Tokens], str]) -> str:
    """How it begins, on one line; it may begin in the middle of a character."""
    text = decode(unpack(branch.data[: _TEXT_TOKENS * TOKEN_BYTES]))
    return " ".join(text.strip("\ufffd").split())[:TEXT]
