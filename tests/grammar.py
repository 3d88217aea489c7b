"""An independent reading of a Messages stream: it knows the protocol, not our emitter.

``check_sse`` takes the lines of a response body and says what is wrong with them, and what a
client would have made of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}
STOP_REASONS = {"end_turn", "tool_use", "max_tokens", "stop_sequence"}
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
    start: dict[str, Any] | None = None
    content: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, int] | None = None
    error: dict[str, Any] | None = None
    ended: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def text(self) -> str:
        return "".join(b["text"] for b in self.content if b["type"] == "text")


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
        if body.get("type") != name:
            self.problem(f"{name}: its data says {body.get('type')}")
        if self.verdict.ended:
            self.problem(f"{name} after the end")
        handler = getattr(self, f"_on_{name}", None)
        if handler is None:
            self.problem(f"unknown event {name}")
        elif name not in ("message_start", "error") and self.verdict.start is None:
            self.problem(f"{name} before message_start")
        else:
            handler(body)

    def _on_message_start(self, body: dict[str, Any]) -> None:
        if self.verdict.start is not None:
            self.problem("a second message_start")
        self.verdict.start = body["message"]
        if body["message"]["content"] or body["message"]["stop_reason"] is not None:
            self.problem("message_start is not empty")
        self._counts(body["message"].get("usage"))

    def _on_ping(self, body: dict[str, Any]) -> None:
        if set(body) != {"type"}:
            self.problem("a ping with a body")

    def _on_content_block_start(self, body: dict[str, Any]) -> None:
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

    def _on_content_block_delta(self, body: dict[str, Any]) -> None:
        if body["index"] != self._open:
            self.problem(f"a delta for block {body['index']} while {self._open} is open")
            return
        block, delta = self.verdict.content[-1], body["delta"]
        if delta["type"] not in DELTAS.get(block["type"], ()):
            self.problem(f"{delta['type']} in a {block['type']} block")
        elif delta["type"] == "input_json_delta":
            self._json += delta["partial_json"]
        elif delta["type"] == "signature_delta":
            block["signature"], self._signed = delta["signature"], True
        else:
            if self._signed:
                self.problem("thinking after its signature")
            block[block["type"]] += delta[block["type"]]

    def _on_content_block_stop(self, body: dict[str, Any]) -> None:
        if body["index"] != self._open:
            self.problem(f"a stop for block {body['index']} while {self._open} is open")
            return
        self._open = None
        block = self.verdict.content[-1]
        if block["type"] == "thinking" and not block.get("signature"):
            self.problem("a thinking block without a signature")
        if block["type"] == "tool_use" and self._json:
            try:
                block["input"] = json.loads(self._json)
            except ValueError:
                self.problem("the arguments of a call are not JSON")
            if not isinstance(block["input"], dict):
                self.problem("the arguments of a call are not an object")

    def _on_message_delta(self, body: dict[str, Any]) -> None:
        if self._open is not None:
            self.problem("message_delta inside a block")
        if self.verdict.stop_reason is not None:
            self.problem("a second message_delta")
        self.verdict.stop_reason = body["delta"]["stop_reason"]
        self.verdict.stop_sequence = body["delta"]["stop_sequence"]
        if self.verdict.stop_reason not in STOP_REASONS:
            self.problem(f"stop_reason {self.verdict.stop_reason}")
        if (self.verdict.stop_reason == "stop_sequence") != bool(self.verdict.stop_sequence):
            self.problem("stop_sequence and stop_reason disagree")
        self.verdict.usage = body["usage"]
        self._counts(body["usage"])

    def _on_message_stop(self, body: dict[str, Any]) -> None:
        if self.verdict.stop_reason is None:
            self.problem("message_stop without message_delta")
        self.verdict.ended = True

    def _on_error(self, body: dict[str, Any]) -> None:
        self.verdict.error = body["error"]
        self.verdict.ended = True
        if not body["error"].get("type") or not isinstance(body["error"].get("message"), str):
            self.problem("an error without type and message")

    def _counts(self, usage: dict[str, Any] | None) -> None:
        for name in COUNTS:
            count = (usage or {}).get(name)
            if not isinstance(count, int) or count < 0:
                self.problem(f"usage.{name} is {count}")
