"""Which questions may have one answer, whatever their vectors say."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from anyclaude.caches.semantic.guards import differ, gist_of
from anyclaude.caches.semantic.words import ALIKE, COPULAS, FILLERS, MOVABLE, OPPOSITES
from tests.caches.semantic.pairs import ADVERSARIAL, PARAPHRASES, Pair

WORDS = (
    "sort", "list", "file", "not", "3", "seven", "before", "add", "remove", "foo", "bar", "Foo",
    "Paris", "utils.py", "x-1", "`a`", "and", "or", "-v", "all", "some", "server", "client", "up",
    "down", "never", "only", "quickly", "ä", "好", "=", "<", "!=", "userName",
)  # fmt: skip
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)


def same(one: str, other: str) -> bool:
    return not differ(gist_of(one), gist_of(other))


def test_there_are_a_hundred_pairs_of_each_kind() -> None:
    assert len(ADVERSARIAL) == len(set(ADVERSARIAL)) == 100
    assert len(PARAPHRASES) == len(set(PARAPHRASES)) == 100
    assert all(one != other for one, other in (*ADVERSARIAL, *PARAPHRASES))


@pytest.mark.parametrize("pair", ADVERSARIAL, ids=lambda pair: pair[0])
def test_no_adversarial_pair_passes_the_guards(pair: Pair) -> None:
    assert not same(*pair) and not same(*reversed(pair))


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Use 3 threads.", "Use 4 threads.", "numbers differ"),
        ("Use three threads.", "Use 4 threads.", "numbers differ"),
        ("Open src/a.py now.", "Open src/b.py now.", "names differ"),
        ('Say "a b".', 'Say "b a".', "quoteds differ"),
        ("Do it.", "Do not it.", "negations differ"),
        ("Enable it.", "Disable it.", "opposites differ"),
        ("Sort apples.", "Sort pears.", "words differ"),
        ("rename foo bar", "rename bar foo", "the order differs"),
    ],
)
def test_the_reason_is_told(one: str, other: str, reason: str) -> None:
    assert differ(gist_of(one), gist_of(other)) == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is a mutex?", "Can you tell me what's a mutex"),
        ("Explain briefly what X is.", "Briefly explain what is X!"),
        ("Wait three seconds.", "wait 3 seconds"),
        ("I don’t know.", "I do not know."),
        ("Run `ls -a` please", "Please run `ls -a`"),
        ("Could you please draw a house?", "Draw a house."),
        ("Would you mind telling me why it rains?", "I was wondering why it rains."),
    ],
)
def test_politeness_and_spelling_make_no_difference(one: str, other: str) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Can you swim?", "Swim."),
        ("Would you lie?", "Lie."),
        ("Do you know Anna?", "Anna?"),
        ("This works?", "Hello! This works."),
        ('Say "a" hello', 'Say "a"'),
        ('Say "a" Foo', 'Say "a" foo'),
        ("Say \ue0000\ue000", 'Say "0"'),
    ],
)
def test_what_looks_like_politeness_and_is_none_counts(one: str, other: str) -> None:
    assert not same(one, other)


@given(sentences)
def test_a_question_is_the_same_as_itself(words: list[str]) -> None:
    text = " ".join(words)
    assert same(text, text) and same(text, f"  please {text}  ")


@given(sentences, st.data())
def test_two_words_that_change_places_are_noticed(words: list[str], data: st.DataObject) -> None:
    assume(len(words) > 1)
    one = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(st.integers(0, len(words) - 1))
    assume(words[one] != words[other])
    swapped = [*words]
    swapped[one], swapped[other] = words[other], words[one]
    assume({words[one], words[other]} != {"Foo", "foo"})
    assert not same(" ".join(words), " ".join(swapped))


@given(sentences, st.sampled_from(WORDS), st.data())
def test_a_word_more_or_another_word_is_noticed(
    words: list[str], word: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(words)))
    assert not same(" ".join(words), " ".join([*words[:at], word, *words[at:]]))
    if at < len(words) and words[at].lower() != word.lower():
        assert not same(" ".join(words), " ".join([*words[:at], word, *words[at + 1 :]]))


def test_case_alone_counts_where_a_word_comes_both_ways() -> None:
    assert not same("Rename Foo to foo.", "Rename foo to Foo.")
    assert not same("Foo to foo", "foo to foo")


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_can_be_read(one: str, other: str) -> None:
    assert same(one, one)
    assert differ(gist_of(one), gist_of(other)) == "" or not same(other, one)


def test_no_two_words_that_are_alike_are_opposites() -> None:
    opposed = [(set(one.split()), set(other.split())) for one, other in OPPOSITES]
    for group in ALIKE:
        words = set(group)
        assert not any(words & one and words & other for one, other in opposed), group
        assert not words & (FILLERS | MOVABLE - {"briefly"} | COPULAS), group
