"""The wire schema: what is accepted and how it is read, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyclaude.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from anyclaude.server import decode
from anyclaude.server.schema import ParseResult, Peek, parse_count, parse_messages, peek
from anyclaude.types import (
    MediaBlock,
    Message,
    MessagesRequest,
    OpaqueBlock,
    Sampling,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

USER = {"role": "user", "content": "hi"}
CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "done"}
TOOL = {"name": "Bash", "description": "runs", "input_schema": {"type": "object"}}
MARK = {"cache_control": {"type": "ephemeral"}}


def body(**changes: Any) -> dict[str, Any]:
    base = {"model": "m", "max_tokens": 10, "messages": [USER]}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def parse(payload: object) -> ParseResult:
    return parse_messages(json.dumps(payload).encode(), "application/json")


def read(**changes: Any) -> MessagesRequest:
    return parse(body(**changes)).request


def assistant(*blocks: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: object) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def content(*blocks: object) -> tuple[Any, ...]:
    return read(messages=[user(*blocks)]).messages[0].content


# ------------------------------------------------------------------------------- accepted


def test_a_plain_body() -> None:
    request = read()
    assert request == MessagesRequest("m", 10, (Message("user", (TextBlock("hi"),)),))


def test_text_is_never_trimmed_and_may_be_empty() -> None:
    assert content({"type": "text", "text": " \n"}) == (TextBlock(" \n"),)
    assert content({"type": "text", "text": ""}) == (TextBlock(""),)
    assert read(messages=[{"role": "user", "content": " x "}]).messages[0].content == (
        TextBlock(" x "),
    )


def test_system_is_a_string_or_blocks() -> None:
    assert read(system="be brief").system == (TextBlock("be brief"),)
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", **MARK}]
    assert read(system=blocks).system == (TextBlock("a"), TextBlock("b"))
    assert read(system=None).system == ()
    assert read(system="").system == ()


def test_system_messages_may_stand_anywhere_with_extra_keys() -> None:
    system = {"role": "system", "content": "now", "output_config": {"effort": "low"}}
    messages = read(messages=[system, USER, system]).messages
    assert [m.role for m in messages] == ["system", "user", "system"]


def test_every_block_of_a_turn() -> None:
    request = read(
        messages=[
            USER,
            assistant(
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "so", "citations": None},
                CALL,
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            ),
            user(
                {
                    "tool_use_id": "t1",
                    "type": "tool_result",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "out"},
                        {"type": "tool_reference", "tool_name": "WebFetch"},
                        {"type": "invented"},
                    ],
                },
            ),
        ]
    )
    assert request.messages[1].content == (
        ThinkingBlock("hm", "s"),
        OpaqueBlock("redacted_thinking", {"type": "redacted_thinking", "data": "x"}),
        TextBlock("so"),
        ToolUseBlock("t1", "Bash", {"command": "ls"}),
        OpaqueBlock(
            "server_tool_use",
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        ),
    )
    assert request.messages[2].content == (
        ToolResultBlock(
            "t1",
            (
                TextBlock("out"),
                ToolReferenceBlock("WebFetch"),
                OpaqueBlock("invented", {"type": "invented"}),
            ),
            is_error=True,
        ),
    )


@pytest.mark.parametrize("value", [{}, {"content": None}, {"content": []}, {"content": ""}])
def test_a_tool_result_may_be_empty(value: dict[str, object]) -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", **value}
    block = read(messages=[USER, assistant(CALL), user(result)]).messages[2].content[0]
    assert isinstance(block, ToolResultBlock)
    assert "".join(b.text for b in block.content if isinstance(b, TextBlock)) == ""


def test_a_tool_result_may_come_turns_after_its_call() -> None:
    messages = [assistant(CALL), {"role": "system", "content": "x"}, USER, user(RESULT)]
    assert len(read(messages=messages).messages) == 4


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"type": "base64", "media_type": "image/png", "data": "AA=="},
            MediaBlock("image", "image/png", "AA==", "base64"),
        ),
        ({"type": "url", "url": "http://x"}, MediaBlock("image", "", "http://x", "url")),
        ({"type": "file", "file_id": "f"}, MediaBlock("image", "", "f", "file")),
        (
            {"type": "text", "media_type": "text/plain", "data": "t"},
            MediaBlock("image", "text/plain", "t", "text"),
        ),
    ],
)
def test_media_sources(source: dict[str, object], expected: MediaBlock) -> None:
    assert content({"type": "image", "source": source}) == (expected,)


def test_a_source_of_an_unknown_type_is_kept_whole() -> None:
    block = {"type": "document", "source": {"type": "content", "content": []}}
    assert content(block) == (OpaqueBlock("document", block),)


def test_the_last_message_may_be_an_empty_assistant_turn() -> None:
    assert read(messages=[USER, {"role": "assistant", "content": ""}]).messages[1].content == ()


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({}, None),
        ({"system": [{"type": "text", "text": "a", **MARK}]}, -1),
        ({"tools": [{**TOOL, **MARK}]}, -1),
        ({"messages": [user({"type": "text", "text": "a", **MARK}), USER]}, 0),
        (
            {
                "messages": [
                    user({"type": "text", "text": "a", **MARK}),
                    assistant({**CALL, **MARK}),
                    user({**RESULT, "content": [{"type": "text", "text": "x", **MARK}]}),
                ],
                "system": [{"type": "text", "text": "a", **MARK}],
            },
            2,
        ),
        ({"messages": [user({"type": "text", "text": "a", "cache_control": None})]}, None),
        ({"messages": [USER, USER], **MARK}, 1),
    ],
)
def test_the_cache_mark(changes: dict[str, Any], mark: int | None) -> None:
    assert read(**changes).cache_mark == mark


def test_a_mark_makes_no_other_difference() -> None:
    plain = read(messages=[user({"type": "invented", "x": 1})], tools=[TOOL])
    marked = read(messages=[user({"type": "invented", "x": 1, **MARK})], tools=[{**TOOL, **MARK}])
    assert (marked.messages, marked.tools) == (plain.messages, plain.tools)


def test_tools_of_all_kinds() -> None:
    tools = read(
        tools=[
            {**TOOL, "type": "custom"},
            {**TOOL, "name": "Later", "defer_loading": True, "input_schema": {}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
            {"type": "mcp_toolset", "mcp_server_name": "x"},
        ]
    ).tools
    assert [t.name for t in tools] == ["Bash", "Later", "web_search", "mcp_toolset"]
    assert [t.type for t in tools] == [None, None, "web_search_20250305", "mcp_toolset"]
    assert [t.defer_loading for t in tools] == [False, True, False, False]
    assert tools[2].raw == {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def test_an_ecmascript_pattern_is_a_valid_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": r"^\p{L}+$"}}}
    assert read(tools=[{**TOOL, "input_schema": schema}]).tools[0].input_schema == schema


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("any", None, True)),
        ({"type": "tool", "name": "Bash"}, ToolChoice("tool", "Bash")),
    ],
)
def test_tool_choices(choice: object, expected: ToolChoice) -> None:
    assert read(tools=[TOOL], tool_choice=choice).tool_choice == expected


def test_the_rest_of_the_fields() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    request = read(
        max_tokens=10**12,
        temperature=1,
        top_p=0.5,
        top_k=40,
        stop_sequences=["\n\n", " "],
        thinking={"type": "enabled", "budget_tokens": 31999, "display": "updates"},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        stream=True,
        metadata={"user_id": "u"},
    )
    assert request.max_tokens == 10**12
    assert request.sampling == Sampling(1.0, 0.5, 40)
    assert request.stop_sequences == ("\n\n", " ")
    assert request.thinking == Thinking(True, 31999)
    assert request.output_schema == schema
    assert request.stream
    assert request.metadata == {"user_id": "u"}


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (None, None),
        ({"type": "disabled"}, Thinking(False)),
        ({"type": "adaptive"}, Thinking(True)),
    ],
)
def test_thinking(thinking: object, expected: Thinking | None) -> None:
    assert read(thinking=thinking).thinking == expected


def test_null_is_as_good_as_absent_and_a_whole_float_as_an_integer() -> None:
    absent = dict.fromkeys(
        ("system", "tools", "tool_choice", "stop_sequences", "temperature", "stream", "metadata")
    )
    assert read(**absent, max_tokens=10.0) == read()


def test_counting_needs_no_max_tokens_but_everything_else() -> None:
    counted = parse_count(json.dumps(body(max_tokens=...)).encode(), None)
    assert counted.request.messages == read().messages
    with pytest.raises(InvalidRequest, match=r"^model: Field required$"):
        parse_count(json.dumps(body(model=...)).encode(), None)


def test_a_duplicate_key_takes_its_last_value() -> None:
    text = b'{"model":"a","model":"b","max_tokens":1,"messages":[{"role":"user","content":"x"}]}'
    assert parse_messages(text, None).request.model == "b"


def test_what_is_private_stays_out_of_the_text_for_the_log() -> None:
    result = parse(body(safeguards=[{"user": "ada"}]))
    assert json.loads(result.body) == body()
    assert parse(body()).body == json.dumps(body())


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=x"])
def test_content_types_that_will_do(content_type: str | None) -> None:
    assert parse_messages(json.dumps(body()).encode(), content_type).request.model == "m"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonx", "json"])
def test_content_types_that_will_not(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_messages(json.dumps(body()).encode(), content_type)


# ----------------------------------------------------------------------------- surrogates


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"a\ud800b", "a\ufffdb"),
        (rb"\uDC00", "\ufffd"),
        (rb"\ud83d\ude00", "😀"),
        (b"a\xed\xa0\x80b", "a\ufffdb"),
        ("😀".encode(), "😀"),
    ],
)
def test_lone_surrogates(raw: bytes, text: str) -> None:
    wire = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"%s"}]}' % raw
    result = parse_messages(wire, None)
    assert result.request.messages[0].content == (TextBlock(text),)
    assert bool(result.notes) == ("\ufffd" in text)
    result.body.encode()


def test_lone_surrogates_deep_in_a_call_and_in_its_keys() -> None:
    call = {**CALL, "input": {"first": 1, "k\ud800": ["\udfff", {"x": "ok"}], "last": 2}}
    result = parse(body(messages=[assistant(call), user(RESULT)]))
    block = result.request.messages[0].content[0]
    assert isinstance(block, ToolUseBlock)
    assert list(block.input.items()) == [
        ("first", 1),
        ("k\ufffd", ["\ufffd", {"x": "ok"}]),
        ("last", 2),
    ]
    assert result.notes == ("lone surrogates in 2 places became U+FFFD",)


# -------------------------------------------------------------------------------- refused

CASES: list[tuple[dict[str, Any], str]] = [
    ({"model": ...}, "model: Field required"),
    ({"model": 3}, "model: Input should be a valid string"),
    ({"model": ""}, "model: String should have at least 1 character"),
    ({"model": "m" * 257}, "model: String should have at most 256 characters"),
    ({"max_tokens": ...}, "max_tokens: Field required"),
    ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": "10"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 1.5}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({"messages": ...}, "messages: Field required"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": "hi"}, "messages: Input should be a valid list"),
    ({"messages": ["hi"]}, "messages.0: Input should be an object"),
    ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
    (
        {"messages": [USER, {"role": "tool", "content": "x"}]},
        "messages.1.role: Input should be 'user', 'assistant' or 'system'",
    ),
    ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content: Input should be a valid"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages must have non-"),
    ({"messages": [user(), USER]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [assistant(), USER]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [user("x")]}, "messages.0.content.0: Input should be an object"),
    ({"messages": [user({"text": "x"})]}, "messages.0.content.0.type: Field required"),
    ({"messages": [user({"type": 1})]}, "messages.0.content.0.type: Input should be a valid str"),
    ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text: Field required"),
    ({"messages": [user({"type": "image"})]}, "messages.0.content.0.source: Field required"),
    (
        {"messages": [user({"type": "image", "source": {"type": "base64", "data": ""}})]},
        "messages.0.content.0.source.media_type: Field required",
    ),
    (
        {"messages": [assistant({"type": "thinking"}), USER]},
        "messages.0.content.0.thinking: Field required",
    ),
    (
        {"messages": [assistant({**CALL, "input": "ls"}), USER]},
        "messages.0.content.0.input: Input should be an object",
    ),
    (
        {"messages": [user(CALL)]},
        "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages",
    ),
    (
        {"messages": [assistant(CALL, {**CALL, "name": "Read"}), USER]},
        "messages.0.content.1: `tool_use` ids must be unique",
    ),
    (
        {"messages": [USER, assistant(CALL), user({**RESULT, "tool_use_id": "t2"})]},
        "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t2. ",
    ),
    (
        {"messages": [user(RESULT), assistant(CALL)]},
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1. ",
    ),
    (
        {"messages": [assistant(CALL, RESULT), USER]},
        "messages.0.content.1: `tool_result` blocks can only be in `user` messages",
    ),
    (
        {"messages": [assistant(CALL), user({**RESULT, "is_error": "yes"})]},
        "messages.1.content.0.is_error: Input should be a valid boolean",
    ),
    (
        {"messages": [assistant(CALL), user({**RESULT, "content": [{"type": "text"}]})]},
        "messages.1.content.0.content.0.text: Field required",
    ),
    ({"system": 5}, "system: Input should be a valid list"),
    ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
    ({"tools": {}}, "tools: Input should be a valid list"),
    ({"tools": [TOOL, TOOL]}, "tools: Tool names must be unique."),
    ({"tools": [{**TOOL, "name": "a b"}]}, "tools.0.name: String should match pattern"),
    ({"tools": [{**TOOL, "name": "a" * 129}]}, "tools.0.name: String should match pattern"),
    ({"tools": [{**TOOL, "name": "é"}]}, "tools.0.name: String should match pattern"),
    ({"tools": [{**TOOL, "name": "a\n"}]}, "tools.0.name: String should match pattern"),
    ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
    ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
    ({"tools": [{**TOOL, "description": 5}]}, "tools.0.description: Input should be a valid str"),
    ({"tools": [{**TOOL, "input_schema": True}]}, "tools.0.input_schema: Input should be an ob"),
    (
        {"tools": [{**TOOL, "input_schema": {"type": "string"}}]},
        "tools.0.input_schema.type: Input should be 'object'",
    ),
    (
        {"tools": [TOOL, {"name": "b", "input_schema": {"properties": {"x": {"type": "strng"}}}}]},
        "tools.1.input_schema.properties.x.type: JSON schema is invalid (draft 2020-12): ",
    ),
    (
        {"tools": [{**TOOL, "input_schema": {"required": "x"}}]},
        "tools.0.input_schema.required: JSON schema is invalid",
    ),
    ({"tool_choice": "auto"}, "tool_choice: Input should be an object"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type: Input should be 'auto', 'any', 'none'"),
    ({"tool_choice": {"type": "any"}}, "tool_choice: 'any' may only be specified while providing"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "Read"}},
        "tool_choice.name: Tool 'Read' not found in provided tools",
    ),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name: Field required"),
    ({"temperature": "hot"}, "temperature: Input should be a valid number"),
    ({"temperature": -0.1}, "temperature: Input should be greater than or equal to 0"),
    ({"temperature": 1.1}, "temperature: Input should be less than or equal to 1"),
    ({"top_p": 2}, "top_p: Input should be less than or equal to 1"),
    ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    ({"top_k": 0.5}, "top_k: Input should be a valid integer"),
    ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
    ({"stop_sequences": ["a", ""]}, "stop_sequences.1: String should have at least 1 character"),
    ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
    ({"thinking": True}, "thinking: Input should be an object"),
    ({"thinking": {"type": "deep"}}, "thinking.type: Input should be 'enabled', 'disabled' or"),
    (
        {"thinking": {"type": "enabled", "budget_tokens": "x"}},
        "thinking.budget_tokens: Input should be a valid integer",
    ),
    ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    ({"metadata": "me"}, "metadata: Input should be an object"),
    ({"output_config": []}, "output_config: Input should be an object"),
    (
        {"output_config": {"format": {"type": "json_schema"}}},
        "output_config.format.schema: Field required",
    ),
]


@pytest.mark.parametrize(("changes", "message"), CASES, ids=[message for _, message in CASES])
def test_a_wrong_value_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(body(**changes))
    assert caught.value.message.startswith(message)
    assert caught.value.field == message.partition(":")[0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the request body is empty"),
        (b" \n", "the request body is empty"),
        (b"{", "the request body is not valid JSON: Expecting property name enclosed in double"),
        (b'{"a":1} x', "the request body is not valid JSON: Extra data at line 1 column 9"),
        (b"\xff\xfe{}", "the request body is not valid UTF-8: byte 0xff at position 0"),
        (b'{"a":NaN}', "the request body is not valid JSON: NaN is not a JSON value"),
        (b'{"a":-Infinity}', "the request body is not valid JSON: -Infinity is not"),
        (b'{"a":1e999}', "the request body is not valid JSON: a number is out of range"),
        (b'{"a":' + b"9" * 5000 + b"}", "the request body is not valid JSON: Exceeds the limit"),
        (b"[1]", "the request body should be a JSON object"),
        (b'"x"', "the request body should be a JSON object"),
        (b"null", "the request body should be a JSON object"),
        (b"[" * 300 + b"]" * 300, "the request body is nested more than 256 levels deep"),
        (b"[" * 10**6, "the request body is nested more than 256 levels deep"),
    ],
)
def test_what_is_no_json_object(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_messages(raw, None)
    assert caught.value.message.startswith(message)


def test_more_values_than_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_VALUES", 1000)
    with pytest.raises(PayloadTooLarge):
        parse_messages(b'{"a":[' + b"[]," * 1000 + b"[]]}", None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"m","stream":true}', Peek('{"model":"m","stream":true}', "m", True)),
        (b'{"model":"m","safeguards":1}', Peek('{"model": "m"}', "m")),
        (b'{"model":5,"stream":"x"}', Peek('{"model":5,"stream":"x"}')),
        (b"[]", Peek("[]")),
        (b"{\xff", Peek("{\ufffd")),
    ],
)
def test_peeking_into_a_refused_body(raw: bytes, expected: Peek) -> None:
    assert peek(raw) == expected


@pytest.mark.parametrize("sequences", [["x"] * 257, ["y" * 1025]])
def test_stop_sequences_are_bounded(sequences: list[str]) -> None:
    body = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "hi"}],
        "stop_sequences": sequences,
    }
    with pytest.raises(InvalidRequest, match="stop_sequences"):
        parse_messages(json.dumps(body).encode(), None)
