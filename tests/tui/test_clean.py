"""Foreign text is made harmless, and every character is as wide as it is said to be."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len, get_character_cell_size

from tui.clean import LONGEST_LINE, clean, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31mb\x07\x00", "a␛[31mb␇␀"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31m", "�31m"),
        ("del\x7f", "del␡"),
        ("a\u202eb\u2066c\ud800d", "a�b�c�d"),
        ("one\r\ntwo\rthree\tx", "one\ntwo␍three\tx"),
        ("zero\u200bwidth\ufeff", "zero�width�"),
        ("soft\u00adhyphen", "soft�hyphen"),
        ("tag\U000e0041", "tag�"),
        ("⚠️ careful", "⚠ careful"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("👍🏽 ❤️\u200d🔥", "👍 ❤🔥"),
        ("mi\u200dd", "mi�d"),
        ("e\u0301", "e\u0301"),
        ("z" + "\u0300" * 50, "z" + "\u0300" * 4 + "�"),
        ("\u0301a\n\u0302b", "◌\u0301a\n◌\u0302b"),
        ("[bold]x[/bold] \\[y]", "[bold]x[/bold] \\[y]"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_nothing_is_left_that_a_terminal_acts_on_or_hides(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    for character in cleaned:
        kind = unicodedata.category(character)
        assert kind not in ("Cc", "Cs") or character in "\n\t", hex(ord(character))
        if kind == "Cf":
            # Signs of some scripts count as format characters, and are seen.
            assert cell_len(character) > 0, hex(ord(character))


@settings(deadline=None)
@given(st.text(st.sampled_from("a漢🙂é\u0301\u200d\ufe0f🏽👩❤🇩\u20e31 "), max_size=40))
def test_a_text_is_as_wide_as_its_characters(text: str) -> None:
    cleaned = one_line(text)
    assert cell_len(cleaned) == sum(map(get_character_cell_size, cleaned))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert clean(clean(text)) == clean(text)


def test_one_line() -> None:
    assert one_line(" a\n\tb  \x00 ") == "a b ␀"
    cut = one_line("x" * 1_000_000)
    assert len(cut) == LONGEST_LINE + 1 and cut.endswith("…")
