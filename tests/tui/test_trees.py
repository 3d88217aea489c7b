"""The prefix tree as lines: depth is a fork, marks say where, and columns stay in line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from anyclaude.control import PrefixNode, PrefixTreePicture
from tests.tui.fake_source import MODEL, NOON
from tests.tui.room_scenes import OTHER, SESSION, edge, picture
from tui import tree_lines, trees
from tui.lines import plain_text


def _drawn(*nodes: PrefixNode) -> list[str]:
    found = trees.branches(PrefixTreePicture(MODEL, nodes, 0))
    return [branch.guide + branch.node.text for branch in found]


def test_a_chain_is_flat() -> None:
    nodes = [edge(i, i - 1 if i else None, i, 1, str(i)) for i in range(4)]
    assert _drawn(*nodes) == ["0", "1", "2", "3"]


def test_a_fork_leads_deeper_and_its_chains_stay_there() -> None:
    assert _drawn(
        edge(0, None, 0, 10, "head"),
        edge(1, 0, 10, 5, "big"),
        edge(2, 0, 10, 1, "small"),
        edge(3, 1, 15, 1, "goes on"),
        edge(4, 3, 16, 2, "left"),
        edge(5, 3, 16, 1, "right"),
    ) == ["head", "├─big", "│ goes on", "│ ├─left", "│ └─right", "└─small"]


def test_several_beginnings_are_joined_at_the_side() -> None:
    nodes = [edge(i, None, 0, 10 - i, "abc"[i]) for i in range(3)]
    assert _drawn(*nodes) == ["┌─a", "├─b", "└─c"]


def test_an_edge_whose_parent_was_left_out_is_a_beginning() -> None:
    assert _drawn(edge(7, 3, 500, 10, "late"), edge(8, 7, 510, 1, "later")) == ["late", "later"]


def test_totals_are_of_all_below() -> None:
    found = trees.branches(picture())
    head = found[0]
    assert (head.edges, head.forks) == (8, 2)
    assert head.tokens == sum(b.node.tokens for b in found[:8])
    sums = trees.sums(picture())
    assert (sums.edges, sums.on_disk, sums.pinned, sums.running) == (10, 4, 4, 4)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=40), st.integers(20, 200))
def test_every_edge_is_drawn_once_below_its_parent(choices: list[int], width: int) -> None:
    nodes = [
        edge(i, (choice % (i + 1)) - 1 if choice % (i + 1) else None, i, 1 + choice % 9, "x 建")
        for i, choice in enumerate(choices)
    ]
    found = trees.branches(PrefixTreePicture(MODEL, tuple(nodes), 0))
    order = {branch.node.id: index for index, branch in enumerate(found)}
    assert sorted(order) == list(range(len(nodes)))
    for branch in found:
        assert branch.node.parent is None or order[branch.node.parent] < order[branch.node.id]
    around = tree_lines.frame(found, NOON, width)
    assert all(cell_len(tree_lines.row(branch, around).plain) == width for branch in found)
    assert cell_len(tree_lines.heading(width).plain) == width


def test_a_deep_guide_leaves_room_for_the_text() -> None:
    nodes = [edge(0, None, 0, 1, "root")]
    for depth in range(30):
        parent = nodes[-2].id if depth else 0
        nodes.append(edge(2 * depth + 1, parent, depth, 2, "deeper still"))
        nodes.append(edge(2 * depth + 2, parent, depth, 1, "aside"))
    found = trees.branches(PrefixTreePicture(MODEL, tuple(nodes), 0))
    around = tree_lines.frame(found, NOON, 40)
    rows = [tree_lines.row(branch, around).plain for branch in found]
    assert all(len(row) == 40 for row in rows)
    assert any("…" in row and "deeper" in row for row in rows)


@pytest.mark.parametrize("width", [36, 40, 57, 77, 117, 157])
def test_rows_say_where_by_mark_and_wide_ones_by_word(width: int) -> None:
    found = trees.branches(picture())
    around = tree_lines.frame(found, NOON, width)
    rows = {b.node.id: tree_lines.row(b, around).plain for b in found}
    assert "◉ " in rows[1] and "● " in rows[7] and "○ " in rows[10]
    words = [rows[1].split()[1:4], rows[7].split()[1:4]]
    if width >= 77:
        assert "both" in words[0] and "memory" in words[1]


def test_a_wide_row_has_it_all() -> None:
    found = trees.branches(picture())
    around = tree_lines.frame(found, NOON, 157)
    text = tree_lines.row(found[0], around).plain
    for part in (
        "13.2k",
        "both",
        "284 MB",
        "now",
        "1 run pin",
        "3 5f0c 91ab d033",
        "◉ system You are Cla",
    ):
        assert part in text
    assert "2m ago" in tree_lines.row(found[4], around).plain


def test_text_from_outside_is_plain() -> None:
    node = edge(1, None, 0, 5, "\x1b[31m[bold]red[/bold]\n\u202ereversed")
    found = trees.branches(PrefixTreePicture(MODEL, (node,), 0))
    for entry in (
        tree_lines.row(found[0], tree_lines.frame(found, NOON, 90)),
        *tree_lines.facts(found[0], NOON),
    ):
        assert "\x1b" not in entry.plain and "\u202e" not in entry.plain
        assert "\n" not in entry.plain
    assert "[bold]red[/bold]" in tree_lines.row(found[0], tree_lines.frame(found, NOON, 90)).plain


def test_the_facts_of_an_edge() -> None:
    found = trees.branches(picture())
    text = plain_text(tree_lines.facts(found[0], NOON))
    assert "13,240  0 to 13,240" in text
    assert "284 MB in memory, and on disk" in text
    assert "1 request is on it now, pinned: never evicted" in text
    assert f"3 share it: {SESSION}, {OTHER}" in text
    assert "parts 2 ways here; 7 more edges" in text
    assert f"now  at {time.strftime('%H:%M:%S', time.localtime(NOON))}" in text
    old = plain_text(tree_lines.facts(found[-1], NOON))
    assert "on disk only" in old or "812" in old


def test_the_cursor_finds_its_edge_again() -> None:
    found = trees.branches(picture())
    key = found[5].key
    assert trees.find(found, key, 0) == 5
    # Split by a new prompt: its beginning is what became of it.
    start, text, tokens = key
    assert trees.find(found, (start, text, tokens + 900), 0) == 5
    assert trees.find(found, (99, "gone", 1), 3) == 3
    assert trees.find(found[:2], (99, "gone", 1), 9) == 1
    assert trees.find(found, None, 4) == 0


@pytest.mark.parametrize(
    ("age", "text"),
    [(-3, "now"), (0.4, "now"), (12, "12s ago"), (150, "2m ago"), (7300, "2h ago")],
)
def test_how_long_ago(age: float, text: str) -> None:
    assert tree_lines.ago(age) == text
