"""Texts in their parts: nothing is lost, and the parts are what they look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.prompt.sections import join, sentences, split
from tests.prompt.sample import SYSTEM

_LINES = st.sampled_from(
    [
        "",
        "  ",
        "# Heading",
        "### Lower",
        "- item",
        "1. first",
        "  - nested",
        "```",
        "~~~~",
        "```py",
        "<a>",
        "</a>",
        "<example>",
        "</example>",
        "words and words.",
        "x = {",
        "};",
        "\u2028\t",
    ]
)


@given(st.one_of(st.text(), st.lists(_LINES).map("\n".join)))
def test_the_parts_are_the_text(text: str) -> None:
    assert join(split(text)) == text


@given(st.text())
def test_the_sentences_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


def test_parts_of_every_form_under_their_headings() -> None:
    forms = {}
    for part in split(SYSTEM):
        forms.setdefault((part.group, part.form), []).append(part.body)
    assert len(forms["", "paragraph"]) == 2
    assert len(forms["Conduct", "item"]) == 4
    assert len(forms["Examples", "code"]) == len(forms["Examples", "example"]) == 1
    assert len(forms["Guilds", "item"]) == 4
    assert forms["Environment", "item"][1] == " - Platform: linux"
    assert forms["Closing", "paragraph"] == [
        "Report what you did faithfully: if a test fails, say so."
    ]


def test_headings_nest_and_end() -> None:
    paths = [part.path for part in split("# A\n## B\nx\n# C\ny\n")]
    assert paths == [("A",), ("A", "B"), ("A", "B"), ("C",), ("C",)]


def test_an_element_is_taken_apart_and_an_example_is_not() -> None:
    parts = split("<rules>\n- one\n\n- two\n</rules>\n<example>\n- three\n</example>\nend")
    assert [(part.form, part.body) for part in parts] == [
        ("tag", "<rules>"),
        ("item", "- one"),
        ("item", "- two"),
        ("tag", "</rules>"),
        ("example", "<example>\n- three\n</example>"),
        ("paragraph", "end"),
    ]
    assert parts[1].path == ("rules",)


@pytest.mark.parametrize("text", ["<never>\nclosed", "a <b> c", "</b>\n"])
def test_what_only_looks_like_an_element_is_text(text: str) -> None:
    assert [part.form for part in split(text)] == ["paragraph"]


def test_code_without_a_fence_is_known_by_its_line_ends() -> None:
    (part,) = split("  const a = {\n    b: 1,\n  }\n  call(a);\n")
    assert part.form == "code"


def test_a_heading_in_a_fence_is_code() -> None:
    assert [part.form for part in split("```\n# no heading\n```\n")] == ["code"]


def test_sentences_end_where_a_reader_would_say() -> None:
    assert sentences("Use it, e.g. Here. Then stop! `x` is 1.5. no end") == (
        "Use it, e.g. Here. ",
        "Then stop! ",
        "`x` is 1.5. no end",
    )
