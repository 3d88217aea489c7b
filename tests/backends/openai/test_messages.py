"""A conversation as chat messages: what stands where, and what every server takes."""

from __future__ import annotations

import pytest

from anyclaude.backends.openai.messages import NO_RESULT
from anyclaude.types import (
    MediaBlock,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from tests.backends.openai.kit import ask, assistant, converted, messages, system, user

PNG = MediaBlock("image", "image/png", "iVBORw0=", "base64")
WEBP = MediaBlock("image", "image/webp", "UklGRg==", "base64")
LINKED = MediaBlock("image", "", "https://example.test/a.png", "url")
CALL = ToolUseBlock("toolu_1", "Bash", {"command": "ls"})
OTHER = ToolUseBlock("toolu_2", "Read", {"path": "ä"})


def result(id: str, *content: object, is_error: bool = False) -> ToolResultBlock:
    blocks = tuple(TextBlock(c) if isinstance(c, str) else c for c in content)
    return ToolResultBlock(id, blocks, is_error)  # type: ignore[arg-type]


def test_system_blocks_are_one_system_message_at_the_head() -> None:
    request = ask(user("hi"), system=(TextBlock("One."), TextBlock(" "), TextBlock("Two.")))
    assert messages(request) == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": "hi"},
    ]


def test_a_system_turn_stays_where_it_was_as_part_of_the_users() -> None:
    request = ask(user("a"), system("mode"), assistant("b"), system("new"), user("c"), system("x"))
    assert messages(request) == [
        {"role": "user", "content": "a\n<system-reminder>\nmode\n</system-reminder>"},
        {"role": "assistant", "content": "b"},
        {
            "role": "user",
            "content": "<system-reminder>\nnew\n</system-reminder>\nc\n"
            "<system-reminder>\nx\n</system-reminder>",
        },
    ]


def test_calls_keep_their_ids_and_results_come_in_the_calls_order_before_the_text() -> None:
    request = ask(
        user("go"),
        assistant("I look.", CALL, OTHER),
        user(result("toolu_2", "two"), "and now?", result("toolu_1", "one", is_error=True)),
    )
    assert messages(request)[1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "Bash", "arguments": '{"command":"ls"}'},
                },
                {
                    "id": "toolu_2",
                    "type": "function",
                    "function": {"name": "Read", "arguments": '{"path":"ä"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: one"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "two"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_call_without_a_result_gets_one_and_a_result_without_a_call_is_text() -> None:
    request = ask(
        user("go"), assistant(CALL, OTHER), user(result("toolu_1", "one"), result("toolu_9", "?"))
    )
    assert messages(request)[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "one"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": NO_RESULT},
        {"role": "user", "content": "[result of the call toolu_9]\n?"},
    ]
    unanswered = messages(ask(user("go"), assistant(CALL)))
    assert unanswered[-1] == {"role": "tool", "tool_call_id": "toolu_1", "content": NO_RESULT}
    interrupted = messages(ask(user("go"), assistant(CALL), user("stop")))
    assert [turn["role"] for turn in interrupted] == ["user", "assistant", "tool", "user"]


def test_a_system_turn_behind_calls_comes_after_their_results() -> None:
    request = ask(user("go"), assistant(CALL), user(result("toolu_1", "one")), system("new"))
    assert [turn["role"] for turn in messages(request)] == ["user", "assistant", "tool", "user"]


def test_images_are_parts_beside_the_text() -> None:
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0="}}
    link = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}
    assert messages(ask(user("see", PNG, LINKED, "that"))) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                data,
                link,
                {"type": "text", "text": "that"},
            ],
        }
    ]


def test_an_image_in_a_result_follows_in_the_users_turn() -> None:
    request = ask(user("go"), assistant(CALL), user(result("toolu_1", "shot:", PNG), "well?"))
    tool, after = messages(request)[2:]
    assert tool["content"] == "shot:\n[image: in the next message]"
    assert [part["type"] for part in after["content"]] == ["text", "image_url", "text"]
    assert after["content"][0]["text"] == "[from the result of Bash:]"


