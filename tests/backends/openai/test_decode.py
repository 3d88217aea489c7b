"""From pieces to segments: every habit of a server once."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.backends.openai.chunks import read_chunk
from anyclaude.backends.openai.decode import failed, outcome, over_window, refused, shown
from anyclaude.dialect import (
    CallBroken,
    CallClose,
    CallOpen,
    CallPiece,
    TextPiece,
    ThinkingEnd,
    ThinkingPiece,
)
from anyclaude.types import JsonObject, TextBlock, ThinkingBlock
from tests.backends.openai.kit import (
    BASH,
    READ,
    ask,
    blocks_of,
    decoded,
    decoder,
    joined,
    one_call,
    user,
    without_ids,
)
from tests.doubles.openai_upstream import call, chunk, words

LS, CAT = '{"command":"ls"}', '{"path":"a"}'
STOP = chunk(finish="tool_calls")


def pieces(name: str, arguments: str, index: int = 0, id: str | None = "c") -> list[object]:
    """A call as OpenAI sends it."""
    rest = [chunk(call(part, index=index)) for part in (arguments[:4], arguments[4:])]
    return [chunk(call("", index=index, id=id, name=name)), *rest]


def test_text() -> None:
    assert decoded(*words(["Hel", "lo"]), chunk(finish="stop")) == [TextPiece("Hello")]


def test_a_call_is_told_piece_by_piece() -> None:
    reader = decoder()
    told = [reader.feed(read_chunk(v)) for v in [*pieces("Bash", LS), STOP]]  # type: ignore[arg-type]
    assert told[0] == []
    assert told[1] == [CallOpen("Bash"), CallPiece(LS[:4])]
    assert told[2] == [CallPiece(LS[4:])]
    assert reader.finish() == [CallClose(f"Bash {LS}", True)]


def test_text_before_a_call_and_the_space_between() -> None:
    values = [*words(["I look", ".\n", "\n"]), *pieces("Bash", LS), STOP]
    assert decoded(*values) == [TextPiece("I look."), *one_call("Bash", LS, before="\n\n")]


def test_text_behind_a_call() -> None:
    values = [*pieces("Bash", LS), *words(["\n", "\nDone"]), STOP]
    assert decoded(*values) == [*one_call("Bash", LS), TextPiece("Done")]


def test_parallel_calls_one_after_the_other() -> None:
    values = [*pieces("Bash", LS), *pieces("Read", CAT, 1, "d"), STOP]
    assert decoded(*values) == [*one_call("Bash", LS), *one_call("Read", CAT)]


def test_the_first_call_is_over_as_soon_as_the_second_begins() -> None:
    reader = decoder()
    for value in pieces("Bash", LS):
        reader.feed(read_chunk(value))  # type: ignore[arg-type]
    told = reader.feed(read_chunk(chunk(call("{", index=1, id="d", name="Read"))))  # type: ignore[arg-type]
    assert told == [CallClose(f"Bash {LS}", True), CallOpen("Read"), CallPiece("{")]


def test_parallel_calls_by_turns_do_not_nest() -> None:
    first, second = pieces("Bash", LS), pieces("Read", CAT, 1, "d")
    by_turns = [value for pair in zip(first, second, strict=True) for value in pair]
    assert decoded(*by_turns, STOP) == [*one_call("Bash", LS), *one_call("Read", CAT)]


def test_text_in_the_middle_of_a_call_waits_for_its_end() -> None:
    open_, *rest = pieces("Bash", LS)
    values = [open_, rest[0], *words(["so"]), rest[1], STOP]
    assert decoded(*values) == [*one_call("Bash", LS), TextPiece("so")]


def test_no_index() -> None:
    values = [
        chunk(call(LS, index=None, id="a", name="Bash")),
        chunk(call(CAT, index=None, id="b", name="Read")),
        STOP,
    ]
    assert decoded(*values) == [*one_call("Bash", LS), *one_call("Read", CAT)]


def test_no_index_and_no_id() -> None:
    values = [
        chunk(call("", index=None, name="Bash")),
        chunk(call(LS[:5], index=None)),
        chunk(call(LS[5:], index=None)),
        chunk(call(CAT, index=None, name="Read")),
        chunk(call(CAT, index=None, name="Read")),
        STOP,
    ]
    assert decoded(*values) == [
        *one_call("Bash", LS),
        *one_call("Read", CAT),
        *one_call("Read", CAT),
    ]


@pytest.mark.parametrize("ids", [("a", "b"), ("", ""), ("a", "a")])
def test_always_the_same_index(ids: tuple[str, str]) -> None:
    values = [
        chunk(call(LS, id=ids[0], name="Bash")),
        chunk(call(CAT, id=ids[1], name="Read")),
        STOP,
    ]
    assert decoded(*values) == [*one_call("Bash", LS), *one_call("Read", CAT)]


def test_the_same_id_for_all() -> None:
    values = [*pieces("Bash", LS, 0, "x"), *pieces("Read", CAT, 1, "x"), STOP]
    assert decoded(*values) == [*one_call("Bash", LS), *one_call("Read", CAT)]


@pytest.mark.parametrize(
    "names",
    [("Ba", "sh"), ("Bash", "Bash"), ("B", "Bash"), ("Bash", ""), ("B", "a", "s", "h")],
)
def test_names_in_pieces_or_again(names: tuple[str, ...]) -> None:
    values = [chunk(call("", id="c", name=name)) for name in names]
    rest = [chunk(call(part, id="c", name=names[-1])) for part in (LS[:5], LS[5:])]
    assert decoded(*values, *rest, STOP) == one_call("Bash", LS)


def test_a_name_that_begins_another_is_not_taken_for_it() -> None:
    values = [chunk(call("", name=name)) for name in ("Read", "File")]
    more = decoded(*values, chunk(call(CAT)), STOP, names=("Read", "ReadFile"))
    assert more == one_call("ReadFile", CAT)
    other = decoded(*values, chunk(call(CAT)), STOP, names=("Read", "Bash"))
    assert other == one_call("Read", CAT)


def test_arguments_as_an_object() -> None:
    value = chunk(call({"command": "ls"}, name="Bash"))
    assert decoded(value, STOP) == one_call("Bash", '{"command": "ls"}')


@pytest.mark.parametrize("nothing", ["", "{}", None, {}, "null"])
def test_a_call_without_arguments(nothing: object) -> None:
    assert decoded(chunk(call(nothing, name="Bash")), STOP) == one_call("Bash", "{}")


@pytest.mark.parametrize("first", ["{}", {}, "", None])
def test_arguments_that_begin_with_an_empty_object(first: object) -> None:
    values = [chunk(call(first, name="Bash")), chunk(call(LS[:3])), chunk(call(LS[3:]))]
    assert decoded(*values, STOP) == one_call("Bash", LS)


def test_a_call_only_in_the_final_message() -> None:
    final = {
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [{"id": "a", "function": {"name": "Bash", "arguments": LS}}],
                },
                "finish_reason": "tool_calls",
            }
        ]
    }
    assert decoded(*words(["I ", "lo"]), final) == [TextPiece("I look."), *one_call("Bash", LS)]
    told = [*words(["I look."]), *pieces("Bash", LS)]
    assert decoded(*told, final) == [TextPiece("I look."), *one_call("Bash", LS)]


def test_the_old_function_call() -> None:
    values = [
        chunk({"function_call": {"name": "Bash", "arguments": ""}}),
        chunk({"function_call": {"arguments": LS[:6]}}),
        chunk({"function_call": {"arguments": LS[6:]}}),
        chunk(finish="function_call"),
    ]
    assert decoded(*values) == one_call("Bash", LS)


def test_a_call_that_was_cut_off() -> None:
    values = [*pieces("Bash", LS)[:2], chunk(finish="length")]
    assert decoded(*values) == one_call("Bash", LS[:4], complete=False)
    whole = [*pieces("Bash", LS), chunk(finish="length")]
    assert decoded(*whole) == one_call("Bash", LS)


def test_a_broken_call_that_the_model_ended() -> None:
    assert decoded(*pieces("Bash", LS)[:2], STOP) == one_call("Bash", LS[:4])


def test_a_call_that_names_no_tool() -> None:
    assert decoded(chunk(call(LS, id="a")), STOP) == [
        CallBroken(LS, "the call names no tool", True)
    ]


def test_more_for_a_call_that_is_over_is_no_new_call() -> None:
    values = [*pieces("Bash", LS), *pieces("Read", CAT, 1, "d"), chunk(call("}", index=0)), STOP]
    assert decoded(*values) == [*one_call("Bash", LS), *one_call("Read", CAT)]


def test_reasoning_ends_where_the_answer_begins() -> None:
    thoughts: list[str] = []
    values = [
        chunk({"reasoning_content": "\nI thi"}),
        chunk({"reasoning_content": "nk. "}),
        chunk({"reasoning_content": "Yes.\n\n"}),
        *words(["\n\n", "Hello\n"]),
        chunk(finish="stop"),
    ]
    assert decoded(*values, thoughts=thoughts) == [
        ThinkingPiece("I think. Yes."),
        ThinkingEnd(),
        TextPiece("Hello\n"),
    ]
    assert thoughts == ["I think. Yes."]


def test_reasoning_before_a_call_and_reasoning_alone() -> None:
    thinking = chunk({"reasoning": "hm"})
    assert decoded(thinking, *pieces("Bash", LS), STOP) == [
        ThinkingPiece("hm"),
        ThinkingEnd(),
        *one_call("Bash", LS),
    ]
    thoughts: list[str] = []
    assert decoded(thinking, chunk(finish="length"), thoughts=thoughts) == [
        ThinkingPiece("hm"),
        ThinkingEnd(),
    ]
    assert thoughts == ["hm"]


def test_reasoning_of_nothing_is_none() -> None:
    assert decoded(chunk({"reasoning": "\n\n"}), *words(["Hi"])) == [TextPiece("Hi")]


def test_reasoning_again_after_text_is_a_block_of_its_own() -> None:
    thoughts: list[str] = []
    values = [chunk({"reasoning": "a"}), *words(["b"]), chunk({"reasoning": "c"}), *words(["d"])]
    assert decoded(*values, thoughts=thoughts) == [
        ThinkingPiece("a"),
        ThinkingEnd(),
        TextPiece("b"),
        ThinkingPiece("c"),
        ThinkingEnd(),
        TextPiece("d"),
    ]
    assert thoughts == ["a", "c"]


def test_think_tags_in_the_text() -> None:
    values = words(["<thi", "nk>I see", ".\n</th", "ink>\n\nYes, <think> is a tag"])
    assert decoded(*values) == [
        ThinkingPiece("I see."),
        ThinkingEnd(),
        TextPiece("Yes, <think> is a tag"),
    ]
    assert decoded(*words(["<think>\n\n</think>\n\nHi"])) == [TextPiece("Hi")]
    assert decoded(*words(["<think>on"]), think_tags=False) == [TextPiece("<think>on")]
    assert decoded(*words(["<thi"])) == [TextPiece("<thi")]


def test_think_tags_before_a_call() -> None:
    assert decoded(*words(["<think>hm</think>", "\n"]), *pieces("Bash", LS), STOP) == [
        ThinkingPiece("hm"),
        ThinkingEnd(),
        *one_call("Bash", LS),
    ]


def test_a_stop_sequence_that_the_server_does_not_know() -> None:
    reader = decoder(stops=("END", "HALT"))
    out = [s for text in ("a EN", "D b", "c") for s in reader.feed(read_chunk(words([text])[0]))]  # type: ignore[arg-type]
    assert joined([*out, *reader.finish()]) == [TextPiece("a ")]
    assert reader.stopped
    assert reader.stop == "END"


def test_a_beginning_of_a_stop_sequence_is_text_after_all() -> None:
    assert decoded(*words(["a EN", "TER"]), stops=("END",)) == [TextPiece("a ENTER")]
    assert decoded(*words(["a EN"]), stops=("END",)) == [TextPiece("a EN")]


def test_the_servers_own_word_on_the_stop_sequence() -> None:
    reader = decoder()
    choice: JsonObject = {"delta": {"content": "a"}, "finish_reason": "stop", "stop_reason": "X"}
    reader.feed(read_chunk({"choices": [choice]}))
    assert outcome(reader.finish_reason, reader.stop) == "stop_sequence"
    assert reader.stop == "X"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        (None, "stop"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("content_filter", "stop"),
        ("sensitive", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_why_it_ended(reason: str | None, expected: str) -> None:
    assert outcome(reason, None) == expected
    assert refused(reason) == (reason in ("content_filter", "sensitive"))
    assert over_window(reason) == (reason == "model_context_window_exceeded")
    assert not failed(reason)


def test_reasons_count_in_capitals_too() -> None:
    reader = decoder()
    reader.feed(
        read_chunk({"choices": [{"delta": {"content": "a"}, "finish_reason": "MAX_TOKENS"}]})
    )
    assert outcome(reader.finish_reason, reader.stop) == "length"


def test_space_alone_stays_an_answer() -> None:
    assert decoded(*words(["\n"]), chunk(finish="stop")) == [TextPiece("\n")]
    assert decoded(chunk(finish="stop")) == []


def test_what_is_shown_has_a_calls_raw_text_in_one_piece() -> None:
    segments = decoded(*words(["So: "]), *pieces("Bash", LS), STOP)
    close = segments[-1]
    assert isinstance(close, CallClose)
    assert shown(segments) == f"So:{close.raw}"


async def test_an_answer_says_tool_use_only_when_there_is_a_call() -> None:
    request = ask(user("hi"), tools=(BASH, READ))
    assert await blocks_of(request, *words(["hi"]), STOP) == (TextBlock("hi"),)
    made = await blocks_of(request, *pieces("Bash", LS), STOP)
    assert without_ids(made) == [("Bash", {"command": "ls"})]


texts = st.text(alphabet="ab \n<>/", min_size=1, max_size=12)
calls = st.tuples(
    st.sampled_from(["Bash", "Read"]),
    st.dictionaries(st.text("ab", min_size=1, max_size=3), st.text('x"\\{}'), max_size=2),
)


@given(
    st.lists(texts, max_size=3),
    st.lists(texts, max_size=3),
    st.lists(calls, max_size=3),
    st.randoms(use_true_random=False),
)
def test_however_it_is_cut_it_says_the_same(
    thoughts: list[str],
    said: list[str],
    made: list[tuple[str, dict[str, str]]],
    rng: random.Random,
) -> None:
    def cut(text: str) -> list[str]:
        points = sorted(rng.randint(0, len(text)) for _ in range(3))
        return [text[a:b] for a, b in zip([0, *points], [*points, len(text)], strict=True)]

    def values(slicing: bool) -> list[object]:
        out: list[object] = []
        for kind, pieces_ in (("reasoning", thoughts), ("content", said)):
            text = "".join(pieces_)
            out += [chunk({kind: part}) for part in (cut(text) if slicing else [text])]
        for index, (name, arguments) in enumerate(made):
            text = json.dumps(arguments)
            out.append(chunk(call("", index=index, id=f"c{index}", name=name)))
            parts = cut(text) if slicing else [text]
            out += [chunk(call(part, index=index)) for part in parts]
        return [*out, STOP]

    assert decoded(*values(True)) == decoded(*values(False))


async def test_thinking_comes_back_as_the_text_that_is_remembered() -> None:
    thoughts: list[str] = []
    values = [chunk({"reasoning": " a\n"}), chunk({"reasoning": "b \n"}), *words(["c"])]
    made = await blocks_of(ask(user("hi")), *values, thoughts=thoughts)
    assert isinstance(made[0], ThinkingBlock)
    assert thoughts == [made[0].thinking]
