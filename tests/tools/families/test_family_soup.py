"""Text full of the families' markers comes apart the same however it is cut, all of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.dialect import (
    CallBroken,
    CallClose,
    CallOpen,
    CallPiece,
    Dialect,
    Segment,
    TextPiece,
    ThinkingEnd,
    ThinkingPiece,
)
from anyclaude.tools.families import FAMILIES
from anyclaude.types import ThinkingMarkers
from tests.tools.families.kit import OPENED, THINK, read, shown
from tests.tools.families.soup_words import ANY, WORDS

SECTION_ENDS = (
    "</minimax:tool_call>",
    "</｜DSML｜function_calls>",
    "</｜DSML｜tool_calls>",
    "<｜tool▁calls▁end｜>",
    "<|tool_calls_section_end|>",
    "</tool_call>",
)
SECTIONED = ("minimax", "deepseek_v32", "deepseek_v4", "deepseek_v3", "deepseek_v31", "kimi", "glm")
"""Families of which an end of a section that stands alone goes, and all white space around it."""
families = pytest.mark.parametrize("name", list(WORDS))
markers = st.sampled_from([None, THINK, OPENED])


def soup(name: str) -> st.SearchStrategy[str]:
    words = st.sampled_from([*ANY, *WORDS[name], *WORDS[name]])
    return st.lists(words, max_size=20).map("".join)


def check_order(segments: list[Segment]) -> None:
    """Calls don't nest, and nothing stands between the pieces of one."""
    opened = False
    for segment in segments:
        match segment:
            case CallOpen(name):
                assert not opened and name
                opened = True
            case CallPiece(json):
                assert opened and json
            case CallClose():
                assert opened
                opened = False
            case TextPiece(text) | ThinkingPiece(text):
                assert not opened and text
            case CallBroken(raw, reason):
                assert not opened and raw and reason
            case ThinkingEnd():
                assert not opened
    assert not opened


def whole(dialect: Dialect, text: str, thinking: ThinkingMarkers | None) -> list[Segment]:
    segments = read(dialect, [text], thinking=thinking)
    check_order(segments)
    return segments


@families
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_splitting_gives_the_same_segments(name: str, data: st.DataObject) -> None:
    dialect, text, thinking = FAMILIES[name], data.draw(soup(name)), data.draw(markers)
    segments = whole(dialect, text, thinking)
    assert read(dialect, list(text), thinking=thinking) == segments
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert read(dialect, pieces, thinking=thinking) == segments


@pytest.mark.parametrize("name", [name for name in WORDS if name not in ("harmony", *SECTIONED)])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_character_is_lost(name: str, data: st.DataObject) -> None:
    text = data.draw(soup(name))
    segments = whole(FAMILIES[name], text, None)
    rebuilt = shown(segments)
    # White space after the last call is all that goes.
    assert text.startswith(rebuilt) and not text[len(rebuilt) :].strip()
    if not segments or isinstance(segments[-1], TextPiece):
        assert rebuilt == text


@pytest.mark.parametrize("name", SECTIONED)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_of_sections_only_ends_that_stand_alone_are_lost(name: str, data: st.DataObject) -> None:
    text = data.draw(soup(name))
    rebuilt = shown(whole(FAMILIES[name], text, None))
    for end in SECTION_ENDS:
        text, rebuilt = text.replace(end, ""), rebuilt.replace(end, "")
    assert "".join(text.split()) == "".join(rebuilt.split())


@settings(deadline=None, max_examples=150)
@given(text=soup("harmony"))
def test_of_messages_only_their_headers_are_lost(text: str) -> None:
    rest = iter("".join(text.split()))
    segments = whole(FAMILIES["harmony"], text, None)
    assert all(char in rest for char in "".join(shown(segments).split()))
