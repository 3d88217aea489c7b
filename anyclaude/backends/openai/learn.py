"""What a refusal teaches: which part of a request a server doesn't take.

Only what can be left out, or said less of, without the answer meaning something else: tools and
messages never are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anyclaude.backends import overflow
from anyclaude.backends.faults import Said
from anyclaude.backends.openai.request import LEAST_OUTPUT, Learned
from anyclaude.types import JsonObject, JsonValue

STATUSES = frozenset({400, 404, 422, 500, 501})
"""mlx_lm.server says 404, and some 500, to whatever they can't take."""

FIELDS = (
    "chat_template_kwargs",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "stream_options",
    "temperature",
    "tool_choice",
    "reasoning",
    "top_k",
    "top_p",
    "stop",
)
_LIMITS = ("max_tokens", "max_completion_tokens")
_THINKING = ("reasoning_effort", "reasoning", "chat_template_kwargs")
_CODES = frozenset({"unknown_parameter", "unsupported_parameter", "unsupported_value"})
_REPLAYS = ("reasoning_content", "reasoning")

_REFUSAL = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|mandatory"
    r"|(?:not|n't|no longer) (?:be |currently )?(?:supported|support|permitted|allowed|accept)"
    r"|cannot be (?:disabled|used|combined|set)|cannot find field|extra (?:inputs|fields)"
    r"|additional propert|does not exist|not available",
    re.IGNORECASE,
)
_NO_VISION = re.compile(
    r"only 'text' content type"  # mlx_lm.server
    r"|image_url is only supported by"  # OpenAI
    r"|(?:image|vision|multimodal)\w*(?: input| content)?s? (?:is|are) not support"  # llama.cpp
    r"|support (?:for )?(?:image|vision)|not a multimodal|no endpoints found that support image"
    r"|(?:not|n't) support (?:image|vision|multimodal)|required for image input",  # Ollama
    re.IGNORECASE,
)
_MOST_TOKENS = (
    re.compile(r"supports at most (\d+) completion tokens"),  # OpenAI
    re.compile(r"max_tokens exceeds server limit \((\d+)\)"),  # vllm-mlx
    re.compile(r"max_(?:completion_)?tokens`?'?\"? must be (?:less than or equal to|<=) `?(\d+)"),
    re.compile(r"valid range of max_tokens is \[\d+, ?(\d+)\]", re.IGNORECASE),  # DeepSeek
    re.compile(r"maximum (?:value for|allowed number of) .{0,40}tokens.{0,40}?(\d{3,})"),  # Groq
)
_DESCRIPTION = re.compile(r"description.*?maximum length (\d+)", re.DOTALL)
_NO_THINKING = re.compile(
    r"support (?:thinking|reasoning)|reasoning is mandatory|invalid reasoning value",
    re.IGNORECASE,  # Ollama, OpenRouter
)
_SCHEMA_PLACE = re.compile(r"\bschema|\bparameters\b|\bfunction_declarations|\btools?\b")
_AS_A_NAME = r"(?:['\"`\[{.]|\b(?:argument|parameter|param|field|property|supplied|input)s?:? )"


@dataclass(frozen=True, slots=True)
class Lesson:
    """``refused`` says what a server won't take, in a few words. ``prompt`` is the size of the
    prompt where it told that, in tokens, else 0."""

    learned: Learned
    refused: str
    prompt: int = 0


