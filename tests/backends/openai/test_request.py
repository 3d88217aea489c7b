"""A request's fields: what is sent to which server, and what is told as lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyclaude.backends.openai.profiles import PROFILES
from anyclaude.backends.openai.request import LEAST_OUTPUT, Learned
from anyclaude.types import (
    JsonObject,
    MediaBlock,
    MessagesRequest,
    Sampling,
    TextBlock,
    Thinking,
    ToolChoice,
    ToolDefinition,
)
from tests.backends.openai.kit import BASH, READ, ask, converted, user
from tests.doubles.openai_rules import RULES

TITLE: JsonObject = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


def body(request: MessagesRequest, profile: str = "generic", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(converted(request, profile, **more).body))
    return made


def test_a_plain_request() -> None:
    request = ask(user("hi"), sampling=Sampling(0.5, 0.9), stop_sequences=("END",))
    assert body(request) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 100,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_nothing_that_is_anthropics_own_is_ever_sent() -> None:
    tool = ToolDefinition(
        "Bash", "d", {}, type="custom", raw={"cache_control": {"type": "ephemeral"}}
    )
    request = ask(
        user("hi"),
        tools=(tool,),
        metadata={"user_id": "secret"},
        cache_mark=0,
        thinking=Thinking(True, 2000),
        system=(TextBlock("s"),),
    )
    for profile in PROFILES:
        sent = json.dumps(body(request, profile))
        for word in ("cache_control", "user_id", "secret", "budget_tokens", "metadata"):
            assert word not in sent, profile


@pytest.mark.parametrize(
    ("profile", "field"),
    [("generic", "max_tokens"), ("openai", "max_completion_tokens"), ("vllm", "max_tokens")],
)
def test_the_limit_goes_under_the_servers_name_for_it(profile: str, field: str) -> None:
    assert body(ask(user("hi")), profile)[field] == 100


def test_top_k_goes_where_it_is_known_and_is_a_loss_elsewhere() -> None:
    request = ask(user("hi"), sampling=Sampling(top_k=40))
    assert body(request, "vllm")["top_k"] == 40
    done = converted(request, "openai")
    assert "top_k" not in done.body
    assert done.losses == ("top_k isn't passed on: the server has no such field",)


@pytest.mark.parametrize(
    ("choice", "profile", "sent"),
    [
        (ToolChoice(), "generic", None),
        (ToolChoice("any"), "generic", "required"),
        (ToolChoice("none"), "generic", "none"),
        (
            ToolChoice("tool", "Read"),
            "generic",
            {"type": "function", "function": {"name": "Read"}},
        ),
        (ToolChoice("any"), "lmstudio", "required"),
        (ToolChoice("tool", "Read"), "lmstudio", "required"),
        (ToolChoice("any"), "mlx-lm", None),
    ],
)
def test_tool_choice(choice: ToolChoice, profile: str, sent: object) -> None:
    request = ask(user("hi"), tools=(BASH, READ), tool_choice=choice)
    assert body(request, profile).get("tool_choice") == sent


def test_one_tool_is_demanded_by_offering_no_other_where_names_are_refused() -> None:
    request = ask(user("hi"), tools=(BASH, READ), tool_choice=ToolChoice("tool", "Read"))
    offered = body(request, "lmstudio")["tools"]
    assert [tool["function"]["name"] for tool in offered] == ["Read"]


def test_no_calls_are_had_by_offering_no_tools_where_there_is_no_tool_choice() -> None:
    request = ask(user("hi"), tools=(BASH,), tool_choice=ToolChoice("none"))
    assert "tools" not in body(request, "mlx-lm")
    demanded = ask(user("hi"), tools=(BASH,), tool_choice=ToolChoice("any"))
    assert converted(demanded, "mlx-lm").losses == (
        "a call can't be demanded: the server has no tool_choice",
    )


def test_one_call_at_a_time() -> None:
    request = ask(user("hi"), tools=(BASH,), tool_choice=ToolChoice(disable_parallel=True))
    assert body(request)["parallel_tool_calls"] is False
    done = converted(request, "lmstudio")
    assert "parallel_tool_calls" not in done.body
    assert "one call at a time" in done.losses[0]


def test_choices_without_tools_are_not_sent() -> None:
    sent = body(ask(user("hi"), tool_choice=ToolChoice("any", disable_parallel=True)))
    assert not sent.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_stop_sequences_over_the_servers_number_are_ours_to_watch() -> None:
    request = ask(user("hi"), stop_sequences=tuple("abcdef"))
    done = converted(request, "openai")
    assert done.body["stop"] == ["a", "b", "c", "d"]
    assert done.stops == ("e", "f")
    refused = converted(request, "openai", learned=Learned(fields=frozenset({"stop"})))
    assert refused.stops == tuple("abcdef")
    assert refused.losses == ()


def test_an_answers_schema() -> None:
    sent = body(ask(user("hi"), output_schema=TITLE))["response_format"]
    assert sent == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": TITLE, "strict": True},
    }
    open_ = {**TITLE, "additionalProperties": True}
    assert body(ask(user("hi"), output_schema=open_))["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": open_,
        "strict": False,
    }


def test_an_answers_schema_is_a_loss_where_it_cannot_be_held_to_it() -> None:
    plain, tools = (
        ask(user("hi"), output_schema=TITLE),
        ask(user("hi"), output_schema=TITLE, tools=(BASH,)),
    )
    assert "response_format" in body(plain, "vllm-mlx")
    for request, profile in ((plain, "mlx-lm"), (tools, "vllm-mlx")):
        done = converted(request, profile)
        assert "response_format" not in done.body
        assert "isn't held to its schema" in done.losses[0]


@pytest.mark.parametrize(
    ("profile", "thinking", "sent"),
    [
        ("openai", Thinking(True, 2000), {"reasoning_effort": "low"}),
        ("openai", Thinking(True, 10000), {"reasoning_effort": "medium"}),
        ("openai", Thinking(True, 31999), {"reasoning_effort": "high"}),
        ("openai", Thinking(True), {}),
        ("openai", None, {}),
        ("ollama", None, {"reasoning_effort": "none"}),
        ("ollama", Thinking(True), {}),
        ("vllm", None, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("mlx-lm", Thinking(True, 5), {"chat_template_kwargs": {"enable_thinking": True}}),
        ("openrouter", Thinking(True, 4000), {"reasoning": {"max_tokens": 4000}}),
        ("openrouter", Thinking(True, 99999), {"reasoning": {"max_tokens": 31999}}),
        ("openrouter", Thinking(True, 100), {"reasoning": {"enabled": True}}),
        ("openrouter", Thinking(False), {"reasoning": {"enabled": False}}),
        ("generic", Thinking(True, 4000), {}),
    ],
)
def test_thinking(profile: str, thinking: Thinking | None, sent: object) -> None:
    made = body(ask(user("hi"), thinking=thinking, max_tokens=32000), profile)
    keys = {"reasoning_effort", "reasoning", "chat_template_kwargs"}
    assert {key: made[key] for key in keys & made.keys()} == sent


def test_deferred_tools_are_offered_where_the_model_can_call_no_others() -> None:
    request = ask(user("hi"), tools=(BASH,))
    for profile, names in (("openai", ["Bash", "Read"]), ("mlx-lm", ["Bash"])):
        offered = body(request, profile, tools=(BASH, READ))["tools"]
        assert [tool["function"]["name"] for tool in offered] == names


def test_schemas_lose_what_a_server_has_no_use_for() -> None:
    schema: JsonObject = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"a": True, "f": {"type": "string", "format": "uri"}},
    }
    request = ask(user("hi"), tools=(ToolDefinition("T", "d", schema),))
    assert body(request)["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"a": {}, "f": {"type": "string", "format": "uri"}},
    }
    done = converted(request, learned=Learned(keywords=frozenset({"format"})))
    assert "format" not in json.dumps(done.body)
    assert done.losses == ("format was left out of the tools' schemas: the server refused it",)


def test_long_descriptions_go_into_the_system_prompt_where_they_are_refused() -> None:
    tool = ToolDefinition("T", "x" * 3000, {})
    request = ask(user("hi"), tools=(tool,), system=(TextBlock("Be brief."),))
    made = body(request, learned=Learned(description=1024))
    assert made["tools"][0]["function"]["description"] == "x" * 1024
    assert made["messages"][0]["content"] == "Be brief.\n\n# The tool T\n" + "x" * 3000


def test_fields_refused_before_are_left_out_and_told() -> None:
    request = ask(user("hi"), sampling=Sampling(temperature=0.2))
    learned = Learned(fields=frozenset({"temperature", "stream_options", "top_k"}))
    done = converted(request, learned=learned)
    assert not done.body.keys() & learned.fields
    assert done.losses == ("temperature was left out: the server refused it before",)


def test_the_output_is_cut_to_what_the_server_takes() -> None:
    request = ask(user("hi"), max_tokens=32000)
    assert body(request, learned=Learned(max_tokens=8192))["max_tokens"] == 8192
    assert body(request, learned=Learned(max_tokens=99999))["max_tokens"] == 32000
    long = ask(user("x" * 4000), max_tokens=32000)  # about 1,000 tokens
    assert body(long, learned=Learned(window=16000))["max_tokens"] == 14900
    assert body(long, learned=Learned(window=1000))["max_tokens"] == LEAST_OUTPUT
    assert body(long, learned=Learned(token_limit="max_completion_tokens")).keys() >= {
        "max_completion_tokens"
    }
    small = ask(user("x" * 4000), max_tokens=10)
    assert body(small, learned=Learned(window=1000))["max_tokens"] == 10


def test_the_prompts_size_counts_text_calls_tools_and_images_but_no_bytes_of_them() -> None:
    plain = converted(ask(user("x" * 100)))
    assert (plain.characters, plain.images) == (100, 0)
    image = MediaBlock("image", "image/png", "A" * 100_000, "base64")
    seen = converted(ask(user("x" * 100, image)))
    assert (seen.characters, seen.images) == (100, 1)
    assert converted(ask(user("x" * 100), tools=(BASH,))).characters > 200


@pytest.mark.parametrize("name", ["mcp__server.with.dots__read", "x" * 90, "größe"])
def test_tool_names_fit_and_lead_back(name: str) -> None:
    request = ask(user("hi"), tools=(ToolDefinition(name, "d", {}),))
    done = converted(request, "openai")
    assert RULES["vllm-mlx"]({**done.body, "max_tokens": 1}) is None
    sent = body(request, "openai")["tools"][0]["function"]["name"]
    assert done.names.own(sent) == name
    assert done.names.own("Unheard") == "Unheard"
