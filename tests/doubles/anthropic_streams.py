"""Answers as Anthropic streams them, written from a seed, with what a reader must find in them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from anyclaude.types import Usage

_WORDS = (
    "the",
    "a ",
    "file",
    " cache",
    "\n\n",
    "```py\n",
    "naïve",
    "日本語",
    "👩‍👩‍👧",
    '"quoted"',
    "\\n",
    "\u2028",
    "data: x",
    "event: y\n",
    "\u0000",
    "&amp;",
    " ",
)


@dataclass(slots=True)
class Recorded:
    """One stream. ``error`` is the type of its error event, ``whole`` whether it has an end."""

    body: bytes = b""
    message_id: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    text: str = ""
    thinking: str = ""
    error: str | None = None
    whole: bool = True

    def chunks(self, seed: int) -> Iterator[bytes]:
        """The body cut anywhere, or not at all."""
        rng = random.Random(seed)
        longest = rng.choice((1, 7, 60, 400, 5000, len(self.body) + 1))
        at = 0
        while at < len(self.body):
            size = rng.randint(1, longest)
            yield self.body[at : at + size]
            at += size


def recorded(seed: int) -> Recorded:
    return _Writer(seed).write()


class _Writer:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._out: list[bytes] = []
        self._index = -1
        self._answer = Recorded()
        self._usage: dict[str, Any] = {}

    def write(self) -> Recorded:
        rng, answer = self._rng, self._answer
        answer.message_id = f"msg_01{rng.getrandbits(80):020x}"
        answer.model = rng.choice(("claude-opus-5-20260801", "claude-haiku-4-5-20251001"))
        self._start()
        for block in self._plan():
            block()
            if rng.random() < 0.25:
                self._ping()
        if rng.random() < 0.15:
            self._fail()
        elif rng.random() < 0.05:
            answer.whole = False
        else:
            self._end()
        answer.body = b"".join(self._out)
        return answer

    def _plan(self) -> list[Any]:
        rng = self._rng
        plan: list[Any] = []
        if rng.random() < 0.5:
            plan.append(rng.choice((self._thinking, self._thinking, self._redacted)))
        if rng.random() < 0.8:
            plan.append(self._text)
        if rng.random() < 0.25:
            plan += [self._search, self._cited]
        plan += [self._call] * rng.choice((0, 0, 1, 1, 2, 4))
        return plan

    # ------------------------------------------------------------------------------ events

    def _event(self, name: str, data: dict[str, Any]) -> None:
        written = json.dumps(
            {"type": name, **data},
            ensure_ascii=self._rng.random() < 0.2,
            separators=(",", ":"),
        )
        # Anthropic pads some events, against guesses at their length.
        padding = " " * self._rng.choice((0, 0, 0, 3, 11))
        self._out.append(f"event: {name}\ndata: {written[:-1]}{padding}}}\n\n".encode())

    def _ping(self) -> None:
        self._out.append(b'event: ping\ndata: {"type": "ping"}\n\n')

    def _start(self) -> None:
        rng = self._rng
        self._usage = {
            "input_tokens": rng.randint(1, 3000),
            "cache_creation_input_tokens": rng.choice((0, rng.randint(1, 9000))),
            "cache_read_input_tokens": rng.choice((0, rng.randint(1, 190_000))),
        }
        usage = {
            **self._usage,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": rng.randint(1, 8),
            "service_tier": "standard",
        }
        self._usage["output_tokens"] = usage["output_tokens"]
        self._event(
            "message_start",
            {
                "message": {
                    "model": self._answer.model,
                    "id": self._answer.message_id,
                    "type": "message",
                    "role": "assistant",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": usage,
                }
            },
        )
        self._note_usage()
        if rng.random() < 0.8:
            self._ping()

    def _note_usage(self) -> None:
        usage = self._usage
        self._answer.usage = Usage(
            usage["input_tokens"],
            usage["cache_read_input_tokens"],
            usage["cache_creation_input_tokens"],
            usage["output_tokens"],
        )

    def _open(self, block: dict[str, Any]) -> None:
        self._index += 1
        self._event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, kind: str, **fields: Any) -> None:
        self._event(
            "content_block_delta", {"index": self._index, "delta": {"type": kind, **fields}}
        )
        if self._rng.random() < 0.03:
            self._ping()

    def _close(self) -> None:
        self._event("content_block_stop", {"index": self._index})

    def _words(self) -> Iterator[str]:
        for _ in range(self._rng.randint(1, 25)):
            yield "".join(self._rng.choices(_WORDS, k=self._rng.randint(1, 4)))

    # ------------------------------------------------------------------------------ blocks

    def _text(self) -> None:
        self._open({"type": "text", "text": ""})
        for piece in self._words():
            self._answer.text += piece
            self._delta("text_delta", text=piece)
        self._close()

    def _cited(self) -> None:
        self._open({"type": "text", "text": "", "citations": []})
        for piece in self._words():
            self._answer.text += piece
            self._delta("text_delta", text=piece)
            citation = {
                "type": "web_search_result_location",
                "cited_text": piece,
                "url": "https://example.org/a?b=c",
                "title": "Über",
                "encrypted_index": "Eo8B" + "q" * 40,
            }
            self._delta("citations_delta", citation=citation)
        self._close()

    def _thinking(self) -> None:
        self._open({"type": "thinking", "thinking": "", "signature": ""})
        for piece in self._words():
            self._answer.thinking += piece
            self._delta("thinking_delta", thinking=piece)
        self._delta("signature_delta", signature="EqQB" + f"{self._rng.getrandbits(400):x}" + "==")
        self._close()

    def _redacted(self) -> None:
        self._open({"type": "redacted_thinking", "data": "EmwKAhgB" + "z" * 60})
        self._close()

    def _call(self) -> None:
        rng = self._rng
        name = rng.choice(("Bash", "Edit", "mcp__github__search", "Read"))
        call_id = f"toolu_01{rng.getrandbits(80):020x}"
        arguments = {} if rng.random() < 0.1 else {"command": "".join(self._words()), "n": [1, {}]}
        text = json.dumps(arguments, ensure_ascii=rng.random() < 0.5)
        self._open({"type": "tool_use", "id": call_id, "name": name, "input": {}})
        self._pieces(text)
        self._close()
        self._answer.calls.append((call_id, name, text))

    def _pieces(self, text: str) -> None:
        self._delta("input_json_delta", partial_json="")
        at = 0
        while at < len(text):
            size = self._rng.randint(1, 12)
            self._delta("input_json_delta", partial_json=text[at : at + size])
            at += size

    def _search(self) -> None:
        call_id = f"srvtoolu_01{self._rng.getrandbits(80):020x}"
        self._open({"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}})
        self._pieces('{"query": "mlx"}')
        self._close()
        found = {
            "type": "web_search_result",
            "title": "MLX",
            "url": "https://example.org",
            "encrypted_content": "e" * 300,
            "page_age": None,
        }
        self._open(
            {
                "type": "web_search_tool_result",
                "tool_use_id": call_id,
                "content": [found] * self._rng.randint(1, 5),
            }
        )
        self._close()

    # -------------------------------------------------------------------------------- ends

    def _fail(self) -> None:
        kind = self._rng.choice(("overloaded_error", "api_error", "rate_limit_error"))
        self._answer.error = kind
        self._answer.whole = False
        self._event(
            "error", {"error": {"type": kind, "message": "Overloaded"}, "request_id": "req_1"}
        )

    def _end(self) -> None:
        rng = self._rng
        stops = ("end_turn", "max_tokens", "stop_sequence", "pause_turn", "refusal")
        stop = "tool_use" if self._answer.calls else rng.choice(stops)
        self._answer.stop_reason = stop
        usage: dict[str, Any] = {"output_tokens": rng.randint(8, 5000)}
        if rng.random() < 0.5:
            usage["input_tokens"] = rng.randint(1, 50_000)
            usage["cache_creation_input_tokens"] = rng.randint(0, 500)
            usage["cache_read_input_tokens"] = rng.randint(0, 500)
            usage["server_tool_use"] = {"web_search_requests": 1}
        self._usage.update(usage)
        self._note_usage()
        sequence = "END" if stop == "stop_sequence" else None
        self._event(
            "message_delta",
            {"delta": {"stop_reason": stop, "stop_sequence": sequence}, "usage": usage},
        )
        self._event("message_stop", {})
