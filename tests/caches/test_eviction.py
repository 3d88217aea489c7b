"""Who goes first when the tree is over its budget, and who stays whatever comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.caches.kv import eviction
from anyclaude.caches.kv.eviction import nodes_of
from anyclaude.caches.kv.node import Node
from anyclaude.types import Tokens
from tests.caches.token_tree import (
    STATE_BYTES,
    ends_of,
    heavy_tree,
    held,
    states_at,
    tree_of,
)

# ------------------------------------------------------------------------------------ order


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60),
    st.integers(0, 10),
)
def test_the_least_recently_used_runs_go_first(ops: list[tuple[int, bool]], kept: int) -> None:
    tree = tree_of()
    order: list[int] = []
    for run, look in ops:
        tokens = (run, run, run)
        if look:
            tree.lease(tokens).release()
        else:
            tree.insert(tokens, tokens)
        if not look or run in order:
            order = [*(r for r in order if r != run), run]
    tree.evict_to(3 * kept)
    survivors = order[len(order) - kept :] if kept < len(order) else order
    assert [r for r in order if tree.contains((r, r, r))] == survivors
    assert tree.stats().evictions == len(order) - len(survivors)


def test_a_parent_goes_after_its_last_child_and_not_before_newer_leaves() -> None:
    tree = tree_of()
    for tokens in ((1, 1, 2), (1, 1, 3), (4, 4)):
        tree.insert(tokens, tokens)
    assert tree.nbytes == 6
    tree.evict_to(4)
    assert [tree.match_length(t) for t in ((1, 1, 2), (1, 1, 3), (4, 4))] == [2, 2, 2]
    tree.evict_to(2)
    assert [tree.match_length(t) for t in ((1, 1, 2), (4, 4))] == [0, 2]


def test_a_looked_up_prefix_keeps_only_its_path() -> None:
    tree = tree_of()
    for tokens in ((1, 2, 3), (1, 2, 4)):
        tree.insert(tokens, tokens)
    lease = tree.lease((1, 2, 3))
    tree.evict_to(0)
    assert tree.contains((1, 2, 3)) and not tree.contains((1, 2, 4))
    lease.release()
    tree.evict_to(0)
    assert tree.nbytes == 0


def test_what_is_kept_is_what_no_eviction_frees() -> None:
    tree = tree_of()
    runs = ((0, 1, 1), (0, 2), (0, 3, 3, 3), (4, 4), (5, 5, 5), (6,))
    for tokens in runs:
        tree.insert(tokens, tokens)
    assert tree.kept_bytes() == 0
    tree.pin("old", runs[0])
    assert tree.kept_bytes() == 3, "the only pin is the newest"
    tree.pin("new", runs[1])
    assert tree.kept_bytes() == 2, "an older one goes if it must"
    tree.pin("old", runs[0], by_hand=True)
    tree.pin("new", runs[2], by_hand=True)
    lease, weak = tree.lease(runs[4]), tree.lease(runs[3], weak=True)
    kept = tree.kept_bytes()
    assert kept == 1 + 2 + 1 + 3 + 3
    tree.evict_to(0)
    assert tree.nbytes == kept
    lease.release()
    weak.release()
    assert tree.kept_bytes() == kept - 3


def test_a_new_pin_of_a_key_takes_the_place_of_the_last() -> None:
    tree = tree_of()
    for tokens in ((1, 1), (2, 2), (3, 3)):
        tree.insert(tokens, tokens)
    tree.pin("a", (1, 1))
    tree.pin("b", (3, 3))
    assert tree.pin("a", (2, 2)) == 2
    assert tree.kept_bytes() == 2, "of two pins the newest"
    tree.evict_to(4)
    assert [tree.match_length(t) for t in ((1, 1), (2, 2), (3, 3))] == [0, 2, 2]
    tree.unpin("b")
    tree.evict_to(3)
    assert [tree.match_length(t) for t in ((2, 2), (3, 3))] == [2, 0]


def test_pins_of_old_sessions_give_way_but_never_the_newest() -> None:
    tree = tree_of()
    for run in range(5):
        tree.insert((run, run), (run, run))
        tree.pin(str(run), (run, run))
    tree.pin("0", (0, 0))
    tree.insert((9, 9, 9), (9, 9, 9))
    tree.evict_to(7)
    assert tree.pinned() == ("3", "4", "0")
    assert not tree.contains((9, 9, 9)), "what nobody pinned goes first"
    tree.evict_to(0)
    assert (tree.pinned(), tree.nbytes) == (("0",), 2)
    assert tree.pin("0", (7,)) == 0
    assert tree.pinned() == ()


def test_thousands_of_nodes_go_in_a_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of(needs_state=True)
    for run in range(2000):
        tokens = (run % 50, run, run, run)
        tree.insert(tokens, tokens, states_at(tokens, 1, 2, 4))
    visited = 0

    def counted(root: Node[Tokens, Tokens]) -> Iterator[Node[Tokens, Tokens]]:
        nonlocal visited
        for node in nodes_of(root):
            visited += 1
            yield node

    monkeypatch.setattr(eviction, "nodes_of", counted)
    nodes = tree.stats().entries
    tree.evict_to(0)
    assert tree.nbytes == 0
    assert 0 < visited <= 4 * nodes


def test_a_match_counts_up_to_the_deepest_state() -> None:
    tree = tree_of(needs_state=True)
    run = (1, 2, 3, 4, 5)
    tree.insert(run, run, states_at(run, 2, 4))
    assert tree.nbytes == 4 + 2 * STATE_BYTES, "nothing can use what lies past the last state"
    assert [tree.match_length(run[:end]) for end in range(6)] == [0, 0, 2, 2, 4, 4]
    lease = tree.lease((1, 2, 3, 9))
    assert (lease.length, lease.state, held(lease)) == (2, (1, 2), (1, 2))
    assert tree.lease(run).states() == {2: (1, 2), 4: (1, 2, 3, 4)}


def test_a_state_in_the_middle_of_a_run_cuts_it() -> None:
    tree = tree_of(needs_state=True)
    run = (1, 2, 3, 4)
    tree.insert(run, run, states_at(run, 4))
    lease = tree.lease(run)
    tree.insert(run[:3], run[:3], states_at(run, 1, 3))
    assert [tree.match_length(run[:end]) for end in range(1, 5)] == [1, 1, 3, 4]
    assert held(lease) == run
    assert tree.nbytes == 4 + 3 * STATE_BYTES


@pytest.mark.parametrize(("needs_state", "end"), [(True, 0), (True, 4), (False, 2)])
def test_a_state_that_fits_nowhere_is_refused(needs_state: bool, end: int) -> None:
    with pytest.raises(ValueError, match="states at"):
        tree_of(needs_state=needs_state).insert((1, 2, 3), (1, 2, 3), {end: (1,)})


def test_thinning_forgets_first_what_saves_least_per_byte() -> None:
    tree = heavy_tree()
    run = tuple(range(100))
    tree.insert(run, run, states_at(run, 40, 42, 60, 65, 90, 100))
    left = [ends_of(tree, run)]
    for _ in range(4):
        assert tree.evict_to(tree.nbytes - 1) == 100
        left.append(ends_of(tree, run))
    assert left == [
        [40, 42, 60, 65, 90, 100],
        [40, 60, 65, 90, 100],
        [40, 60, 90, 100],
        [40, 90, 100],
        [90, 100],
    ]
    tree.evict_to(tree.nbytes - 1)
    assert ends_of(tree, run) == [90], "the end and the boundary before it go as leaves do"


def test_thinning_begins_with_what_was_used_long_ago() -> None:
    tree = heavy_tree()
    old, new = tuple(range(60)), tuple(range(100, 160))
    tree.insert(old, old, states_at(old, 30, 50, 60))
    tree.insert(new, new, states_at(new, 20, 50, 60))
    for _ in range(5):
        tree.lease(new).release()
    tree.evict_to(tree.nbytes - 1)
    assert (ends_of(tree, old), ends_of(tree, new)) == ([50, 60], [20, 50, 60])


def test_a_state_is_worth_more_once_the_one_above_it_is_gone() -> None:
    tree = heavy_tree()
    run = tuple(range(50))
    tree.insert(run, run, states_at(run, 10, 12, 14, 16, 40, 50))
    tree.evict_to(tree.nbytes - 200)
    assert ends_of(tree, run) == [10, 14, 40, 50]


def test_the_state_of_a_lease_is_not_thinned() -> None:
    tree = heavy_tree()
    run = tuple(range(40))
    tree.insert(run, run, states_at(run, 10, 11, 30, 40))
    lease = tree.lease(run[:11])
    tree.evict_to(0)
    assert lease.state == run[:11] and ends_of(tree, run) == [11]
    assert tree.nbytes == 111, "what no state can reach is gone too"


def test_what_a_person_pinned_stays_until_it_is_let_go() -> None:
    tree = tree_of()
    runs = [tuple(range(at, at + 100)) for at in range(0, 1000, 100)]
    for run in runs:
        tree.insert(run, run)
        tree.pin(f"auto {run[0]}", run)
    tree.pin("mine", runs[0], by_hand=True)
    tree.pin("mine", runs[0][:40], by_hand=True)
    tree.evict_to(0)
    assert tree.contains(runs[0]), "an older turn doesn't shorten the pin"
    assert tree.nbytes == 200, "that, and the newest pin of its own"
    assert tree.pinned() == ("mine", "auto 900")
    tree.unpin("mine", by_hand=True)
    tree.evict_to(0)
    assert tree.nbytes == 100
    tree.pin("mine", runs[9], by_hand=True)
    assert tree.kept_bytes() == 100, "what is pinned twice counts once"
    tree.clear()
    assert (tree.nbytes, tree.pinned()) == (0, ())
