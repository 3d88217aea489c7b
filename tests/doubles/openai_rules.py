"""What servers that speak chat completions refuse, in their own words.

OpenAI's after its API's types and error messages; LM Studio's after its bug tracker; the rest after
the sources of mlx_lm.server 0.32.2, vllm-mlx 0.6.0 and Ollama's ``openai/openai.go``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Refusal: TypeAlias = tuple[int, object]
"""A status and the body of the error."""

Rules: TypeAlias = Callable[[Mapping[str, Any]], Refusal | None]

_FIELDS = {
    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_tokens"),
    *("max_completion_tokens", "temperature", "top_p", "stop", "stream", "stream_options"),
    *("response_format", "reasoning_effort", "n", "user", "metadata", "seed", "logit_bias"),
}
_MESSAGE_FIELDS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal"},
    "tool": {"role", "content", "tool_call_id"},
}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Refused(Exception):
    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.body = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": param,
                "code": code,
            }
        }


def openai(body: Mapping[str, Any]) -> Refusal | None:
    """OpenAI's own API."""
    try:
        for key in body:
            if key not in _FIELDS:
                raise _Refused(f"Unrecognized request argument supplied: {key}")
        if "max_tokens" in body:
            raise _Refused(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "max_tokens",
                "unsupported_parameter",
            )
        _tools(body)
        _conversation(body["messages"])
        _rest(body)
    except _Refused as refused:
        return 400, refused.body
    return None


def _tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    for key in ("tool_choice", "parallel_tool_calls"):
        if key in body and not tools:
            raise _Refused(f"'{key}' is only allowed when 'tools' are specified.", key)
    if tools is not None and not tools:
        raise _Refused("Invalid 'tools': empty array.", "tools", "empty_array")
    for index, tool in enumerate(tools or ()):
        assert tool["type"] == "function"
        function = tool["function"]
        if set(function) - {"name", "description", "parameters", "strict"}:
            raise _Refused(f"Unknown parameter: 'tools[{index}].function'.", "tools")
        if not _NAME.fullmatch(function["name"]):
            raise _Refused(f"Invalid 'tools[{index}].function.name': no match", "tools")
        schema = function["parameters"]
        if schema.get("type") != "object" or schema.keys() & {"anyOf", "oneOf", "enum", "not"}:
            raise _Refused(f"Invalid schema for function '{function['name']}'", "tools")
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        names = [tool["function"]["name"] for tool in tools or ()]
        if choice["function"]["name"] not in names:
            raise _Refused("Tool choice names no tool", "tool_choice")
    elif choice not in (None, "none", "auto", "required"):
        raise _Refused("Invalid value", "tool_choice")


def _conversation(messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise _Refused("Invalid 'messages': empty array.", "messages", "empty_array")
    waiting: list[str] = []
    for index, message in enumerate(messages):
        where, role = f"messages[{index}]", message["role"]
        for key in message.keys() - _MESSAGE_FIELDS[role]:
            raise _Refused(f"Unknown parameter: '{where}.{key}'.", where, "unknown_parameter")
        _content(message, where)
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                raise _Refused(
                    "messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    where,
                )
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            raise _Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages "
                f"responding to each 'tool_call_id'. Missing: {', '.join(waiting)}",
                where,
            )
        for call in message.get("tool_calls", ()):
            if len(call["id"]) > 40:
                raise _Refused(f"Invalid '{where}.tool_calls[0].id': string too long.", where)
            if call["type"] != "function" or not _NAME.fullmatch(call["function"]["name"]):
                raise _Refused(f"Invalid '{where}.tool_calls[0].function.name'", where)
            assert isinstance(call["function"]["arguments"], str)
            waiting.append(call["id"])
        if "tool_calls" in message and not message["tool_calls"]:
            raise _Refused(f"Invalid '{where}.tool_calls': empty array.", where)
    if waiting:
        raise _Refused("'tool_calls' must be followed by tool messages", "messages")


def _content(message: Mapping[str, Any], where: str) -> None:
    content, role = message.get("content"), message["role"]
    if content is None and not message.get("tool_calls"):
        raise _Refused(f"Invalid value for '{where}.content': expected a string, got null.", where)
    for part in content if isinstance(content, list) else ():
        if part["type"] == "image_url" and role == "user":
            url = part["image_url"]["url"]
            if not re.match(r"https?://|data:image/(png|jpeg|gif|webp);base64,", url):
                raise _Refused("Invalid image data.", where)
        elif part["type"] != "text" or part.keys() != {"type", "text"}:
            raise _Refused(f"Invalid value: '{part['type']}'.", where)