def learn(learned: Learned, said: Said, body: JsonObject, *, images: bool) -> Lesson | None:
    """What the refusal ``said`` of ``body`` teaches; ``None`` if nothing.

    ``images``: the request has some.
    """
    message = said.message
    if (less := _less_output(learned, said, body)) is not None:
        return less
    if images and learned.images and _NO_VISION.search(message):
        return Lesson(replace(learned, images=False), "images")
    if match := _DESCRIPTION.search(message):
        most = int(match[1])
        if not learned.description or most < learned.description:
            return Lesson(replace(learned, description=most), "long descriptions of tools")
    if _NO_THINKING.search(message) and (asked := [f for f in _THINKING if f in body]):
        return Lesson(replace(learned, fields=learned.fields | set(asked)), asked[0])
    if said.code not in _CODES and not _REFUSAL.search(message):
        return None
    param = said.fields.get("param")
    place = param if isinstance(param, str) else ""
    for name, other in (_LIMITS, _LIMITS[::-1]):
        if name in body and not learned.token_limit and _names(name, place, message):
            return Lesson(replace(learned, token_limit=other), name)
    if (key := _replayed(learned, place, message, body)) is not None:
        return Lesson(replace(learned, replay=False), f"{key} in messages")
    if (field := _field(place, message, body)) is not None:
        return Lesson(replace(learned, fields=learned.fields | {field}), field)
    if (keyword := _keyword(learned, place, message, body)) is not None:
        keywords = learned.keywords | {keyword}
        return Lesson(replace(learned, keywords=keywords), f"{keyword} in tools' schemas")
    return None


def _less_output(learned: Learned, said: Said, body: JsonObject) -> Lesson | None:
    asked = next((value for key in _LIMITS if isinstance(value := body.get(key), int)), 0)
    for pattern in _MOST_TOKENS:
        if (match := pattern.search(said.message)) and 0 < (most := int(match[1])) < asked:
            return Lesson(replace(learned, max_tokens=most), f"max_tokens over {most}")
    found = overflow.find(said.message, said.code, said.fields)
    if found is None or not found.prompt or not found.output:
        return None
    room = found.maximum - found.prompt
    if not LEAST_OUTPUT <= room < asked:
        return None
    known = replace(learned, window=found.maximum)
    return Lesson(known, f"max_tokens over {room}", found.prompt)


def _replayed(learned: Learned, place: str, message: str, body: JsonObject) -> str | None:
    """A message's own field; ``reasoning`` is one of the body's too."""
    for key in _REPLAYS:
        sent = any(key in turn for turn in _objects(body.get("messages")))
        inside = "messages" in place or "messages" in message or key not in body
        if sent and inside and learned.replay and _names(key, place, message):
            return key
    return None


def _field(place: str, message: str, body: JsonObject) -> str | None:
    sent = [field for field in FIELDS if field in body]
    if place:
        return next((field for field in sent if re.split(r"[.\[]", place)[0] == field), None)
    return next((field for field in sent if _names(field, "", message)), None)


def _keyword(learned: Learned, place: str, message: str, body: JsonObject) -> str | None:
    """A keyword of JSON Schema that stands in a tool's schema."""
    if not _SCHEMA_PLACE.search(f"{place} {message}"):
        return None
    used: set[str] = set()
    for tool in _objects(body.get("tools")):
        function = tool.get("function")
        _collect(function.get("parameters") if isinstance(function, Mapping) else None, used)
    for keyword in sorted(used - _STRUCTURE - learned.keywords):
        if re.search(rf"['\"`]{re.escape(keyword)}['\"`]", message):
            return keyword
    return None


_STRUCTURE = frozenset({"type", "properties", "required", "items", "description", "name"})


def _collect(value: JsonValue, used: set[str]) -> None:
    if isinstance(value, Mapping):
        used.update(value)
        for part in value.values():
            _collect(part, used)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            _collect(part, used)


def _objects(value: JsonValue) -> list[JsonObject]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [part for part in value if isinstance(part, Mapping)]


def _names(field: str, place: str, message: str) -> bool:
    """Whether a refusal is about ``field``: by its place, or in its message.

    A name that is a word too has to stand as one: quoted, in a path, or behind "parameter".
    """
    if place:
        return field in re.split(r"[.\[\]]+", place)
    ahead = r"(?<![\w-])" if "_" in field else _AS_A_NAME
    return re.search(ahead + re.escape(field) + r"(?![\w-])", message) is not None
