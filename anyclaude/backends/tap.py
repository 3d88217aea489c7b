"""Reads an Anthropic answer in passing: what it cost, how it ended, what it called.

Nothing is changed, held back or refused here, and nothing raises: of what can't be read there is
just less to tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from anyclaude import fastjson
from anyclaude.backends.sse import SseEvent, SseReader
from anyclaude.errors import UpstreamError
from anyclaude.types import Usage

MAX_HELD_BYTES = 32 * 1024 * 1024

_Fields: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TappedCall:
    """A ``tool_use`` block; ``input_json`` is its arguments as far as they came."""

    id: str
    name: str
    input_json: str


@dataclass(frozen=True, slots=True)
class TappedError:
    """The error event of a stream, or an error as a body."""

    type: str
    message: str
    payload: _Fields


class Tap:
    """Fed the body's chunks and then finished; its attributes say what was seen so far.

    ``first_content_at`` is by ``clock``. ``ended`` is whether the answer came to its proper end,
    ``finished`` whether the body came to any.
    At most ``limit`` bytes are held, of an unfinished event or body or of calls' arguments;
    beyond it, and in a compressed body, ``readable`` is false and the figures stay as they are.
    ``streams`` is whether it is a stream of events.
    """

    def __init__(
        self,
        content_type: str,
        content_encoding: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        limit: int = MAX_HELD_BYTES,
    ) -> None:
        self.bytes = 0
        self.message_id = ""
        self.model = ""
        self.usage = Usage()
        self.stop_reason: str | None = None
        self.stop_sequence: str | None = None
        self.text_chars = 0
        self.thinking_chars = 0
        self.first_content_at: float | None = None
        self.error: TappedError | None = None
        self.started = False
        self.ended = False
        self.finished = False
        self.readable = content_encoding.strip().lower() in ("", "identity")
        self._clock = clock
        self._limit = limit
        self._reader: SseReader | None = None
        if content_type.partition(";")[0].strip().lower() == "text/event-stream":
            self._reader = SseReader("", limit=limit)
        self.streams = self._reader is not None
        self._body = bytearray()
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._held = 0
        self._shown: list[str] = []

    @property
    def calls(self) -> tuple[TappedCall, ...]:
        return tuple(
            TappedCall(id, name, "".join(pieces)) for id, name, pieces in self._calls.values()
        )

    @property
    def cut_off(self) -> bool:
        """Whether the answer isn't whole, should nothing follow.

        A stream that has said why it stops is, for its clients don't wait for ``message_stop``.
        """
        over = self.ended or self.error is not None or self.stop_reason is not None
        return self.readable and not over

    def feed(self, chunk: bytes) -> str:
        """Reads on; what the model wrote in ``chunk``, for a person to watch."""
        self.bytes += len(chunk)
        if not self.readable:
            return ""
        if self._reader is None:
            self._body += chunk
            if len(self._body) > self._limit:
                self._give_up()
            return ""
        try:
            for event in self._reader.feed(chunk):
                self._take(event)
        except UpstreamError:
            self._give_up()
        shown, self._shown = "".join(self._shown), []
        return shown

    def finish(self) -> str:
        """The body is over, whole or not; what the model wrote in the last of it."""
        if self.finished:
            return ""
        self.finished = True
        if self.readable and self._reader is not None:
            for event in self._reader.finish():
                self._take(event)
        elif self.readable:
            self._whole(bytes(self._body))
            self._body.clear()
        shown, self._shown = "".join(self._shown), []
        return shown

    def _give_up(self) -> None:
        self.readable = False
        self._reader = None
        self._body.clear()

    # ---------------------------------------------------------------------------- streams

    def _take(self, sse: SseEvent) -> None:
        event = _parse(sse.data)
        if event is None or self.ended or self.error is not None:
            return
        match event.get("type") or sse.event:
            case "message_start":
                self._message(_fields(event, "message"))
            case "content_block_start":
                self._block(_index(event), _fields(event, "content_block"))
            case "content_block_delta":
                self._delta(_index(event), _fields(event, "delta"))
            case "message_delta":
                self._stop(_fields(event, "delta"))
                self._count(_fields(event, "usage"))
            case "message_stop":
                self.ended = self.started
            case "error":
                self._fail(event)

    def _message(self, message: _Fields) -> None:
        self.started = True
        self.message_id = _text(message, "id")
        self.model = _text(message, "model")
        self._count(_fields(message, "usage"))

    def _block(self, index: int, block: _Fields) -> None:
        kind = block.get("type")
        if kind == "tool_use":
            self._calls[index] = (_text(block, "id"), _text(block, "name"), [])
        if kind in ("text", "thinking"):
            self._wrote(str(kind), _text(block, str(kind)))
        else:
            self._content()

    def _delta(self, index: int, delta: _Fields) -> None:
        match delta.get("type"):
            case "text_delta":
                self._wrote("text", _text(delta, "text"))
            case "thinking_delta":
                self._wrote("thinking", _text(delta, "thinking"))
            case "input_json_delta":
                piece = _text(delta, "partial_json")
                if index in self._calls:
                    self._hold(index, piece)
                    self._shown.append(piece)
                if piece:
                    self._content()

    def _wrote(self, kind: str, text: str) -> None:
        if not text:
            return
        self._content()
        self._shown.append(text)
        if kind == "text":
            self.text_chars += len(text)
        else:
            self.thinking_chars += len(text)

    def _hold(self, index: int, piece: str) -> None:
        self._held += len(piece)
        if self._held > self._limit:
            self._give_up()
        else:
            self._calls[index][2].append(piece)

    def _content(self) -> None:
        if self.first_content_at is None:
            self.first_content_at = self._clock()

    def _stop(self, delta: _Fields) -> None:
        self.stop_reason = _text(delta, "stop_reason") or self.stop_reason
        self.stop_sequence = _text(delta, "stop_sequence") or self.stop_sequence

    def _count(self, usage: _Fields) -> None:
        """Figures that are there replace earlier ones; a stream's last ones are the true ones."""
        now = self.usage
        self.usage = Usage(
            _number(usage, "input_tokens", now.input_tokens),
            _number(usage, "cache_read_input_tokens", now.cache_read_tokens),
            _number(usage, "cache_creation_input_tokens", now.cache_creation_tokens),
            _number(usage, "output_tokens", now.output_tokens),
        )

    def _fail(self, event: _Fields) -> None:
        error = _fields(event, "error")
        self.error = TappedError(_text(error, "type"), _text(error, "message"), event)

    # ----------------------------------------------------------------------------- bodies

    def _whole(self, body: bytes) -> None:
        message = _parse(body)
        if message is None:
            return
        if message.get("type") == "error":
            self._fail(message)
            return
        if message.get("type") != "message":
            # The answer to count_tokens.
            self.ended = isinstance(message.get("input_tokens"), int)
            self._count(message)
            return
        self._message(message)
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            if isinstance(block, Mapping):
                self._block(index, block)
                if index in self._calls:
                    self._hold(index, json.dumps(block.get("input"), ensure_ascii=False))
        self._stop(message)
        self.ended = True


def _parse(data: str | bytes) -> _Fields | None:
    try:
        value = fastjson.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _fields(holder: _Fields, key: str) -> _Fields:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def _text(holder: _Fields, key: str) -> str:
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def _index(event: _Fields) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else -1


def _number(usage: _Fields, key: str, otherwise: int) -> int:
    value = usage.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return otherwise
