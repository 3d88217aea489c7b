"""Ordinary coding answers under a grammar: nothing in them is held to a call or forbidden."""

from __future__ import annotations

import pytest

from anyclaude.dialect import Dialect
from anyclaude.engine.constraint import AnswerPlan
from anyclaude.grammar.calls import answer_grammar
from anyclaude.tools.families import FAMILIES
from anyclaude.types import ToolChoice
from tests.grammar.vocabularies import allows, vocabulary
from tests.tools.families.kit import TOOLS
from tests.tools.families.test_prose import ANSWERS

WRITING = [dialect for dialect in FAMILIES.values() if dialect.grammar is not None]


@pytest.mark.parametrize("mode", ["auto", "none"])
@pytest.mark.parametrize("dialect", WRITING, ids=lambda dialect: dialect.name)
def test_an_answer_stays_free_from_its_beginning_to_its_end(dialect: Dialect, mode: str) -> None:
    words = vocabulary()
    grammar = answer_grammar(dialect, TOOLS, ToolChoice(mode), None, words.terminal)  # type: ignore[arg-type]
    if grammar is None:
        assert mode == "none" and not dialect.start, "without a marker there is nothing to forbid"
        return
    plan = AnswerPlan(grammar, words)
    near = [answer for answer in ANSWERS if dialect.start[:2] in answer]
    assert near, "the others have nothing that a call could begin with"
    for answer in near:
        held = plan.begin(None)
        for number in words.tokens(answer.encode()):
            if not held.active:
                break
            assert allows(held.mask(), number), (answer, words.text(number))
            held.took(number)
            assert not held.in_call, answer
        assert not held.note, (answer, held.note)
