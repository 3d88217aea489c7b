"""Cuts of long conversations: what goes, what stays, and that calls keep their results."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from anyclaude.prompt.window import (
    Cut,
    clearable,
    cut_out,
    head_of,
    holds,
    settled,
    sizes_of,
    sliding,
)
from anyclaude.types import Message, TextBlock, ToolResultBlock, ToolUseBlock


def user(text: str) -> Message:
    return Message("user", (TextBlock(text),))


def called(id: str, name: str = "Read") -> Message:
    return Message("assistant", (ToolUseBlock(id, name, {"path": id}),))


def result(id: str, text: str = "r" * 500) -> Message:
    return Message("user", (ToolResultBlock(id, (TextBlock(text),)),))


def loop(turns: int) -> tuple[Message, ...]:
    """One question and an agent's loop after it."""
    steps = [m for n in range(turns) for m in (called(f"t{n}"), result(f"t{n}"))]
    return (user("find it"), Message("system", (TextBlock("cwd: /"),)), *steps)


def whole_pairs(messages: tuple[Message, ...]) -> bool:
    known: set[str] = set()
    for message in messages:
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                known.add(block.id)
            elif isinstance(block, ToolResultBlock) and block.tool_use_id not in known:
                return False
    return True


def test_old_results_are_cleared_and_the_last_ones_kept() -> None:
    messages = loop(6)
    assert clearable(messages, 2) == ("t0", "t1", "t2", "t3")
    assert clearable(messages, 0, exclude=frozenset({"Read"})) == ()
    assert clearable(loop(0), 2) == ()
    assert clearable((user("q"), called("a"), result("a", "short")), 0) == ()
    fitted = cut_out(messages, Cut(cleared=("t0", "t1"))).messages
    assert fitted[3] == result(
        "t0", "[Old result of Read cleared to save context: 500 characters.]"
    )
    assert fitted[:3] == messages[:3] and fitted[6:] == messages[6:]


def test_inputs_go_with_the_results_only_when_asked_to() -> None:
    messages = loop(1)
    with_inputs = cut_out(messages, Cut(cleared=("t0",), inputs=True)).messages
    assert with_inputs[2].content == (ToolUseBlock("t0", "Read", {}),)


def test_what_a_conversation_begins_with_stays() -> None:
    assert head_of(loop(3)) == 2
    assert head_of((user("a"), user("b"))) == 1
    assert head_of((user("a"),)) == 1
    assert head_of((Message("system", ()), user("a"), called("t"))) == 2


def test_the_oldest_turns_go_until_the_rest_fits() -> None:
    messages = loop(10)
    sizes = sizes_of(messages)
    cut = sliding(messages, 2_000, sizes)
    assert cut is not None and cut.start == 2
    fitted = cut_out(messages, cut).messages
    assert fitted[:2] == messages[:2] and fitted[-1] == messages[-1]
    assert 1_000 < sum(sizes_of(fitted)) <= 2_000
    assert whole_pairs(fitted)


def test_the_users_last_words_stay_though_they_are_old() -> None:
    messages = (
        user("first"),
        *(m for n in range(3) for m in (called(f"a{n}"), result(f"a{n}"))),
        replace(result("a9"), content=(TextBlock("now do this"),)),
        *(m for n in range(9) for m in (called(f"b{n}"), result(f"b{n}"))),
    )
    cut = sliding(messages, 1_500, sizes_of(messages))
    assert cut is not None and cut.asked == 7
    fitted = cut_out(messages, cut)
    assert user("now do this") in fitted.messages
    assert 7 not in fitted.places and fitted.places[0] == 0


def test_turns_of_the_system_stay_where_turns_go() -> None:
    note = Message("system", (TextBlock("the date is 2026-01-01"),))
    messages = (
        *loop(4),
        note,
        *(m for n in range(20, 25) for m in (called(f"t{n}"), result(f"t{n}"))),
    )
    cut = sliding(messages, 1_500, sizes_of(messages))
    assert cut is not None and cut.end > messages.index(note)
    assert note in cut_out(messages, cut).messages


def test_there_may_be_nothing_to_leave_out() -> None:
    assert sliding((user("a"),), 0, [1]) is None
    assert sliding((user("a"), called("t"), result("t")), 0, [1, 1, 1]) is None
    assert sliding((user("a"), called("t"), result("t"), user("b")), 0, [1, 1, 1, 1]) == Cut(
        start=1, end=3
    )


def test_a_summary_stands_where_the_turns_were() -> None:
    messages = loop(5)
    fitted = cut_out(messages, Cut(start=2, end=8, summary="- it was long")).messages
    assert len(fitted) == len(messages) - 6 + 1
    (block,) = fitted[2].content
    assert isinstance(block, TextBlock) and "- it was long" in block.text


@given(st.integers(1, 12), st.integers(0, 4_000), st.integers(0, 6))
def test_no_result_is_without_its_call(turns: int, room: int, more: int) -> None:
    messages = loop(turns)
    cut = sliding(messages, room, sizes_of(messages))
    if cut is None:
        return
    assert whole_pairs(cut_out(messages, cut).messages)
    cut = settled(messages, replace(cut, cleared=clearable(messages, 1)))
    later = (*messages, *loop(more)[2:])
    if more:
        assert holds(later, cut)
        before, after = cut_out(messages, cut).messages, cut_out(later, cut).messages
        assert after[: len(before)] == before
    changed = (user("other"), *later[1:])
    assert not holds((*changed, user("x")), cut)


def test_a_cut_outlives_its_process() -> None:
    cut = settled(loop(3), Cut(cleared=("t0",), start=2, end=4, summary="é"))
    assert cut.covers == 4
    assert Cut.from_json(cut.to_json()) == cut
