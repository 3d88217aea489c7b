"""An independent reading of a Messages stream: it knows the protocol, not our emitter.

``check_sse`` takes the lines of a response body and says what is wrong with them, and what a
client would have made of them. No body makes it raise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from anyclaude.types import JsonObject, JsonValue

_Json: TypeAlias = dict[str, Any]

DELTAS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "tool_use": frozenset({"input_json_delta"}),
    "server_tool_use": frozenset({"input_json_delta"}),
    "web_search_tool_result": frozenset(),
    "mcp_tool_use": frozenset(),
    "mcp_tool_result": frozenset(),
}
STOP_REASONS = frozenset({"end_turn", "tool_use", "max_tokens", "stop_sequence"})
COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
)


@dataclass
class Verdict:
    """``problems`` is empty for a good stream; ``content`` are its blocks, put together."""

    problems: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    start: JsonObject | None = None
    content: list[dict[str, JsonValue]] = field(default_factory=list)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, int] | None = None
    error: JsonObject | None = None
    ended: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def text(self) -> str:
        return "".join(str(b["text"]) for b in self.content if b["type"] == "text")


def check_sse(lines: Iterable[str]) -> Verdict:
    """Reads a whole body, given as lines without their ends."""
    reader = _Reader()
    name: str | None = None
    data: str | None = None
    for line in lines:
        if line.startswith(":"):
            reader.verdict.comments.append(line[1:].strip())
        elif line == "":
            if name is not None or data is not None:
                reader.event(name, data)
            name = data = None
        elif line.startswith("event: ") and name is None and data is None:
            name = line.removeprefix("event: ")
        elif line.startswith("data: ") and data is None:
            data = line.removeprefix("data: ")
        else:
            reader.problem(f"unexpected line {line!r}")
    if name is not None or data is not None:
        reader.problem("the body ends inside an event")
    if not reader.verdict.ended:
        reader.problem("neither message_stop nor error at the end")
    return reader.verdict


def check_message(body: object) -> list[str]:
    """What is wrong with the body of an answer that wasn't streamed."""
    reader = _Reader()
    try:
        message = cast(_Json, body)
        if message["type"] != "message" or message["role"] != "assistant":
            reader.problem(f"type {message['type']} and role {message['role']}")
        for block in message["content"]:
            if block["type"] not in DELTAS:
                reader.problem(f"unknown block type {block['type']}")
        reader.stops(message["stop_reason"], message["stop_sequence"])
        reader.counts(message["usage"])
    except (KeyError, TypeError, AttributeError) as error:
        reader.problem(f"not the shape of a message: {_said(error)}")
    return reader.verdict.problems


def check_error(body: object) -> list[str]:
    """What is wrong with the body of an answer with an error status."""
    reader = _Reader()
    try:
        told = cast(_Json, body)
        if told["type"] != "error":
            reader.problem(f"type {told['type']} where error was due")
        reader.error(told["error"])
    except (KeyError, TypeError, AttributeError) as error:
        reader.problem(f"not the shape of an error: {_said(error)}")
    return reader.verdict.problems


