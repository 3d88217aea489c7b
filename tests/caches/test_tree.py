"""The prefix tree against plain sets of prefixes: what is stored must be what is found."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyclaude.caches.kv.tree import PrefixTree, common_prefix
from anyclaude.types import Tokens
from tests.caches.token_tree import (
    STATE_BYTES,
    TokenCutter,
    TokenLease,
    TokenTree,
    held,
    prefixes,
    states_at,
    tree_of,
)

TOKENS = st.lists(st.integers(0, 2), max_size=12).map(tuple)
RUNS = st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple)


@given(TOKENS, TOKENS, st.integers(0, 4))
def test_common_prefix_is_the_first_difference(run: Tokens, tokens: Tokens, start: int) -> None:
    expected = 0
    for a, b in zip(run, tokens[start:], strict=False):
        if a != b:
            break
        expected += 1
    assert common_prefix(run, tokens, start) == expected


class TreeMachine(RuleBasedStateMachine):
    """Every operation of the tree in any order, and the prefixes that it must hold after it."""

    needs_state = False

    def __init__(self) -> None:
        super().__init__()
        self.tree = tree_of(needs_state=self.needs_state)
        self.kv: set[Tokens] = set()
        self.states: set[Tokens] = set()
        self.loaded: set[Tokens] = set()
        self.leases: list[tuple[TokenLease, Tokens]] = []
        self.pins: dict[str, Tokens] = {}

    def usable(self, tokens: Tokens) -> int:
        found = self.kv & self.states if self.needs_state else self.kv
        return max((len(p) for p in prefixes(tokens) & found), default=0)

    def safe(self) -> list[Tokens]:
        return [*(tokens for _, tokens in self.leases), *self.pins.values()]

    def shrunk(self) -> None:
        """Learns what an eviction left, by asking for it; the invariants check the answer."""
        if self.needs_state:
            self.states = {p for p in self.states if self.tree.contains(p)}
            self.kv &= {p for state in self.states for p in prefixes(state)}
        else:
            self.kv = {p for p in self.kv if self.tree.contains(p)}
        self.loaded &= self.kv

    # ------------------------------------------------------------------------------- growth

    @rule(tokens=TOKENS, marks=st.sets(st.integers(1, 12), max_size=4))
    def insert(self, tokens: Tokens, marks: set[int]) -> None:
        ends = sorted(end for end in marks if end <= len(tokens)) if self.needs_state else []
        before = self.tree.nbytes
        added = self.tree.insert(tokens, tokens, states_at(tokens, *ends))
        self.kv |= prefixes(tokens[: max(ends, default=0)] if self.needs_state else tokens)
        self.states |= {tokens[:end] for end in ends}
        assert self.tree.nbytes == before + added

    @rule(tokens=RUNS, start=st.integers(0, 11), state=st.booleans(), on_loan=st.booleans())
    def graft(self, tokens: Tokens, start: int, state: bool, on_loan: bool) -> None:
        start %= len(tokens)
        known = not start or tokens[:start] in self.kv
        before = self.tree.nbytes
        known_loans = self.tree.on_loan
        whole = tokens if state else None
        added = self.tree.graft(tokens, start, tokens[start:], whole, on_loan=on_loan)
        assert self.tree.on_loan <= known_loans + on_loan
        assert self.tree.nbytes == before + added
        assert known or not added
        if known:
            self.loaded |= prefixes(tokens) - self.kv
            self.kv |= prefixes(tokens)
            if state and self.needs_state:
                self.states.add(tokens)

    @rule()
    def settle(self) -> None:
        loans = self.tree.on_loan
        assert self.tree.settle() == bool(loans)
        assert self.tree.on_loan == max(0, loans - 1)

    # ------------------------------------------------------------------------------ lookups

    @rule(tokens=TOKENS)
    def lease(self, tokens: Tokens) -> None:
        expected = tokens[: self.usable(tokens)]
        assert self.tree.match_length(tokens) == len(expected)
        assert self.tree.contains(tokens) == (expected == tokens)
        lease = self.tree.lease(tokens)
        assert lease.length == len(expected)
        assert lease.from_disk <= len(prefixes(expected) & self.loaded)
        if self.needs_state:
            assert lease.states() == {len(p): p for p in prefixes(expected) & self.states}
        self.leases.append((lease, expected))

    @precondition(lambda self: self.leases)
    @rule(index=st.integers(0, 100))
    def release(self, index: int) -> None:
        lease, _ = self.leases.pop(index % len(self.leases))
        lease.release()
        lease.release()
        assert held(lease) == ()

    @rule(key=st.sampled_from("abc"), tokens=TOKENS)
    def pin(self, key: str, tokens: Tokens) -> None:
        self.pins.pop(key, None)
        if found := tokens[: self.usable(tokens)]:
            self.pins[key] = found
        assert self.tree.pin(key, tokens) == len(found)

    @rule(key=st.sampled_from("abc"))
    def unpin(self, key: str) -> None:
        self.tree.unpin(key)
        self.pins.pop(key, None)

    # ---------------------------------------------------------------------------- shrinking

    @rule(budget=st.integers(0, 40))
    def evict(self, budget: int) -> None:
        before, stays = self.tree.nbytes, self.tree.kept_bytes()
        freed = self.tree.evict_to(budget)
        assert self.tree.nbytes == before - freed
        if before <= budget:
            assert not freed
            return
        if not self.needs_state and budget <= stays:
            assert self.tree.nbytes == stays
        kept = self.tree.pinned()
        assert kept == tuple(self.pins)[len(self.pins) - len(kept) :]
        assert kept or not self.pins
        self.pins = {key: self.pins[key] for key in kept}
        self.shrunk()
        if not any(self.safe()):
            assert self.tree.nbytes <= budget

    @rule()
    def clear(self) -> None:
        before = self.tree.stats()
        gone = self.tree.clear()
        self.pins.clear()
        self.shrunk()
        after = self.tree.stats()
        assert self.tree.pinned() == ()
        assert gone.nbytes == before.nbytes - after.nbytes
        assert gone.entries == before.entries - after.entries
        if not any(self.safe()):
            assert after.nbytes == after.tokens == after.entries == self.tree.on_loan == 0

    # --------------------------------------------------------------------------- invariants

    @invariant()
    def leases_keep_what_they_promised(self) -> None:
        for lease, tokens in self.leases:
            assert held(lease) == tokens
            assert lease.state == (tokens or None if self.needs_state else None)

    @invariant()
    def pins_are_known(self) -> None:
        assert self.tree.pinned() == tuple(self.pins)

    @invariant()
    def what_is_safe_is_still_there(self) -> None:
        for tokens in self.safe():
            assert self.tree.contains(tokens)

    @invariant()
    def each_prefix_is_held_once_and_counted(self) -> None:
        stats = self.tree.stats()
        assert stats.tokens == len(self.kv)
        assert stats.states == len(self.states)
        assert stats.state_bytes == STATE_BYTES * stats.states
        assert stats.nbytes == self.tree.nbytes == stats.tokens + stats.state_bytes
        least = {p for tokens in self.pins.values() for p in prefixes(tokens)}
        assert len(least) <= stats.nbytes
        assert self.tree.kept_bytes() <= stats.nbytes


class StateMachine(TreeMachine):
    """The same with states, at which alone a match counts."""

    needs_state = True


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTreeOfStates = StateMachine.TestCase
TestTreeOfStates.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# -------------------------------------------------------------------------------- from disk


def test_loaded_tokens_count_as_from_disk_until_a_request_that_used_them_ended() -> None:
    tree = tree_of()
    run = (1, 2, 3, 4, 5, 6)
    tree.insert(run[:2], run[:2])
    loaded = run[2:5]
    assert tree.graft(run[:5], 2, loaded) == 3
    assert tree.lease(run).from_disk == 3
    assert tree.lease(run[:4]).from_disk == 2
    assert tree.lease(run[:4]).parts()[1][0] is loaded, "kept as it came"
    tree.insert(run, run)
    assert tree.lease(run).from_disk == 0


def test_what_is_on_loan_becomes_the_tree_s_own_when_it_is_settled_split_or_gone() -> None:
    class Counting(TokenCutter):
        cuts = 0

        def cut(self, kv: Tokens, start: int, stop: int) -> Tokens:
            self.cuts += 1
            return super().cut(kv, start, stop)

    cutter = Counting()
    tree: TokenTree = PrefixTree(cutter)
    one, other = (1, 2, 3, 4), (5, 6, 7, 8)
    for run in (one, other):
        tree.graft(run, 0, run, on_loan=True)
    assert (tree.on_loan, cutter.cuts) == (2, 0)
    assert tree.settle()
    assert (tree.on_loan, cutter.cuts) == (1, 1)
    tree.insert((5, 6, 9), (5, 6, 9))
    assert tree.on_loan == 0
    assert not tree.settle()
    assert held(tree.lease(one)) == one
    assert held(tree.lease(other)) == other
    tree.graft((1, 2, 3, 4, 9), 4, (9,), on_loan=True)
    tree.clear()
    assert tree.on_loan == 0


def test_a_load_that_came_too_late_adds_nothing_or_only_what_is_new() -> None:
    tree = tree_of()
    run = (1, 2, 3, 4, 5, 6)
    assert tree.graft(run, 3, run[3:]) == 0
    tree.insert(run[:4], run[:4])
    assert tree.graft(run, 3, run[3:]) == 2
    assert tree.graft(run, 3, run[3:]) == 0
    assert held(tree.lease(run)) == run
    with pytest.raises(ValueError, match="holds nothing"):
        tree.graft(run, 6, ())


def test_runs_loaded_without_a_state_count_once_the_state_comes() -> None:
    tree = tree_of(needs_state=True)
    run = (1, 2, 3, 4)
    tree.graft(run[:2], 0, run[:2])
    assert tree.match_length(run) == 0
    tree.graft(run, 2, run[2:], run)
    lease = tree.lease(run)
    assert (lease.length, lease.state, lease.from_disk) == (4, run, 4)


# ---------------------------------------------------------------------------------- threads


def test_other_threads_look_up_while_the_owner_works() -> None:
    tree = tree_of(needs_state=True)
    done = threading.Event()
    wrong: list[str] = []

    def look(seed: int) -> None:
        while not done.is_set():
            tokens = tuple((seed + i) % 3 for i in range(12))
            lease = tree.lease(tokens)
            if held(lease) != tokens[: lease.length] or (lease.state or ()) != held(lease):
                wrong.append(f"{tokens}: {held(lease)} {lease.state}")
            tree.pin(str(seed), tokens)
            lease.release()
            tree.stats()
            seed += 1

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        for step in range(1500):
            tokens = tuple((step + i * (1 + step % 2)) % 3 for i in range(4 + step % 9))
            tree.insert(tokens, tokens, states_at(tokens, 1 + step % 4, len(tokens)))
            tree.evict_to(60)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    tree.clear()
    assert tree.stats().nbytes == 0
