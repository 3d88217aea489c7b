"""Figures and foreign text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui import format as f


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (18_449, "18.4k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (1_420_000, "1.42M"),
        (12_345_678, "12M"),
    ],
)
def test_count(value: int, text: str) -> None:
    assert f.count(value) == text


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_count_takes_five_cells_at_most(value: int) -> None:
    assert len(f.count(value)) <= 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (2_202_009, "2.1 MB"),
        (6_871_947_674, "6.4 GB"),
        (19_327_352_832, "18 GB"),
        (2 * 1024**4, "2.0 TB"),
    ],
)
def test_size(value: int, text: str) -> None:
    assert f.size(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.00s"),
        (380, "0.38s"),
        (12_400, "12.4s"),
        (185_000, "3m05s"),
        (7_620_000, "2h07m"),
        (99_949, "99.9s"),
        (99_950, "1m40s"),
    ],
)
def test_seconds(ms: float, text: str) -> None:
    assert f.seconds(ms) == text


def test_percent_says_all_only_for_all() -> None:
    assert f.percent(999, 1000) == "99%"
    assert f.percent(1000, 1000) == "100%"
    assert f.percent(0, 0) == "-"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("claude-sonnet-4-5-20250929", "sonnet"),
        ("claude-3-5-haiku-latest", "haiku"),
        ("mlx-community/Qwen3-4B", "Qwen3-4B"),
        ("", ""),
        ("claude-next", "claude-next"),
    ],
)
def test_short_model(name: str, text: str) -> None:
    assert f.short_model(name) == text


def test_clean_makes_control_characters_visible() -> None:
    assert f.clean("a\x1b[31mb\x07\x00") == "a␛[31mb␇␀"
    assert f.clean("a\u202eb\ud800c") == "a�b�c"
    assert f.clean("one\r\ntwo\tthree") == "one\ntwo\tthree"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_clean_leaves_nothing_a_terminal_acts_on(text: str) -> None:
    cleaned = f.clean(text)
    cleaned.encode("utf-8")
    assert not [c for c in cleaned if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(cleaned) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def test_spark_scales_to_the_largest_or_to_top() -> None:
    assert f.spark([0, 1, 2]) == "▁▅█"
    assert f.spark([0.5], 1.0) == "▅"
    assert f.spark([0, 0]) == "▁▁"
    assert f.spark([]) == ""
