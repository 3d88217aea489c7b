"""Prefix trees over token ids: what they hold can be read off, and weighs what it is long."""

from __future__ import annotations

from anyclaude.caches.kv.tree import Lease, PrefixTree
from anyclaude.types import Tokens

STATE_BYTES = 3

TokenTree = PrefixTree[Tokens, Tokens]
TokenLease = Lease[Tokens, Tokens]


class TokenCutter:
    """KV that is the token ids themselves, so that a wrong cache shows at once.

    A state is all tokens up to its position, and weighs :data:`STATE_BYTES`.
    """

    def cut(self, kv: Tokens, start: int, stop: int) -> Tokens:
        assert 0 <= start < stop <= len(kv)
        return kv[start:stop]

    def nbytes(self, kv: Tokens) -> int:
        return len(kv)

    def state_nbytes(self, state: Tokens) -> int:
        return STATE_BYTES


def tree_of(*, needs_state: bool = False) -> TokenTree:
    return PrefixTree(TokenCutter(), needs_state=needs_state)


def prefixes(tokens: Tokens) -> set[Tokens]:
    return {tokens[:end] for end in range(1, len(tokens) + 1)}


def states_at(tokens: Tokens, *ends: int) -> dict[int, Tokens]:
    return {end: tokens[:end] for end in ends}


def held(lease: TokenLease) -> Tokens:
    return tuple(token for kv, take in lease.parts() for token in kv[:take])


def heavy_tree() -> TokenTree:
    """States of 100 bytes each, so that they are always over their share."""

    class Heavy(TokenCutter):
        def state_nbytes(self, state: Tokens) -> int:
            return 100

    return PrefixTree(Heavy(), needs_state=True)


def ends_of(tree: TokenTree, run: Tokens) -> list[int]:
    return [end for end in range(1, len(run) + 1) if tree.contains(run[:end])]