class _Reader:
    def __init__(self) -> None:
        self.verdict = Verdict()
        self._open: int | None = None
        self._json = ""
        self._signed = False

    def problem(self, text: str) -> None:
        self.verdict.problems.append(text)

    def event(self, name: str | None, data: str | None) -> None:
        if name is None or data is None:
            self.problem(f"an event without its {'name' if name is None else 'data'}")
            return
        self.verdict.names.append(name)
        try:
            body = json.loads(data)
        except ValueError as error:
            self.problem(f"{name}: not JSON ({error})")
            return
        if not isinstance(body, dict):
            self.problem(f"{name}: its data is no object")
            return
        if body.get("type") != name:
            self.problem(f"{name}: its data says {body.get('type')}")
        if self.verdict.ended:
            self.problem(f"{name} after the end")
        handler = self._handlers().get(name)
        if handler is None:
            self.problem(f"unknown event {name}")
        elif name not in ("message_start", "error") and self.verdict.start is None:
            self.problem(f"{name} before message_start")
        else:
            try:
                handler(body)
            except (KeyError, TypeError, AttributeError) as error:
                self.problem(f"{name}: not its shape: {_said(error)}")

    def stops(self, reason: object, sequence: object) -> None:
        if reason not in STOP_REASONS:
            self.problem(f"stop_reason {reason}")
        if (reason == "stop_sequence") != bool(sequence):
            self.problem("stop_sequence and stop_reason disagree")

    def counts(self, usage: _Json | None) -> None:
        for name in COUNTS:
            count = (usage or {}).get(name)
            if not isinstance(count, int) or count < 0:
                self.problem(f"usage.{name} is {count}")

    def error(self, error: _Json) -> None:
        if not error.get("type") or not isinstance(error.get("message"), str):
            self.problem("an error without type and message")

    def _handlers(self) -> Mapping[str, Callable[[_Json], None]]:
        return {
            "message_start": self._on_message_start,
            "ping": self._on_ping,
            "content_block_start": self._on_block_start,
            "content_block_delta": self._on_block_delta,
            "content_block_stop": self._on_block_stop,
            "message_delta": self._on_message_delta,
            "message_stop": self._on_message_stop,
            "error": self._on_error,
        }

    def _on_message_start(self, body: _Json) -> None:
        if self.verdict.start is not None:
            self.problem("a second message_start")
        self.verdict.start = body["message"]
        if body["message"]["content"] or body["message"]["stop_reason"] is not None:
            self.problem("message_start is not empty")
        self.counts(body["message"].get("usage"))

    def _on_ping(self, body: _Json) -> None:
        if set(body) != {"type"}:
            self.problem("a ping with a body")

    def _on_block_start(self, body: _Json) -> None:
        if self.verdict.stop_reason is not None:
            self.problem("a block after message_delta")
        if self._open is not None:
            self.problem(f"block {body['index']} starts inside block {self._open}")
        if body["index"] != len(self.verdict.content):
            self.problem(f"block {body['index']} where {len(self.verdict.content)} was due")
        block = dict(body["content_block"])
        if block["type"] not in DELTAS:
            self.problem(f"unknown block type {block['type']}")
        self.verdict.content.append(block)
        self._open, self._json, self._signed = body["index"], "", False

    def _on_block_delta(self, body: _Json) -> None:
        if self._open is None or body["index"] != self._open:
            self.problem(f"a delta for block {body['index']} while {self._open} is open")
            return
        block: _Json = self.verdict.content[-1]
        delta = body["delta"]
        if delta["type"] not in DELTAS.get(block["type"], frozenset()):
            self.problem(f"{delta['type']} in a {block['type']} block")
        elif delta["type"] == "input_json_delta":
            self._json += delta["partial_json"]
        elif delta["type"] == "signature_delta":
            block["signature"], self._signed = delta["signature"], True
        elif delta["type"] == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            self._citation(delta["citation"])
        else:
            if self._signed:
                self.problem("thinking after its signature")
            block[block["type"]] += delta[block["type"]]

    def _on_block_stop(self, body: _Json) -> None:
        if self._open is None or body["index"] != self._open:
            self.problem(f"a stop for block {body['index']} while {self._open} is open")
            return
        self._open = None
        block: _Json = self.verdict.content[-1]
        if block["type"] == "thinking" and not block.get("signature"):
            self.problem("a thinking block without a signature")
        if block["type"] == "web_search_tool_result":
            self._result(block)
        if block["type"] in ("tool_use", "server_tool_use") and self._json:
            try:
                block["input"] = json.loads(self._json)
            except ValueError:
                self.problem("the arguments of a call are not JSON")
            if not isinstance(block["input"], dict):
                self.problem("the arguments of a call are not an object")

    def _result(self, block: _Json) -> None:
        """A result follows its call, and has pages or one error."""
        calls = [b["id"] for b in self.verdict.content if b["type"] == "server_tool_use"]
        if block["tool_use_id"] not in calls:
            self.problem(f"a result of {block['tool_use_id']}, which nothing called")
        content = block["content"]
        if isinstance(content, dict):
            if content["type"] != "web_search_tool_result_error" or not content["error_code"]:
                self.problem("a search result that is neither pages nor an error")
            return
        for page in content:
            if page["type"] != "web_search_result" or not isinstance(page["page_age"], str | None):
                self.problem(f"a search result of type {page['type']}")
            if not all(isinstance(page[k], str) for k in ("url", "title", "encrypted_content")):
                self.problem("a search result without url, title and encrypted_content")

    def _citation(self, citation: _Json) -> None:
        names = ("cited_text", "url", "title", "encrypted_index")
        if citation["type"] != "web_search_result_location" or not all(
            isinstance(citation[name], str) for name in names
        ):
            self.problem("a citation that names no place in a search result")

    def _on_message_delta(self, body: _Json) -> None:
        if self._open is not None:
            self.problem("message_delta inside a block")
        if self.verdict.stop_reason is not None:
            self.problem("a second message_delta")
        self.verdict.stop_reason = body["delta"]["stop_reason"]
        self.verdict.stop_sequence = body["delta"]["stop_sequence"]
        self.stops(self.verdict.stop_reason, self.verdict.stop_sequence)
        self.verdict.usage = body["usage"]
        self.counts(body["usage"])

    def _on_message_stop(self, body: _Json) -> None:
        if self.verdict.stop_reason is None:
            self.problem("message_stop without message_delta")
        self.verdict.ended = True

    def _on_error(self, body: _Json) -> None:
        self.verdict.error = body["error"]
        self.verdict.ended = True
        self.error(body["error"])


def _said(error: Exception) -> str:
    return f"{type(error).__name__} {error}"
