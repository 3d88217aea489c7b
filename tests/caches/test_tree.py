"""The prefix tree against a plain list of token runs: what is stored must be what is found."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyclaude.caches.kv.tree import Lease, PrefixTree, common_prefix
from anyclaude.types import Tokens

TOKENS = st.lists(st.integers(0, 2), max_size=12).map(tuple)


class TokenCutter:
    """KV that is the token ids themselves, so that a wrong cache shows at once."""

    def cut(self, kv: Tokens, start: int, stop: int) -> Tokens:
        return kv[start:stop]

    def nbytes(self, kv: Tokens) -> int:
        return len(kv)


def held(lease: Lease[Tokens]) -> Tokens:
    return tuple(token for kv, take in lease.parts() for token in kv[:take])


@given(TOKENS, TOKENS, st.integers(0, 4))
def test_common_prefix_is_the_first_difference(run: Tokens, tokens: Tokens, start: int) -> None:
    expected = 0
    for a, b in zip(run, tokens[start:], strict=False):
        if a != b:
            break
        expected += 1
    assert common_prefix(run, tokens, start) == expected


class TreeMachine(RuleBasedStateMachine):
    """Inserts, leases, evictions and flushes in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.tree: PrefixTree[Tokens] = PrefixTree(TokenCutter(), sliceable=True)
        self.inserted: list[Tokens] = []
        self.leases: list[tuple[Lease[Tokens], Tokens]] = []
        self.complete = True

    @rule(tokens=TOKENS)
    def insert(self, tokens: Tokens) -> None:
        self.tree.insert(tokens, tokens)
        self.inserted.append(tokens)
        assert not self.complete or self.tree.match_length(tokens) == len(tokens)

    @rule(tokens=TOKENS)
    def lease(self, tokens: Tokens) -> None:
        lease = self.tree.lease(tokens)
        best = max((common_prefix(run, tokens) for run in self.inserted), default=0)
        assert lease.length == best if self.complete else lease.length <= best
        assert held(lease) == tokens[: lease.length]
        self.leases.append((lease, tokens[: lease.length]))

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 100))
    def release(self, index: int) -> None:
        lease, _ = self.leases.pop(index % len(self.leases))
        lease.release()

    @rule(budget=st.integers(0, 20))
    def evict(self, budget: int) -> None:
        self.tree.evict_to(budget)
        self.complete = False
        if not self.leases:
            assert self.tree.stats().nbytes <= budget

    @rule()
    def clear(self) -> None:
        self.tree.clear()
        self.complete = False
        if not self.leases:
            assert self.tree.stats().nbytes == 0

    @invariant()
    def leases_keep_what_they_promised(self) -> None:
        for lease, tokens in self.leases:
            assert held(lease) == tokens

    @invariant()
    def a_shared_prefix_is_held_once(self) -> None:
        runs = {run[:end] for run in self.inserted for end in range(1, len(run) + 1)}
        assert self.tree.stats().nbytes <= len(runs)


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_least_recently_used_leaf_goes_first() -> None:
    tree: PrefixTree[Tokens] = PrefixTree(TokenCutter(), sliceable=True)
    for run in ((1, 1), (2, 2), (3, 3)):
        tree.insert(run, run)
    tree.lease((1, 1)).release()
    tree.evict_to(4)
    assert [tree.match_length(run) for run in ((1, 1), (2, 2), (3, 3))] == [2, 0, 2]


def test_snapshots_match_only_at_their_end() -> None:
    tree: PrefixTree[Tokens] = PrefixTree(TokenCutter(), sliceable=False)
    tree.insert((1, 2, 3), (1, 2, 3))
    tree.insert((1, 2, 3, 4, 5), (1, 2, 3, 4, 5))
    assert tree.match_length((1, 2)) == 0
    assert tree.match_length((1, 2, 3, 4)) == 3
    lease = tree.lease((1, 2, 3, 4, 5, 6))
    assert (lease.length, lease.snapshot) == (5, (1, 2, 3, 4, 5))
    tree.insert((1, 2, 9), (1, 2, 9))
    assert tree.match_length((1, 2, 3, 4)) == 3
    tree.evict_to(0)
    assert tree.match_length((1, 2, 3, 4, 5)) == 5, "leased"
