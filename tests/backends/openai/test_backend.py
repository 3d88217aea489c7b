"""The backend against servers as strict as the real ones, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from anyclaude.backend import Admission, BackendEvent, Finish, Parsed, Prefill, Resume
from anyclaude.backends.http import Timeouts
from anyclaude.backends.openai.backend import OpenAiBackend, OpenAiOptions
from anyclaude.backends.openai.figures import CHARS_PER_TOKEN
from anyclaude.backends.openai.generation import OpenAiGeneration
from anyclaude.backends.signatures import SignatureLedger
from anyclaude.errors import ConfigError, EngineFailed, UpstreamError
from anyclaude.types import (
    MediaBlock,
    MessagesRequest,
    Sampling,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from tests.backends.openai.kit import BASH, READ, ask, assistant, backend_request, read, user
from tests.doubles.openai_upstream import (
    DONE,
    Answer,
    OpenAiUpstream,
    call,
    chunk,
    event,
    said,
    stream,
    usage,
    words,
)

LS = '{"command":"ls"}'


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


_made: list[OpenAiBackend] = []


@pytest.fixture
async def upstream() -> AsyncIterator[OpenAiUpstream]:
    """Backends made for it are closed before it ends."""
    async with OpenAiUpstream() as server:
        try:
            yield server
        finally:
            while _made:
                await _made.pop().close()


def backend(
    upstream: OpenAiUpstream,
    profile: str = "generic",
    signatures: SignatureLedger | None = None,
    **options: Any,
) -> OpenAiBackend:
    options = {"name": "up", "base_url": upstream.base_url, "profile": profile, **options}
    _made.append(
        OpenAiBackend(OpenAiOptions(**options), signatures or SignatureLedger(), clock=Clock())
    )
    return _made[-1]


async def events(
    made: OpenAiBackend, request: MessagesRequest, model: str = "m"
) -> tuple[Admission, list[BackendEvent]]:
    generation = await made.open(backend_request(request, model))
    return generation.admission, [event_ async for event_ in generation]


async def finished(made: OpenAiBackend, request: MessagesRequest) -> Finish:
    _, told = await events(made, request)
    assert isinstance(told[-1], Finish)
    return told[-1]


async def fault(made: OpenAiBackend, request: MessagesRequest | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await events(made, request or ask(user("hi")))
    return raised.value


async def test_a_plain_answer(upstream: OpenAiUpstream) -> None:
    made = backend(upstream, api_key="secret", headers=(("x-team", "a"),))
    upstream.say(said("Hello"))
    admission, told = await events(made, ask(user("hi")))
    *parsed, finish = told
    assert "".join(p.text for p in parsed if isinstance(p, Parsed)) == "Hello"
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.usage, finish.estimated) == ("stop", Usage(50, 0, 0, 5), False)
    assert finish.prefill_ms > 0
    assert (admission.backend, admission.model, admission.estimated) == ("up", "m", True)
    assert json.loads(admission.rendered_prompt) == upstream.bodies[0]
    headers = {name.lower(): value for name, value in upstream.headers[0].items()}
    assert headers["authorization"] == "Bearer secret"
    assert headers["x-team"] == "a"


async def test_a_tool_round_trip_as_the_anthropic_sdk_reads_it(upstream: OpenAiUpstream) -> None:
    upstream.kind = "openai"
    made = backend(upstream, "openai")
    upstream.say(
        stream(
            chunk({"role": "assistant", "content": None}),
            *words(["I ", "look."]),
            chunk(call("", id="call_a", name="Bash")),
            chunk(call(LS[:6])),
            chunk(call(LS[6:])),
            chunk(call("", index=1, id="call_b", name="Read")),
            chunk(call('{"path":"a"}', index=1)),
            chunk(finish="tool_calls"),
            usage(60, 20, prompt_tokens_details={"cached_tokens": 40}),
        )
    )
    request = ask(user("list"), tools=(BASH, READ))
    generation = await made.open(backend_request(request))
    message = await read(request, aiter(generation))
    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens == 20
    assert message.usage.cache_read_input_tokens == 40
    assert message.usage.output_tokens == 20
    _, first, second = message.content
    assert first.type == "tool_use"
    assert second.type == "tool_use"
    assert (first.name, first.input) == ("Bash", {"command": "ls"})
    assert (second.name, second.input) == ("Read", {"path": "a"})
    uses = [
        ToolUseBlock(first.id, "Bash", {"command": "ls"}),
        ToolUseBlock(second.id, "Read", {"path": "a"}),
    ]
    results = [ToolResultBlock(use.id, (TextBlock("ok"),)) for use in reversed(uses)]
    upstream.say(said("Done."))
    again = ask(user("list"), assistant("I look.", *uses), user(*results), tools=(BASH, READ))
    assert (await finished(made, again)).reason == "stop"
    assert upstream.refused == []


RICH = ask(
    user("see", MediaBlock("image", "image/png", "iVBORw0KGgo=", "base64")),
    assistant(ThinkingBlock("hm", "s"), "so", ToolUseBlock("toolu_1", "mcp.x", {"a": [1]})),
    user(
        ToolResultBlock("toolu_1", (MediaBlock("image", "image/webp", "UklGRg==", "base64"),)),
        "on",
    ),
    system=(TextBlock("s"),),
    tools=(ToolDefinition("mcp.x", "d", {"$schema": "x", "properties": {"a": True}}), BASH),
    stop_sequences=tuple("abcdef"),
    sampling=Sampling(0.5, 0.9, 40),
    output_schema={"type": "object", "properties": {}, "additionalProperties": True},
    max_tokens=2000,
)


@pytest.mark.parametrize("kind", ["openai", "lmstudio", "vllm-mlx", "ollama"])
async def test_nothing_in_a_rich_request_is_refused(upstream: OpenAiUpstream, kind: str) -> None:
    upstream.kind = kind
    upstream.say(said("ok"))
    made = backend(upstream, kind)
    await finished(made, RICH)
    assert upstream.refused == []


async def test_images_are_left_out_once_a_model_was_seen_to_take_none(
    upstream: OpenAiUpstream,
) -> None:
    upstream.kind = "mlx-lm"
    made = backend(upstream, "mlx-lm")
    upstream.say(said("ok"), said("ok"))
    admission, _ = await events(made, RICH)
    assert "up refused images for m: sent again without" in admission.notes
    assert "the model has no vision" in json.dumps(upstream.bodies[-1])
    await events(made, RICH)
    assert len(upstream.bodies) == 3


async def test_what_a_server_refuses_is_left_out_from_then_on(upstream: OpenAiUpstream) -> None:
    upstream.kind = "mistral"
    made = backend(upstream)
    upstream.say(said("ok"), said("ok"))
    request = ask(user("hi"), sampling=Sampling(temperature=0.5))
    admission, _ = await events(made, request)
    assert admission.notes == ("up refused stream_options for m: sent again without",)
    admission, _ = await events(made, request)
    assert admission.notes == ()
    assert [len(upstream.refused), len(upstream.bodies)] == [1, 3]
    assert upstream.bodies[-1]["temperature"] == 0.5


async def test_it_is_remembered_for_that_model_alone(upstream: OpenAiUpstream) -> None:
    upstream.kind = "vllm-mlx"
    made = backend(upstream, "vllm-mlx")
    upstream.say(said("ok"), said("ok"))
    request = ask(user("hi"), max_tokens=32000)
    await events(made, request, "a")
    await events(made, request, "b")
    assert [(body["model"], body["max_tokens"]) for body in upstream.bodies] == [
        ("a", 32000),
        ("a", 8192),
        ("b", 32000),
        ("b", 8192),
    ]


async def test_lessons_are_bounded(upstream: OpenAiUpstream) -> None:
    refusal = {"error": {"message": "Unknown parameter: 'top_p'", "param": None}}
    body = [json.dumps(refusal).encode()]
    for _ in range(3):
        upstream.say(Answer(body, "application/json", 400))
    made = backend(upstream)
    error = await fault(made, ask(user("hi"), sampling=Sampling(top_p=0.5)))
    assert (error.status, error.message) == (400, "Unknown parameter: 'top_p'")
    assert len(upstream.bodies) == 2


async def test_the_window_is_learned_and_kept_to(upstream: OpenAiUpstream) -> None:
    text = (
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
        "length is 16384 tokens and your request has 2000 input tokens (32000 > 16384 - 2000)."
    )
    refusal = json.dumps({"error": {"message": text, "type": "BadRequestError", "code": 400}})
    full = stream(*words(["ok"]), chunk(finish="stop"), usage(2000, 1))
    upstream.say(Answer([refusal.encode()], "application/json", 400), full, full)
    made = backend(upstream, "vllm")
    request = ask(user("x" * 4000), max_tokens=32000)
    await finished(made, request)
    assert [body["max_tokens"] for body in upstream.bodies] == [32000, 14184]
    assert made.figures.ratio("m") == 2.0
    await finished(made, request)
    assert len(upstream.bodies) == 3


async def test_an_overflow_keeps_the_clients_words(upstream: OpenAiUpstream) -> None:
    text = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9000 tokens."
    )
    error = {"error": {"message": text, "code": "context_length_exceeded", "param": "messages"}}
    upstream.say(Answer([json.dumps(error).encode()], "application/json", 400))
    raised = await fault(backend(upstream))
    assert raised.overflow
    assert raised.message == "prompt is too long: 9000 tokens > 8192 maximum"


@pytest.mark.parametrize(
    ("answer", "category", "message"),
    [
        (stream(done=False), "schema", "up sent an answer with nothing in it"),
        (stream(), "schema", "up sent an answer with nothing in it"),
        (stream(*words(["a"]), done=False), "schema", "up sent an answer without an end"),
        (stream(b"data: {half\n\n"), "schema", "no piece of an answer"),
        (stream(b"data: 3\n\n"), "schema", "no piece of an answer"),
        (Answer([b"<html><title>Hi</title></html>"], "text/html"), "schema", "Hi"),
        (Answer([b"nonsense"], "application/json"), "schema", "no piece of an answer"),
        (stream(chunk(finish="error")), "unknown", "broke off"),
        (stream(chunk(finish="content_filter")), "invalid_input", "content filter"),
        (stream(chunk(finish="SAFETY")), "invalid_input", "content filter"),
        (stream(*words(["a"]), chunk(finish="network_error")), "unknown", "broke off"),
        (stream(chunk(finish="insufficient_system_resource")), "resource", "overloaded"),
        (stream(chunk(finish="model_context_window_exceeded")), "resource", "prompt is too long: "),
        (stream({"error": {"message": "busy", "code": 503}}), "resource", "busy"),
        (stream({"error": "it burned"}), "unknown", "it burned"),
        (stream(*words(["a"]), {"error": {"message": "late", "code": 502}}), "network", "late"),
        (
            stream(b'event: error\ndata: {"message": "odd", "code": 400}\n\n'),
            "invalid_input",
            "odd",
        ),
        (Answer([b'{"error": "none"}'], "application/json"), "unknown", "none"),
        (stream(*words(["a"]), done=False, cut=True), "", ""),
    ],
)
async def test_faults_inside_an_answer(
    upstream: OpenAiUpstream, answer: Answer, category: str, message: str
) -> None:
    upstream.say(answer)
    error = await fault(backend(upstream))
    assert message in error.message
    assert error.category == category or not category
    assert error.backend == "up"


async def test_the_segments_before_a_fault_are_told(upstream: OpenAiUpstream) -> None:
    made = backend(upstream)
    upstream.say(stream(*words(["a"]), {"error": {"message": "late", "code": 502}}))
    generation = await made.open(backend_request(ask(user("hi"))))
    told: list[BackendEvent] = []
    with pytest.raises(UpstreamError):
        async for event_ in generation:
            told.append(event_)
    assert [p.text for p in told if isinstance(p, Parsed)] in (["a"], [])


async def test_silence_is_noticed(upstream: OpenAiUpstream) -> None:
    never = asyncio.Event()
    upstream.say(stream(*words(["a"]), never))
    made = backend(upstream, timeouts=Timeouts(idle=0.05))
    error = await fault(made)
    assert (error.status, error.category, error.retryable) == (504, "timeout", True)
    await upstream.left.wait()


async def test_an_answer_is_over_though_the_server_keeps_the_line(upstream: OpenAiUpstream) -> None:
    never = asyncio.Event()
    upstream.say(stream(*words(["a"]), chunk(finish="stop"), never))
    made = backend(upstream, timeouts=Timeouts(idle=0.05))
    finish = await finished(made, ask(user("hi")))
    assert (finish.reason, finish.estimated) == ("stop", True)
    await upstream.left.wait()


@pytest.mark.parametrize(
    "tail", [[], [DONE], [b": bye\n\n", DONE], [b"data: [DONE]"], [b"data: \n\n", DONE], [b"junk"]]
)
async def test_ends_of_streams(upstream: OpenAiUpstream, tail: list[bytes]) -> None:
    upstream.say(stream(*words(["a"]), chunk(finish="stop"), usage(9, 3), *tail, done=False))
    made = backend(upstream)
    finish = await finished(made, ask(user("hi")))
    assert finish.usage == Usage(9, output_tokens=3)


async def test_connections_are_used_again(upstream: OpenAiUpstream) -> None:
    made = backend(upstream)
    for _ in range(3):
        upstream.say(said("a"))
        generation = await made.open(backend_request(ask(user("hi"))))
        _ = [event_ async for event_ in generation]
        await generation._reading
    assert len(upstream.peers) == 1


async def test_no_reason_but_an_end(upstream: OpenAiUpstream) -> None:
    upstream.say(stream(*words(["a"])))
    made = backend(upstream)
    assert (await finished(made, ask(user("hi")))).reason == "stop"


async def test_usage_beside_the_last_choice(upstream: OpenAiUpstream) -> None:
    last = chunk(finish="length", usage={"prompt_tokens": 9, "completion_tokens": 3})
    upstream.say(stream(*words(["a"]), last))
    made = backend(upstream)
    finish = await finished(made, ask(user("hi")))
    assert (finish.reason, finish.usage) == ("length", Usage(9, output_tokens=3))


async def test_without_usage_it_is_counted_by_characters_and_marked(
    upstream: OpenAiUpstream,
) -> None:
    upstream.say(stream(*words(["x" * 38, "x" * 38]), chunk(finish="stop")))
    made = backend(upstream)
    _, told = await events(made, ask(user("y" * 380)))
    finish = told[-1]
    assert isinstance(finish, Finish)
    assert finish.estimated
    assert finish.usage == Usage(100, output_tokens=20)
    assert sum(p.tokens for p in told if isinstance(p, Parsed)) == 20


async def test_estimates_learn_from_the_true_usage(upstream: OpenAiUpstream) -> None:
    request = ask(user("y" * 400))
    made = backend(upstream)
    assert await made.count(backend_request(request)) == round(400 / CHARS_PER_TOKEN)
    upstream.say(stream(*words(["a"]), chunk(finish="stop"), usage(200, 1)))
    await finished(made, request)
    assert await made.count(backend_request(request)) == 200
    assert await made.count(backend_request(request, "other")) == round(400 / CHARS_PER_TOKEN)


async def test_an_answer_in_one_body(upstream: OpenAiUpstream) -> None:
    whole = {
        "choices": [
            {
                "message": {
                    "reasoning": "hm",
                    "content": "I look.",
                    "tool_calls": [{"function": {"name": "Bash", "arguments": LS}}],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    }
    upstream.say(Answer([json.dumps(whole).encode()], "application/json; charset=utf-8"))
    made = backend(upstream)
    request = ask(user("hi"), tools=(BASH,))
    generation = await made.open(backend_request(request))
    message = await read(request, aiter(generation))
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.usage.output_tokens == 3


async def test_an_event_cut_anywhere_says_the_same(upstream: OpenAiUpstream) -> None:
    whole = event(chunk({"content": "größer"})) + event(chunk(finish="stop")) + DONE
    pieces: list[bytes | asyncio.Event] = [whole[i : i + 1] for i in range(len(whole))]
    upstream.say(Answer(pieces))
    made = backend(upstream)
    _, told = await events(made, ask(user("hi")))
    assert "".join(p.text for p in told if isinstance(p, Parsed)) == "größer"


async def test_keepalive_comments_are_progress(upstream: OpenAiUpstream) -> None:
    ready = asyncio.Event()
    upstream.say(stream(b": keepalive 512/2048\n\n", ready, *words(["a"]), chunk(finish="stop")))
    made = backend(upstream)
    generation = await made.open(backend_request(ask(user("hi"))))
    source = aiter(generation)
    assert await anext(source) == Prefill(512, 2048)
    ready.set()
    assert isinstance(await anext(source), Parsed)
    await generation.cancel()


async def test_decoding_lasts_from_the_first_words_to_the_last(upstream: OpenAiUpstream) -> None:
    ready = asyncio.Event()
    upstream.say(stream(*words(["a"]), ready, *words(["b"]), chunk(finish="stop")))
    source = aiter(await backend(upstream).open(backend_request(ask(user("hi")))))
    assert isinstance(await anext(source), Parsed)
    ready.set()
    finish = [event_ async for event_ in source][-1]
    assert isinstance(finish, Finish)
    assert finish.decode_ms > 0


async def test_a_stop_sequence_of_ours_closes_upstream(upstream: OpenAiUpstream) -> None:
    never = asyncio.Event()
    upstream.say(stream(*words(["one two"]), never))
    made = backend(upstream)
    request = ask(user("hi"), stop_sequences=("a!", "b!", "c!", "d!", " two"))
    _, told = await events(made, request)
    assert "".join(p.text for p in told if isinstance(p, Parsed)) == "one"
    finish = told[-1]
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.stop_sequence) == ("stop_sequence", " two")
    await upstream.left.wait()


async def test_cancel_closes_upstream_at_once(upstream: OpenAiUpstream) -> None:
    never = asyncio.Event()
    upstream.say(stream(*words(["a"]), never))
    made = backend(upstream)
    generation = await made.open(backend_request(ask(user("hi"))))
    await anext(aiter(generation))
    await generation.cancel()
    await generation.cancel()
    await upstream.left.wait()
    with pytest.raises(EngineFailed):
        await anext(aiter(generation))


async def test_reading_goes_on_where_it_was(upstream: OpenAiUpstream) -> None:
    ready = asyncio.Event()
    upstream.say(stream(*words(["a"]), ready, *words(["b"]), chunk(finish="stop"), usage()))
    made = backend(upstream)
    generation = await made.open(backend_request(ask(user("hi"))))
    assert isinstance(generation, OpenAiGeneration)
    waiting = asyncio.ensure_future(_text(generation))
    assert await waiting == "a"
    ready.set()
    assert await _text(generation) == "b"
    await generation.cancel()


async def _text(generation: OpenAiGeneration) -> str:
    async for told in generation:
        if isinstance(told, Parsed):
            return told.text
    return ""


async def test_a_client_that_reads_slowly_holds_the_server_back(upstream: OpenAiUpstream) -> None:
    upstream.say(stream(*words(["x"] * 5000), chunk(finish="stop")))
    made = backend(upstream)
    _, told = await events(made, ask(user("hi")))
    assert sum(len(p.text) for p in told if isinstance(p, Parsed)) == 5000


async def test_own_reasoning_is_replayed_to_its_model_and_to_no_other(
    upstream: OpenAiUpstream,
) -> None:
    signatures = SignatureLedger()
    made = backend(upstream, "vllm", signatures)
    upstream.say(stream(chunk({"reasoning": "hm"}), *words(["a"]), chunk(finish="stop")))
    request = ask(user("hi"), thinking=Thinking(True))
    generation = await made.open(backend_request(request))
    message = await read(request, aiter(generation))
    block = message.content[0]
    assert block.type == "thinking"
    turn = assistant(ThinkingBlock(block.thinking, block.signature), "a")
    for model in ("m", "other"):
        upstream.say(said("b"))
        await events(made, ask(user("hi"), turn, user("on")), model)
    replayed = [body["messages"][1].get("reasoning") for body in upstream.bodies[1:]]
    assert replayed == ["hm", None]
    other = backend(upstream, "vllm", signatures, name="down")
    upstream.say(said("b"))
    await events(other, ask(user("hi"), turn, user("on")))
    assert "reasoning" not in upstream.bodies[-1]["messages"][1]


# -------------------------------------------------------------------------------- the server


async def test_the_profile_is_found_out_once(upstream: OpenAiUpstream) -> None:
    upstream.models = {"data": [{"id": "qwen", "owned_by": "vllm", "max_model_len": 8192}]}
    made = backend(upstream, "auto")
    upstream.say(said("a"), said("b"))
    request = ask(user("hi"), sampling=Sampling(top_k=3), max_tokens=32000)
    await finished(made, request)
    await events(made, request, "qwen")
    assert upstream.listed == 1
    assert (await made.profile()).name == "vllm"
    assert upstream.bodies[0]["top_k"] == 3
    assert upstream.bodies[0]["max_tokens"] == 32000
    assert upstream.bodies[1]["max_tokens"] < 8192


async def test_a_server_without_a_list_is_told_by_its_headers(upstream: OpenAiUpstream) -> None:
    upstream.model_headers = {"server": "BaseHTTP/0.6 Python/3.11.7"}
    made = backend(upstream, "auto")
    assert (await made.profile()).name == "mlx-lm"
    upstream.say(said("a"))
    await events(made, ask(user("hi")), "")
    assert upstream.bodies[0]["model"] == "default_model"
    await made.health()


async def test_a_server_that_is_away_is_asked_again(upstream: OpenAiUpstream) -> None:
    gone = backend(upstream, "auto", base_url="http://127.0.0.1:9/v1")
    error = await fault(gone)
    assert (error.category, error.retryable) == ("network", True)
    with pytest.raises(UpstreamError):
        await gone.health()
    assert (await gone.profile()).name == "generic"


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ({"data": [{"id": "text-embedding-x"}, {"id": "chat"}]}, "chat"),
        ({"data": []}, "claude-x"),
        (None, "claude-x"),
    ],
)
@pytest.mark.parametrize("profile", ["auto", "generic"])
async def test_without_a_name_the_servers_own_model_answers(
    upstream: OpenAiUpstream, models: object, expected: str, profile: str
) -> None:
    upstream.models = models
    made = backend(upstream, profile)
    upstream.say(said("a"))
    await events(made, ask(user("hi")), "")
    assert upstream.bodies[0]["model"] == expected


async def test_models_are_listed(upstream: OpenAiUpstream) -> None:
    upstream.models = {"data": [{"id": "a"}, {"id": "b"}]}
    made = backend(upstream)
    assert [model.id for model in await made.models()] == ["a", "b"]
    upstream.models = None
    with pytest.raises(UpstreamError):
        await made.models()


async def test_nothing_is_written_anew(upstream: OpenAiUpstream) -> None:
    made = backend(upstream)
    request = replace(backend_request(ask(user("hi"))), resume=Resume("a", ""))
    with pytest.raises(EngineFailed):
        await made.open(request)
    assert upstream.bodies == []


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"backends\.up\.profile: 'nope' is none of auto, "):
        OpenAiBackend(OpenAiOptions("up", "http://x/v1", profile="nope"), SignatureLedger())


def test_the_key_is_in_no_text_of_the_options() -> None:
    options = OpenAiOptions("up", "http://x/v1", api_key="secret", headers=(("x-key", "hidden"),))
    assert "secret" not in repr(options)
    assert "hidden" not in repr(options)


async def test_a_lone_surrogate_is_no_trouble(upstream: OpenAiUpstream) -> None:
    made = backend(upstream)
    upstream.say(said("a"))
    await finished(made, ask(user("\ud800")))
    assert upstream.bodies[0]["messages"][0]["content"] == "?"
