"""Refusals of real servers, and what they teach."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyclaude.backends.faults import read_error
from anyclaude.backends.openai.learn import Lesson, learn
from anyclaude.backends.openai.request import Learned
from anyclaude.types import JsonObject

BODY: JsonObject = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "Bash",
                "description": "x" * 2000,
                "parameters": {
                    "type": "object",
                    "properties": {"n": {"type": "number", "exclusiveMinimum": 0}},
                },
            },
        }
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tokens": 32000,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "stop": ["END"],
    "response_format": {"type": "json_schema"},
    "reasoning_effort": "low",
    "chat_template_kwargs": {"enable_thinking": False},
    "stream": True,
    "stream_options": {"include_usage": True},
}


def taught(error: object, *, images: bool = False, learned: Learned | None = None) -> Lesson | None:
    said = read_error(json.dumps(error).encode())
    return learn(learned or Learned(), said, BODY, images=images)


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }
    }


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (openai("Unrecognized request argument supplied: reasoning_effort"), "reasoning_effort"),
        (openai("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter"), "top_k"),
        (
            openai(
                "Unsupported value: 'temperature' does not support 0.5 with this model. Only the "
                "default (1) value is supported.",
                "temperature",
                "unsupported_value",
            ),
            "temperature",
        ),
        (
            openai(
                "Unsupported parameter: 'stop' is not supported with this model.",
                "stop",
                "unsupported_parameter",
            ),
            "stop",
        ),
        (openai("Unsupported parameter: 'parallel_tool_calls'"), "parallel_tool_calls"),
        # Mistral
        (
            {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "stream_options"],
                        "msg": "Extra inputs are not permitted",
                    }
                ]
            },
            "stream_options",
        ),
        # Groq
        (openai("property 'top_k' is unsupported"), "top_k"),
        (openai("property 'chat_template_kwargs' is unsupported"), "chat_template_kwargs"),
        # LiteLLM
        (
            openai(
                "litellm.UnsupportedParamsError: openai does not support parameters: "
                "['top_k'], for model=gpt-4o."
            ),
            "top_k",
        ),
        # LM Studio, llama.cpp
        ({"error": "Unsupported param: tool_choice"}, "tool_choice"),
        # Google
        (
            openai('Invalid JSON payload received. Unknown name "top_k": Cannot find field.'),
            "top_k",
        ),
        # Ollama
        (openai('"gemma3" does not support thinking'), "reasoning_effort"),
        (openai("invalid reasoning value: 'none' (must be \"high\")"), "reasoning_effort"),
        (openai("tools and response_format cannot be combined"), "response_format"),
    ],
)
def test_a_field_that_is_not_taken(error: object, field: str) -> None:
    lesson = taught(error)
    assert lesson is not None
    assert field in lesson.learned.fields
    assert lesson.refused == field


@pytest.mark.parametrize(
    "error",
    [
        openai("The model `m` does not exist or you do not have access to it."),
        openai("Invalid API key"),
        openai("Rate limit reached"),
        openai("registry.ollama.ai/library/gemma:2b does not support tools"),
        openai('"auto" tool choice requires --enable-auto-tool-choice'),
        openai("Unexpected error: please stop and think about the temperature"),
        openai("Unknown parameter: 'messages[0].name'.", "messages[0].name", "unknown_parameter"),
        {"error": "Only 'text' content type is supported."},
        {},
    ],
)
def test_what_teaches_nothing(error: object) -> None:
    assert taught(error) is None


@pytest.mark.parametrize(
    "message",
    [
        "Only 'text' content type is supported.",
        "Invalid content type. image_url is only supported by certain models.",
        "image input is not supported - hint: if this is unexpected, provide the mmproj",
        "No endpoints found that support image input",
        "Model does not support images. Please use a model that does.",
        "this model is missing data required for image input",
        "smol is not a multimodal model",
    ],
)
def test_no_vision(message: str) -> None:
    lesson = taught(openai(message), images=True)
    assert lesson is not None
    assert not lesson.learned.images
    assert taught(openai(message), images=True, learned=lesson.learned) is None


@pytest.mark.parametrize(
    ("message", "most"),
    [
        (
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens,"
            " whereas you provided 32000.",
            16384,
        ),
        ("max_tokens exceeds server limit (8192)", 8192),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
        ("`max_tokens` must be less than or equal to `8192`, the maximum value", 8192),
    ],
)
def test_the_most_output_that_is_taken(message: str, most: int) -> None:
    assert taught(openai(message)) == Lesson(Learned(max_tokens=most), f"max_tokens over {most}")
    assert taught(openai(message), learned=Learned(max_tokens=most)) is not None


def test_the_window_and_the_prompt_in_it() -> None:
    message = (
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
        "length is 16384 tokens and your request has 5000 input tokens (32000 > 16384 - 5000)."
    )
    assert taught(openai(message)) == Lesson(
        Learned(window=16384), "max_tokens over 11384", prompt=5000
    )


def test_a_prompt_that_leaves_no_room_is_an_error() -> None:
    message = (
        "This model's maximum context length is 16384 tokens. However, you requested 47384 tokens "
        "(16000 in the messages, 31384 in the completion)."
    )
    assert taught(openai(message)) is None


def test_the_other_name_of_the_limit() -> None:
    error = openai(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "max_tokens",
        "unsupported_parameter",
    )
    lesson = taught(error)
    assert lesson is not None
    assert lesson.learned.token_limit == "max_completion_tokens"
    assert taught(error, learned=lesson.learned) is None


@pytest.mark.parametrize(
    "error",
    [
        openai("'messages.1' : for 'role:assistant' property 'reasoning_content' is unsupported"),
        openai(
            "Unknown parameter: 'messages[1].reasoning_content'.",
            "messages[1].reasoning_content",
            "unknown_parameter",
        ),
        {
            "detail": [
                {
                    "loc": ["body", "messages", 1, "assistant", "reasoning_content"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
    ],
)
def test_reasoning_that_is_not_taken_back(error: object) -> None:
    lesson = taught(error)
    assert lesson is not None
    assert not lesson.learned.replay


@pytest.mark.parametrize(
    "message",
    [
        "Invalid schema for function 'Bash': 'exclusiveMinimum' is not permitted.",
        'Invalid JSON payload received. Unknown name "exclusiveMinimum" at '
        "'tools[0].function_declarations[0].parameters': Cannot find field.",
    ],
)
def test_a_keyword_of_a_schema(message: str) -> None:
    lesson = taught(openai(message))
    assert lesson is not None
    assert lesson.learned.keywords == {"exclusiveMinimum"}


def test_descriptions_that_are_too_long() -> None:
    message = (
        "Invalid 'tools[0].function.description': string too long. Expected a string with maximum "
        "length 1024, but got a string with length 2000 instead."
    )
    lesson = taught(openai(message, "tools[0].function.description", "string_above_max_length"))
    assert lesson is not None
    assert lesson.learned.description == 1024
    assert taught(openai(message), learned=lesson.learned) is None
