"""Random bodies never break the parser or the server; random answers never break the grammar."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from anyclaude.bench.grammar import check_sse
from anyclaude.errors import ApiError, InvalidRequest
from anyclaude.server.schema import parse_messages
from anyclaude.server.sse import sse
from anyclaude.stream import Comment, Emitter, Ping, StreamEvent, message_of
from anyclaude.types import MessagesRequest, Usage
from tests.server.fakes import serving

VALID: dict[str, Any] = {
    "model": "local",
    "max_tokens": 32000,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "system", "content": "now", "output_config": {"effort": "low"}},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "t2", "name": "Read", "input": {"n": [1, {"a": None}]}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t2", "content": "x", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [
                        {"type": "text", "text": "out"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "A"},
                        },
                        {"type": "tool_reference", "tool_name": "WebFetch"},
                    ],
                },
                {"type": "text", "text": "go", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ],
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "tools": [
        {
            "name": "Bash",
            "description": "runs",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"command": {"type": "string", "pattern": "^a"}},
                "required": ["command"],
                "additionalProperties": False,
            },
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
    ],
    "tool_choice": {"type": "tool", "name": "Bash"},
    "metadata": {"user_id": "{}"},
    "thinking": {"type": "enabled", "budget_tokens": 31999},
    "stop_sequences": ["x"],
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "stream": False,
}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["user", "tool_use", "t1", "Bash", "\ud800", "ephemeral", "object", ""]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.sampled_from(["type", "text", "id", "content"])),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, child in value.items():
            found += places(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += places(child, (*path, index))
    return found


PLACES = places(VALID)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, Any]:
    """A valid body in which a few places were dropped, replaced, doubled or given a new key."""
    body = copy.deepcopy(VALID)
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=0, max_size=3)):
        holder: Any = body
        try:
            for step in path[:-1]:
                holder = holder[step]
            value = holder[path[-1]]
            match draw(st.sampled_from(["drop", "replace", "double", "add"])):
                case "drop":
                    del holder[path[-1]]
                case "replace":
                    holder[path[-1]] = draw(JSON)
                case "double" if isinstance(holder, list):
                    holder.insert(path[-1], copy.deepcopy(value))
                case "add" if isinstance(value, dict):
                    value[draw(st.text(max_size=5))] = draw(JSON)
        except (KeyError, IndexError, TypeError):
            continue
    return body


def check_parse(raw: bytes) -> None:
    try:
        result = parse_messages(raw, "application/json")
    except ApiError as error:
        assert isinstance(error, InvalidRequest)
        assert error.message
        return
    assert isinstance(result.request, MessagesRequest)
    assert result.request.messages
    result.body.encode()
    json.dumps([m.role for m in result.request.messages])
    repr(result.request).encode()  # nothing in it is a lone surrogate


@given(mutations())
@example(VALID)
@settings(max_examples=300, deadline=None)
def test_mutated_bodies_are_a_request_or_a_named_error(body: dict[str, Any]) -> None:
    check_parse(json.dumps(body).encode("utf-8", "surrogatepass"))
    check_parse(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_request_or_a_named_error(value: object) -> None:
    check_parse(json.dumps(value).encode())


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_named_error(raw: bytes) -> None:
    check_parse(raw)


@given(st.lists(mutations(), min_size=5, max_size=10))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_is_a_500_over_http(bodies: list[dict[str, Any]]) -> None:
    async def send_all() -> list[httpx.Response]:
        async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
            headers = {"content-type": "application/json"}
            return [
                await client.post("/v1/messages", content=json.dumps(body), headers=headers)
                for body in bodies
            ]

    for response in asyncio.run(send_all()):
        assert response.status_code in (200, 400), response.text
        if response.status_code == 400:
            assert response.json()["error"]["type"] == "invalid_request_error"
        elif response.headers["content-type"] == "application/json":
            assert response.json()["stop_reason"] == "end_turn"
        else:
            assert check_sse(response.text.split("\n")).ok


# --------------------------------------------------------------------------- event grammar

COUNTS = st.integers(0, 2**40)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS)
TEXT = st.text(st.characters(codec=None), max_size=12)
CALLS = st.tuples(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=2), st.integers(1, 5))
SEGMENTS = st.lists(
    st.one_of(
        st.tuples(st.just("text"), TEXT),
        st.tuples(st.just("thinking"), TEXT),
        st.tuples(st.just("call"), CALLS),
        st.tuples(st.just("ping"), st.none()),
        st.tuples(st.just("comment"), TEXT),
    ),
    max_size=12,
)
ENDS = st.one_of(
    st.tuples(st.just("end_turn"), st.none()),
    st.tuples(st.just("max_tokens"), st.none()),
    st.tuples(st.just("stop_sequence"), st.text(min_size=1, max_size=5)),
    st.tuples(st.just("error"), TEXT),
)


def emit(
    segments: list[tuple[str, Any]], end: tuple[str, str | None], usage: Usage
) -> list[StreamEvent]:
    emitter = Emitter("req_1", "model")
    events = emitter.start(usage)
    for kind, value in segments:
        match kind:
            case "text":
                events += emitter.text(value)
            case "thinking":
                events += emitter.thinking(value, "signature")
            case "ping":
                events.append(Ping())
            case "comment":
                events.append(Comment(value))
            case "call":
                id, name, arguments, size = value
                events += emitter.tool_use(id, name)
                text = json.dumps(arguments)
                for start in range(0, len(text), size):
                    events += emitter.tool_json(text[start : start + size])
    reason, detail = end
    if reason == "error":
        return events + emitter.fail("api_error", detail or "")
    return events + emitter.finish(reason, detail, usage)


def wire_lines(events: list[StreamEvent]) -> list[str]:
    return b"".join(sse(event, "req_1") for event in events).decode().splitlines()


@given(SEGMENTS, ENDS, USAGES)
@settings(max_examples=300, deadline=None)
def test_whatever_is_emitted_obeys_the_grammar(
    segments: list[tuple[str, Any]], end: tuple[str, str | None], usage: Usage
) -> None:
    events = emit(segments, end, usage)
    verdict = check_sse(wire_lines(events))
    assert verdict.ok, verdict.problems
    for kind in ("text", "thinking"):
        said = "".join(value for word, value in segments if word == kind)
        heard = "".join(b[kind] for b in verdict.content if b["type"] == kind)
        assert heard == said
    made = [value[:3] for kind, value in segments if kind == "call"]
    calls = [b for b in verdict.content if b["type"] == "tool_use"]
    assert [(b["id"], b["name"]) for b in calls] == [call[:2] for call in made]
    if end[0] == "error":  # which leaves the last block open
        assert verdict.error == {"type": "api_error", "message": end[1]}
        return
    assert [b["input"] for b in calls] == [call[2] for call in made]
    whole = message_of(events)
    spoken = [b for b in verdict.content if b["type"] != "text" or b["text"]]
    assert whole["content"] == spoken
    assert whole["usage"] == verdict.usage
    assert (whole["stop_reason"], whole["stop_sequence"]) == end


@given(SEGMENTS.filter(bool), ENDS, USAGES, st.data())
@settings(max_examples=200, deadline=None)
def test_the_checker_sees_what_is_missing_or_twice(
    segments: list[tuple[str, Any]], end: tuple[str, str | None], usage: Usage, data: st.DataObject
) -> None:
    events = emit(segments, end, usage)
    structure = [i for i, e in enumerate(events) if type(e).__name__ in STRUCTURE]
    index = data.draw(st.sampled_from(structure))
    if data.draw(st.booleans()):
        broken = events[:index] + events[index + 1 :]
    else:
        broken = [*events[: index + 1], events[index], *events[index + 1 :]]
    # An error may come before anything else, so that one alone is a stream too.
    assume({type(e).__name__ for e in broken} - {"Comment", "Ping"} != {"StreamError"})
    assert not check_sse(wire_lines(broken)).ok


STRUCTURE = {"MessageStart", "BlockStart", "BlockStop", "MessageDelta", "MessageStop"}
