"""Prompts: the same for a seed, other for another, of the length that was asked for."""

from __future__ import annotations

import pytest

from anyclaude.bench.workload import Prompt, Words, several


@pytest.mark.parametrize("count", [40, 300, 6000])
def test_length(count: int) -> None:
    system = Words("s").system(count)
    made = len(system.replace(".", " .").split())
    assert abs(made - count) <= 12


def test_a_seed_gives_its_texts_and_no_others() -> None:
    one, again, other = Words("1"), Words("1"), Words("2")
    assert one.system(300) == again.system(300)
    assert one.fresh(300, "a") == again.fresh(300, "a")
    texts = [one.system(300), other.system(300), one.fresh(300, "a").system, one.system(301)]
    heads = [" ".join(text.split()[:40]) for text in texts]
    assert len(set(heads)) == len(heads)


def test_a_conversation_grows() -> None:
    grown = Prompt("s", ("q1",)).then("a1", "q2").then("", "q3")
    assert [m["content"] for m in grown.messages()] == ["q1", "a1", "q2", "ok", "q3"]
    assert [m["role"] for m in grown.messages()][-2:] == ["assistant", "user"]


def test_streams_ask_for_different_things() -> None:
    prompts = several(Words("s"), 8)
    assert len({prompt.turns for prompt in prompts}) == 8
    assert len({prompt.system for prompt in prompts}) == 1
