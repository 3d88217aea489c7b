"""The cause of a miss, told from the prompt before it."""

from __future__ import annotations

import pytest

from anyclaude.engine.prefix_break import PrefixHistory
from anyclaude.types import PrefixBreak, Role, Tokens

FIRST: Tokens = tuple(range(100))


def judge(
    history: PrefixHistory,
    tokens: Tokens,
    reused: int,
    *,
    role: Role = Role.MAIN,
    echo_changed: bool = False,
) -> tuple[PrefixBreak, int | None]:
    verdict = history.judge("s", role, tokens, 20, reused, 100, echo_changed=echo_changed)
    return verdict.cause, verdict.at


@pytest.fixture
def history() -> PrefixHistory:
    history = PrefixHistory()
    history.judge("s", Role.MAIN, FIRST, 20, 0, 0)
    return history


def test_first_prompts() -> None:
    history = PrefixHistory()
    assert history.judge("a", Role.MAIN, FIRST, 20, 0, 0).cause is PrefixBreak.COLD
    assert history.judge("b", Role.MAIN, FIRST, 20, 0, 9).cause is PrefixBreak.NEW_SESSION


def test_growing_is_no_break(history: PrefixHistory) -> None:
    assert judge(history, (*FIRST, 7, 8), 100) == (PrefixBreak.NONE, None)


@pytest.mark.parametrize(
    ("at", "cause"), [(10, PrefixBreak.SYSTEM_CHANGED), (60, PrefixBreak.HISTORY_CHANGED)]
)
def test_where_it_differs(history: PrefixHistory, at: int, cause: PrefixBreak) -> None:
    changed = (*FIRST[:at], 999, *FIRST[at + 1 :])
    assert judge(history, changed, at) == (cause, at)


def test_an_edited_echo_has_its_own_name(history: PrefixHistory) -> None:
    changed = (*FIRST[:60], 999, *FIRST[61:])
    assert judge(history, changed, 60, echo_changed=True) == (PrefixBreak.ECHO_CHANGED, 60)


def test_a_short_prompt_after_a_long_one_is_a_compaction(history: PrefixHistory) -> None:
    assert judge(history, (*FIRST[:25], 999), 25) == (PrefixBreak.COMPACTION, 25)
    assert judge(history, (*FIRST[:22], 5, 5), 22, role=Role.COMPACT)[0] is PrefixBreak.COMPACTION


def test_what_was_there_and_is_gone(history: PrefixHistory) -> None:
    assert judge(history, (*FIRST, 7), 30) == (PrefixBreak.EVICTED, 30)
    history.flushed()
    assert judge(history, (*FIRST, 7, 8), 0) == (PrefixBreak.FLUSHED, 0)


def test_another_model_starts_anew(history: PrefixHistory) -> None:
    history.forget()
    assert history.judge("s", Role.MAIN, FIRST, 20, 0, 0).cause is PrefixBreak.COLD