def _rest(body: Mapping[str, Any]) -> None:
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        raise _Refused("Invalid 'stop': array too long.", "stop")
    if "stream_options" in body and not body.get("stream"):
        raise _Refused("'stream_options' is only allowed when streaming.", "stream_options")
    if body["max_completion_tokens"] > 16384:
        raise _Refused(
            f"max_tokens is too large: {body['max_completion_tokens']}. This model supports at most"
            " 16384 completion tokens, whereas you provided "
            f"{body['max_completion_tokens']}.",
            "max_tokens",
            "invalid_value",
        )
    format_ = body.get("response_format")
    if format_ is not None:
        schema = format_["json_schema"]
        closed = schema["schema"].get("additionalProperties") is False
        if schema["strict"] and not closed:
            raise _Refused("Invalid schema for response_format 'answer'", "response_format")


def lmstudio(body: Mapping[str, Any]) -> Refusal | None:
    """LM Studio 0.4."""

    def no(text: str) -> Refusal:
        return 400, {"error": text}

    for message in body["messages"]:
        content = message.get("content")
        if not isinstance(content, str | list):
            return no("Invalid 'content': 'content' field must be a string or an array of objects.")
        for part in content if isinstance(content, list) else ():
            if part["type"] not in ("text", "image_url"):
                return no("Invalid 'content': objects must be of type 'text' or 'image_url'")
            if part["type"] == "image_url" and not re.match(
                r"data:image/(png|jpeg);base64,", part["image_url"]["url"]
            ):
                return no("'url' field must be a base64 encoded image.")
    choice = body.get("tool_choice")
    if choice is not None and not isinstance(choice, str):
        return no(
            "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
        )
    format_ = body.get("response_format")
    if format_ is not None and format_["type"] not in ("json_schema", "text"):
        return no("'response_format.type' must be 'json_schema' or 'text'")
    return None


def mlx_lm(body: Mapping[str, Any]) -> Refusal | None:
    """mlx_lm.server 0.32.2 with a model that has no vision."""
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if not isinstance(limit, int) or limit < 1:
        return 400, {"error": "max_tokens must be at least 1"}
    if "temperature" in body and body["temperature"] < 0:
        return 400, {"error": "temperature must be at least 0"}
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list) and any(part["type"] != "text" for part in content):
            return 404, {"error": "Only 'text' content type is supported."}
        for call in message.get("tool_calls", ()):
            if isinstance(arguments := call["function"]["arguments"], str):
                json.loads(arguments)
    return None


def vllm_mlx(body: Mapping[str, Any]) -> Refusal | None:
    """vllm-mlx 0.6.0, with a limit of 8,192 tokens on answers."""
    if isinstance(body.get("stop"), str):
        return 422, {"detail": [{"loc": ["body", "stop"], "msg": "Input should be a valid list"}]}
    for tool in body.get("tools", ()):
        if not _NAME.fullmatch(tool["function"]["name"]):
            return 422, {"detail": "function.name must match ^[A-Za-z0-9_-]{1,64}$"}
    if body.get("tools") and body.get("tool_choice") != "none" and "response_format" in body:
        return 400, {"detail": "tools and response_format cannot be combined"}
    if body["max_tokens"] > 8192:
        return 400, {"detail": "max_tokens exceeds server limit (8192)"}
    return None


def ollama(body: Mapping[str, Any]) -> Refusal | None:
    """Ollama with a model that doesn't think."""

    def no(text: str) -> Refusal:
        error = {"message": text, "type": "invalid_request_error", "param": None, "code": None}
        return 400, {"error": error}

    if body.get("reasoning_effort", "none") != "none":
        return no('"smol" does not support thinking')
    for message in body["messages"]:
        content = message.get("content")
        if content is None and "tool_calls" not in message:
            return no("invalid message content type: <nil>")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                match = re.match(
                    r"data:image/(?:jpeg|jpg|png|webp);base64,(.*)", part["image_url"]["url"]
                )
                if match is None:
                    return no("invalid image input")
                try:
                    base64.b64decode(match[1], validate=True)
                except binascii.Error:
                    return no("invalid message format")
        for call in message.get("tool_calls", ()):
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return no("invalid tool call arguments")
    return None


def mistral(body: Mapping[str, Any]) -> Refusal | None:
    """A server that takes nothing it doesn't know, as Mistral's: pydantic's extra_forbidden."""
    known = _FIELDS - {"stream_options", "parallel_tool_calls", "max_completion_tokens"}
    extra = [
        {"type": "extra_forbidden", "loc": ["body", key], "msg": "Extra inputs are not permitted"}
        for key in body.keys() - known
    ]
    return (422, {"detail": extra[:1]}) if extra else None


RULES: Mapping[str, Rules] = {
    "openai": openai,
    "lmstudio": lmstudio,
    "mlx-lm": mlx_lm,
    "vllm-mlx": vllm_mlx,
    "ollama": ollama,
    "mistral": mistral,
}
