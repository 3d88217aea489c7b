"""The filter language."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tui.fake_source import NOON, session
from tui.filters import parse
from tui.state import Store


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store()
    for event in session():
        store.apply(event, NOON)
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "a3f1 a3f2 a3f3 a3f4 a3f5 a3f6 a3f7 a3f8 a3f9"),
        ("haiku", "a3f2 a3f9"),
        ("HAIKU", "a3f2 a3f9"),
        ("status:tool_use", "a3f3 a3f4 a3f5"),
        ("status:529", "a3f7"),
        ("status:decoding", "a3f8"),
        ("status:failed", "a3f6 a3f7"),
        ("model:sonnet !status:tool_use in>20k", "a3f8"),
        ("tool:edit", "a3f3"),
        ("tool:unparsed", "a3f5"),
        ("cache:miss", "a3f2"),
        ("cache:history", "a3f5"),
        ("role:title", "a3f2 a3f9"),
        ("id:a3f4", "a3f4"),
        ("ttft>1", "a3f5"),
        ("ttft>=610ms ttft<1s", "a3f2"),
        ("out<50 out>0", "a3f2"),
        ("tps<41", "a3f5"),
        ("time>10 !ttft>1", "a3f1 a3f4"),
        ('"queue is full"', "a3f7"),
        ('!"queue is full" status:failed', "a3f6"),
        ("vidéo", "a3f6"),
        ("!model:sonnet", "a3f2 a3f9"),
        ("nothing-like-it", ""),
    ],
)
def test_terms(store: Store, text: str, found: str) -> None:
    matching = parse(text)
    assert not matching.problem
    assert " ".join(r.id[-4:] for r in store.rows.values() if matching.matches(r)) == found


@pytest.mark.parametrize("text", ["ttft>", "in>many", "ttft>1.2.3", "in>=", "out<-5"])
def test_half_typed_figures_are_left_out_and_named(store: Store, text: str) -> None:
    half = parse(f"haiku {text}")
    assert "needs a number" in half.problem
    assert sum(half.matches(row) for row in store.rows.values()) == 2


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_filter(store: Store, text: str) -> None:
    matching = parse(text)
    for row in store.rows.values():
        matching.matches(row)


_NAMES = st.sampled_from(["status:", "tool:", "ttft>", "in<=", "!", '"', "out=", "time<", "x"])


@settings(deadline=None)
@given(st.lists(st.tuples(_NAMES, st.text('0123456789.kms !":', max_size=6)), max_size=5))
def test_inverting_every_term_finds_the_others(store: Store, parts: list[tuple[str, str]]) -> None:
    words = " ".join(name + value for name, value in parts)
    matching = parse(words)
    for row in store.rows.values():
        assert matching.matches(row) == all(term(row) for term in matching.terms)
