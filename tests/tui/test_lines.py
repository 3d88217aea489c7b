"""Wrapping and fitting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.lines import Line, fit, line, meter, paragraphs, plain_text, wrap


def _rows(entry: Line, width: int) -> list[str]:
    return ["".join(text for text, _ in row) for row in wrap(entry, width)]


def test_breaks_at_spaces_and_hangs() -> None:
    entry = line((" label ", "muted"), "one two three four", hang=7)
    assert _rows(entry, 16) == [" label one two", "       three", "       four"]


def test_cuts_words_that_do_not_fit() -> None:
    assert _rows(line("abcdefghij"), 4) == ["abcd", "efgh", "ij"]


def test_wide_characters_are_not_split_over_the_edge() -> None:
    assert _rows(line("日本語日本語"), 5) == ["日本", "語日", "本語"]


def test_spans_keep_their_tones() -> None:
    rows = wrap(line(("aaaa ", "ok"), ("bbbb", "error")), 5)
    assert rows == [(("aaaa", "ok"),), (("bbbb", "error"),)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=40), st.sampled_from(["text", "ok"])), max_size=4),
    st.integers(2, 30),
    st.integers(0, 12),
)
def test_rows_fit_and_lose_only_spaces(spans: list[tuple[str, str]], width: int, hang: int) -> None:
    entry = line(*spans, hang=hang)  # type: ignore[arg-type]
    rows = _rows(entry, width)
    assert all(cell_len(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(entry.plain.split())


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 20))
def test_fit_is_exact(text: str, width: int) -> None:
    assert cell_len(fit(line(text).plain, width)) == width


def test_a_wide_character_that_has_no_room_goes() -> None:
    assert (fit("日本", 2), fit("日本", 3), fit("日本", 4)) == ("… ", "日…", "日本")


def test_a_megabyte_on_one_line_wraps() -> None:
    rows = wrap(paragraphs("x" * 1_000_000)[0], 76)
    assert len(rows) == -(-1_000_000 // 76)


def test_markup_stays_text() -> None:
    assert plain_text(paragraphs("[bold]x[/bold]\n[red]")) == "[bold]x[/bold]\n[red]"


def test_meter_fills() -> None:
    assert meter(0.5, 4) == (("━━", "run"), ("──", "muted"))
    assert meter(7.0, 2) == (("━━", "run"), ("", "muted"))


@pytest.mark.parametrize("text", ["é", "ß€", "Привет", "“–…”", "─│╭"])
def test_the_quick_way_and_the_slow_way_agree(text: str) -> None:
    long = text * 40
    for width in (1, 7, 20):
        rows = wrap(line(long), width)
        assert all(cell_len("".join(t for t, _ in row)) <= width for row in rows)
        assert "".join(t for row in rows for t, _ in row) == long


def test_a_row_never_begins_with_an_accent() -> None:
    rows = wrap(line("abcd\u0301efgh\u0301" * 5), 4)
    assert [row[0][0] for row in rows[:2]] == ["abcd\u0301", "efgh\u0301"]


def test_a_megabyte_in_one_line_is_as_many_rows_as_it_takes() -> None:
    for text in ("x" * 1_000_000, "漢" * 1_000_000, "e\u0301" * 500_000):
        rows = wrap(line(text), 100)
        assert len(rows) == -(-cell_len(text) // 100)