@pytest.mark.parametrize(
    ("profile", "block", "why"),
    [
        ("lmstudio", WEBP, "the server doesn't take image/webp"),
        ("lmstudio", LINKED, "the server doesn't take an image by url"),
        ("ollama", LINKED, "the server doesn't take an image by url"),
    ],
)
def test_an_image_that_a_server_refuses_is_told_of_and_traced(
    profile: str, block: MediaBlock, why: str
) -> None:
    done = converted(ask(user("see", block)), profile)
    assert done.body["messages"] == [{"role": "user", "content": f"see\n[image omitted: {why}]"}]
    assert done.losses == (f"an image was left out: {why}",)


def test_documents_are_text_or_a_note() -> None:
    text = MediaBlock("document", "text/plain", "the text", "text")
    pdf = MediaBlock("document", "application/pdf", "JVBERi0=", "base64")
    done = converted(ask(user(text, pdf)))
    assert done.body["messages"] == [
        {
            "role": "user",
            "content": "the text\n[document omitted: the model reads text only]",
        }
    ]
    assert len(done.losses) == 1


def test_opaque_blocks_and_references_are_text() -> None:
    opaque = OpaqueBlock("search_result", {"type": "search_result", "title": "ü"})
    request = ask(user(opaque, ToolReferenceBlock("Grep")), assistant(opaque))
    assert [turn["content"] for turn in messages(request)] == [
        '{"type":"search_result","title":"ü"}\nThe tool Grep is available now.',
        '{"type":"search_result","title":"ü"}',
    ]


@pytest.mark.parametrize(
    ("profile", "field"),
    [("mlx-lm", "reasoning_content"), ("vllm", "reasoning"), ("ollama", "reasoning")],
)
def test_own_thinking_is_replayed_where_there_is_a_field_for_it(profile: str, field: str) -> None:
    request = ask(user("q"), assistant(ThinkingBlock("hm", "sig"), "a"), user("r"))
    assert messages(request, profile, own=["hm"])[1] == {
        "role": "assistant",
        "content": "a",
        field: "hm",
    }
    assert messages(request, profile)[1] == {"role": "assistant", "content": "a"}
    assert messages(request, profile, foreign="text")[1]["content"] == "hm\na"


def test_own_thinking_is_dropped_where_there_is_no_field() -> None:
    request = ask(user("q"), assistant(ThinkingBlock("hm", "sig"), "a"), user("r"))
    for foreign in ("drop", "text"):
        assert messages(request, "openai", own=["hm"], foreign=foreign)[1]["content"] == "a"


def test_an_answer_with_nothing_left_in_it_goes_and_its_neighbours_join() -> None:
    request = ask(user("a"), assistant(ThinkingBlock("hm", "s")), user("b"))
    assert messages(request) == [{"role": "user", "content": "a\nb"}]


def test_answers_in_a_row_are_one() -> None:
    request = ask(user("a"), assistant("b"), assistant("c", CALL), user(result("toolu_1", "d")))
    assert messages(request)[1]["content"] == "b\nc"
    assert len(messages(request)[1]["tool_calls"]) == 1


def test_an_answer_that_was_begun_is_told_as_a_loss() -> None:
    done = converted(ask(user("a"), assistant("{")))
    assert "said again" in done.losses[0]


def test_a_longer_conversation_extends_the_shorter_one() -> None:
    turns = [
        user("a"),
        system("mode"),
        assistant("x", CALL, OTHER),
        user(result("toolu_2", "2", PNG), result("toolu_1", "1"), "b"),
        assistant("y"),
        user("c"),
    ]
    longest = messages(ask(*turns))
    for length in (2, 4, 6):
        shorter = messages(ask(*turns[:length]))
        assert longest[: len(shorter)] == shorter


def test_ids_that_no_server_takes_are_shortened_on_both_sides() -> None:
    long = ToolUseBlock("toolu_" + "x" * 60, "Bash", {})
    made = messages(ask(user("a"), assistant(long), user(result(long.id, "r"))))
    call_id = made[1]["tool_calls"][0]["id"]
    assert len(call_id) <= 40
    assert made[2]["tool_call_id"] == call_id
