"""The picture of the prefix tree: every token once, what the disk has of it, and who lies on it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from anyclaude.caches.kv.branches import (
    Branch,
    branches_of,
    join_chains,
    lay_files,
    lay_sessions,
)
from anyclaude.caches.kv.disk_format import pack, unpack
from anyclaude.caches.kv.picture import draw
from anyclaude.caches.kv.tree import PrefixTree
from anyclaude.control import PrefixNode
from anyclaude.types import Tokens
from tests.caches.disk_kit import Kit, MakeKit, tokens_of
from tests.caches.token_tree import TokenCutter, TokenTree, prefixes, states_at, tree_of

HEAD = tokens_of("head", each=200)
ONE = HEAD + tokens_of("one", each=150)
TWO = HEAD + tokens_of("two", each=90)
NOW = 5_000.0


def text_of(tokens: Tokens) -> str:
    return f"\ufffd {tokens[0]}\n\t{len(tokens)}" + "x" * 80


def picture(
    tree: TokenTree,
    kit: Kit | None = None,
    talks: Sequence[tuple[str, Tokens]] = (),
    limit: int = 400,
) -> tuple[PrefixNode, ...]:
    files = kit.tier.runs() if kit is not None else []
    packed = [(name, pack(tokens)) for name, tokens in talks]
    nodes, left_out = draw(tree, files, packed, text_of, limit)
    assert left_out == 0
    return nodes


def shape(nodes: Sequence[PrefixNode]) -> list[tuple[int | None, int, int]]:
    return [(n.parent, n.start, n.tokens) for n in nodes]


def clocked() -> tuple[TokenTree, list[float]]:
    now = [NOW]
    return PrefixTree(TokenCutter(), wall=lambda: now[0]), now


def test_a_shared_head_is_one_edge_and_the_newest_comes_first() -> None:
    tree, now = clocked()
    tree.insert(ONE, ONE)
    now[0] = NOW + 10
    tree.insert(TWO, TWO)
    head, two, one = picture(tree)
    assert shape((head, two, one)) == [(None, 0, 200), (0, 200, 90), (0, 200, 150)]
    assert [n.bytes for n in (head, two, one)] == [200, 90, 150]
    assert [n.used_at for n in (head, two, one)] == [NOW + 10, NOW + 10, NOW]
    assert [n.id for n in (head, two, one)] == [0, 1, 2]
    assert head.text == f"{HEAD[0]} 32{'x' * 80}"[:60], "on one line, and no longer than that"
    assert not any(n.on_disk or n.pinned or n.running or n.sessions for n in (head, two, one))


def test_an_empty_tree_is_an_empty_picture() -> None:
    assert picture(tree_of()) == ()


def test_turns_of_one_conversation_are_one_edge() -> None:
    tree = tree_of()
    for end in range(20, len(ONE) + 1, 10):
        tree.insert(ONE[:end], ONE[:end])
    assert tree.stats().entries > 10
    (only,) = picture(tree)
    assert (only.start, only.tokens, only.bytes) == (0, len(ONE), len(ONE))


def test_who_runs_and_what_is_pinned_is_told_where_it_ends() -> None:
    tree = tree_of()
    tree.insert(ONE, ONE)
    tree.insert(TWO, TWO)
    tree.pin("mine", ONE, by_hand=True)
    tree.pin("main", TWO)
    lease, again = tree.lease(TWO), tree.lease(HEAD)
    weak = tree.lease(ONE, weak=True)
    by_length = {n.tokens: n for n in picture(tree)}
    head, one, two = by_length[200], by_length[150], by_length[90]
    assert (head.running, one.running, two.running) == (2, 0, 1)
    assert (head.pinned, one.pinned, two.pinned) == (True, True, True)
    assert (set(head.sessions), one.sessions, two.sessions) == (
        {"mine", "main"},
        ("mine",),
        ("main",),
    )
    for held in (lease, again, weak):
        held.release()
    tree.unpin("mine", by_hand=True)
    tree.unpin("main")
    assert not any(n.running or n.pinned or n.sessions for n in picture(tree))


def test_sessions_lie_on_what_they_go_along_or_end_in() -> None:
    tree = tree_of()
    tree.insert(ONE, ONE)
    tree.insert(TWO, TWO)
    talks = [
        ("new", (*TWO, 1, 2, 3)),  # went on, and that part is gone
        ("short", ONE[:230]),
        ("", ONE),  # of no session
        ("odd", (*ONE[:210], 999)),  # parted in the middle of an edge
        ("new", HEAD),  # a subagent of the same session
        ("other", (7, 7, 7)),
    ]
    by_length = {n.tokens: n for n in picture(tree, talks=talks)}
    assert by_length[200].sessions == ("new", "short", "odd")
    assert by_length[90].sessions == ("new",)
    assert by_length[150].sessions == ("short",)


def test_what_is_only_on_disk_is_there_without_bytes(kit: Kit) -> None:
    kit.save(ONE, head=200)
    kit.now += 60
    kit.save(TWO, head=200)
    tree, _ = clocked()
    head, two, one = picture(tree, kit)
    assert shape((head, two, one)) == [(None, 0, 200), (0, 200, 90), (0, 200, 150)]
    assert all(n.on_disk and n.bytes == 0 for n in (head, two, one))
    assert one.used_at < two.used_at == head.used_at == kit.now


def test_memory_and_disk_are_laid_over_each_other(kit: Kit) -> None:
    kit.save(ONE)
    longer = TWO + tokens_of("more", each=500)
    kit.save(longer)
    tree, _ = clocked()
    tree.insert(ONE, ONE)
    tree.insert(TWO[:250], TWO[:250])  # the rest of it was evicted
    nodes = picture(tree, kit)
    assert sum(n.tokens for n in nodes) == len(prefixes(ONE) | prefixes(longer))
    assert sum(n.bytes for n in nodes) == tree.nbytes
    by_start = {(n.start, n.tokens): n for n in nodes}
    assert set(by_start) == {(0, 200), (200, 150), (200, 50), (250, 540)}
    assert all(n.on_disk for n in nodes)
    assert by_start[250, 540].bytes == 0 < by_start[200, 50].bytes


def test_an_edge_is_on_disk_when_the_disk_lacks_less_than_a_file(kit: Kit) -> None:
    kit.save(ONE)
    tree, _ = clocked()
    tree.insert(ONE + (1,) * 63, ONE + (1,) * 63)
    assert [n.on_disk for n in picture(tree, kit)] == [True]
    tree.insert(ONE + (1,) * 64, ONE + (1,) * 64)
    assert [n.on_disk for n in picture(tree, kit)] == [True, False]
    fresh = tokens_of("fresh", each=30)
    tree.insert(fresh, fresh)
    assert [n.on_disk for n in picture(tree, kit) if n.start == 0 and n.tokens == 30] == [False]


def test_files_of_another_model_are_not_shown(make_kit: MakeKit) -> None:
    kit = make_kit()
    kit.save(ONE)
    kit.open("another")
    tree, _ = clocked()
    assert picture(tree, kit) == ()


def test_where_only_states_are_written_they_stand_for_what_is_before(make_kit: MakeKit) -> None:
    kit = make_kit(kv=False, states=True)
    kit.save(ONE, head=200, states={200: 10, 300: 10})
    tree = tree_of(needs_state=True)
    tree.insert(ONE, ONE, states_at(ONE, 200, 300, len(ONE)))
    nodes = picture(tree, kit)
    assert [(n.start, n.tokens, n.on_disk) for n in nodes] == [(0, 300, True), (300, 50, False)]


def test_the_limit_leaves_out_what_was_used_longest_ago(kit: Kit) -> None:
    tree, now = clocked()
    for number in range(10):
        now[0] = NOW + number
        run = HEAD + tokens_of(number, each=10 + number)
        tree.insert(run, run)
    nodes, left_out = draw(tree, [], [], text_of, 4)
    assert left_out == 7
    assert [n.tokens for n in nodes] == [200, 19, 18, 17]
    assert [n.parent for n in nodes] == [None, 0, 0, 0]
    everything, none = draw(tree, [], [], text_of, 11)
    assert (len(everything), none) == (11, 0)


def test_a_parent_is_never_left_out_for_its_child(kit: Kit) -> None:
    kit.save(ONE, head=200)
    tree, _ = clocked()
    nodes, left_out = draw(tree, kit.tier.runs(), [], text_of, 1)
    assert [(n.parent, n.start) for n in nodes] == [(None, 0)]
    assert left_out == 0, "what only the disk has and nothing tells apart is one edge"


@pytest.mark.parametrize("seed", range(30))
def test_any_tree_and_any_files_make_each_prefix_once(seed: int, make_kit: MakeKit) -> None:
    pick = random.Random(seed)
    kit = make_kit()
    tree, now = clocked()

    def talk() -> Tokens:
        parts = [("part", pick.randrange(2), i) for i in range(pick.randrange(1, 5))]
        return tokens_of(*parts, each=70 + 10 * seed)[: pick.randrange(80, 700)]

    written, inserted, files = [talk() for _ in range(4)], [talk() for _ in range(6)], set()
    for tokens in written:
        for run in kit.save(tokens):
            files |= prefixes(tokens[: run.stop]) - prefixes(tokens[: run.start])
    for tokens in inserted:
        now[0] += pick.random()
        tree.insert(tokens, tokens)
    tree.evict_to(pick.randrange(200, 2000))
    root = branches_of(tree)
    in_memory = {prefix for prefix in _prefixes(root)}
    assert len(in_memory) == tree.stats().tokens
    lay_files(root, kit.tier.runs())
    reachable = _reachable(in_memory, files)
    assert _prefixes(root) == in_memory | reachable
    lay_sessions(root, [("s", pack(written[0])), ("t", pack(inserted[0]))])
    before = _prefixes(root)
    join_chains(root)
    assert _prefixes(root) == before
    assert sum(b.nbytes for b in root.below()) == tree.nbytes
    for branch in root.below():
        assert branch.tokens > 0
        assert branch.parent is not None and branch.parent.end == branch.start
        assert branch.in_memory or branch.nbytes == 0


def _prefixes(root: Branch) -> set[Tokens]:
    """All prefixes that the branches spell; fails if one is there twice."""
    found: list[Tokens] = []
    stack: list[tuple[Branch, Tokens]] = [(root, ())]
    while stack:
        branch, before = stack.pop()
        tokens = unpack(branch.data)
        found += [before + tokens[: i + 1] for i in range(len(tokens))]
        stack += [(c, before + tokens) for c in branch.children.values()]
    assert len(set(found)) == len(found)
    return set(found)


def _reachable(in_memory: set[Tokens], files: set[Tokens]) -> set[Tokens]:
    """What files have that can be got at: all before it is in memory or in files too."""
    known = in_memory | {()}
    for prefix in sorted(files, key=len):
        if prefix[:-1] in known:
            known.add(prefix)
    return known - {()} - in_memory
