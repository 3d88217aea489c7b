"""The comparison of two long texts: right for any texts, and bounded in its work."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tui.inspect.diff import Run, compare, shared_ends

_LINES = st.lists(st.sampled_from(["a", "b", "c", "", "{", "}"]) | st.text(max_size=3), max_size=30)


def _rebuilt(before: list[str], after: list[str], runs: list[Run]) -> tuple[list[str], list[str]]:
    return (
        [before[i] for run in runs for i in run.before],
        [after[j] for run in runs for j in run.after],
    )


@settings(deadline=None)
@given(_LINES, _LINES, st.sampled_from([0, 20, 4_000_000]))
def test_the_runs_cover_both_texts(before: list[str], after: list[str], budget: int) -> None:
    runs = compare(before, after, budget)
    assert _rebuilt(before, after, runs) == (before, after)
    for run in runs:
        lines = [before[i] for i in run.before], [after[j] for j in run.after]
        assert (lines[0] == lines[1]) is run.same
        assert lines[0] or lines[1]
    assert all(one.same != other.same for one, other in pairwise(runs))


def test_what_is_added_at_the_end_is_all_that_differs() -> None:
    before = [f"line {n % 7}" for n in range(400)]
    after = [*before, "new", "newer"]
    assert compare(before, after) == [
        Run(True, range(400), range(400)),
        Run(False, range(400, 400), range(400, 402)),
    ]


def test_a_change_in_the_middle_leaves_the_rest_alone() -> None:
    before = ["{", "x", "}", "", "{", "old", "}", "", "{", "z", "}"]
    after = ["{", "x", "}", "", "{", "new", "more", "}", "", "{", "z", "}"]
    (changed,) = [run for run in compare(before, after) if not run.same]
    assert (changed.before, changed.after) == (range(5, 6), range(5, 7))


def test_lines_that_moved_keep_the_longest_order() -> None:
    before, after = list("abcdefg"), list("gabcdef")
    same = [run for run in compare(before, after) if run.same]
    assert [before[i] for run in same for i in run.before] == list("abcdef")


class _Counted(str):
    """A line that counts how often it is compared."""

    seen = 0

    def __eq__(self, other: object) -> bool:
        _Counted.seen += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_the_work_is_bounded_for_texts_that_share_nothing_unique() -> None:
    before = [_Counted(text) for text in ["x", *["a", "b"] * 3_000, "y"]]
    after = [_Counted(text) for text in ["p", *["b", "a", "a"] * 2_000, "q"]]
    _Counted.seen = 0
    runs = compare(before, after)
    assert runs == [Run(False, range(6_002), range(6_002))]
    assert _Counted.seen < 100_000


def test_lines_share_what_they_begin_and_end_with() -> None:
    assert shared_ends("the old name", "the new name") == (4, 5)
    assert shared_ends("aaa", "aa") == (2, 0)
    assert shared_ends("", "x") == (0, 0)
    long = "x" * 1_000_000
    assert shared_ends(long + "1" + long, long + "2" + long) == (1_000_000, 1_000_000)
