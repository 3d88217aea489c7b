"""A finished answer as it is kept: taken down from its stream, packed, and played again.

Packed, an entry is a version, a checksum and compact JSON. The checksum covers the key too, so
that an answer found under another's key is as unreadable as a damaged one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, TypeAlias, assert_never

from anyclaude.stream import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Emitter,
    MessageDelta,
    MessageStart,
    MessageStop,
    StreamError,
    StreamEvent,
)
from anyclaude.types import Usage

_MAGIC = b"ACR1"
_CHECK_BYTES = 16
PIECE_CHARS = 256
"""How much of a block one delta of a replay carries, in characters."""

_FINISHED = frozenset(("end_turn", "tool_use", "max_tokens", "stop_sequence"))


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingPart:
    thinking: str
    signature: str


@dataclass(frozen=True, slots=True)
class CallPart:
    """``arguments`` is JSON text as it was sent, empty for a call without any."""

    name: str
    arguments: str


Part: TypeAlias = TextPart | ThinkingPart | CallPart


@dataclass(frozen=True, slots=True)
class Entry:
    """One answer. ``created`` is Unix time, ``seconds`` what it took to make.

    ``usage`` is the original's. ``question`` is the user's last message where answers are looked
    up by meaning, else empty.
    """

    parts: tuple[Part, ...]
    stop_reason: str
    stop_sequence: str | None
    usage: Usage
    created: float
    seconds: float = 0.0
    question: str = ""

    @property
    def tokens(self) -> int:
        """What a hit spares: the prompt read and the answer written."""
        return self.usage.prompt_tokens + self.usage.output_tokens

    def mentions(self, marks: Iterable[str]) -> bool:
        """Whether anything in the answer contains one of ``marks``."""
        return any(
            mark in text for mark in marks for part in self.parts for text in _texts_of(part)
        )


def _texts_of(part: Part) -> tuple[str, ...]:
    match part:
        case TextPart():
            return (part.text,)
        case ThinkingPart():
            return (part.thinking,)
        case CallPart():
            return (part.name, part.arguments)
        case _:
            assert_never(part)


class Unreadable(Exception):
    """These bytes are no entry of this key and release."""


# --------------------------------------------------------------------------------- as bytes


def pack(entry: Entry, digest: bytes) -> bytes:
    """The entry as bytes that :func:`unpack` takes under the same key's ``digest`` only."""
    usage = entry.usage
    body = _ENCODER.encode(
        [
            [_packed(part) for part in entry.parts],
            entry.stop_reason,
            entry.stop_sequence,
            [
                usage.input_tokens,
                usage.cache_read_tokens,
                usage.cache_creation_tokens,
                usage.output_tokens,
            ],
            entry.created,
            entry.seconds,
            entry.question,
        ]
    ).encode("utf-8", "surrogatepass")
    return _MAGIC + _check(body, digest) + body


def unpack(data: bytes, digest: bytes) -> Entry:
    """Raises :class:`Unreadable` for anything else than :func:`pack` made for this key."""
    body = data[len(_MAGIC) + _CHECK_BYTES :]
    if data[: len(_MAGIC)] != _MAGIC:
        raise Unreadable("another format")
    if data[len(_MAGIC) : len(_MAGIC) + _CHECK_BYTES] != _check(body, digest):
        raise Unreadable("damaged, or another key's")
    parts, reason, sequence, usage, created, seconds, question = json.loads(
        body.decode("utf-8", "surrogatepass")
    )
    return Entry(
        tuple(_MAKERS[kind](*values) for kind, *values in parts),
        reason,
        sequence,
        Usage(*usage),
        created,
        seconds,
        question,
    )


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_MAKERS: Final[dict[str, Callable[..., Part]]] = {"t": TextPart, "k": ThinkingPart, "c": CallPart}


def _packed(part: Part) -> list[str]:
    match part:
        case TextPart():
            return ["t", part.text]
        case ThinkingPart():
            return ["k", part.thinking, part.signature]
        case CallPart():
            return ["c", part.name, part.arguments]
        case _:
            assert_never(part)


def _check(body: bytes, digest: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, key=digest).digest()


# -------------------------------------------------------------------------------- from a stream


@dataclass(slots=True)
class _Open:
    kind: str
    name: str
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    closed: bool = False


_PIECES = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


class Recording:
    """Takes a stream down while it is sent; :meth:`entry` is what may be kept of it.

    Nothing is, unless the stream came to its end: an error, a client that left, a refusal, a call
    that ``max_tokens`` cut short or whose arguments are no object, or a block that isn't text,
    thinking or a call of the client's tools.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, _Open] = {}
        self._end: MessageDelta | None = None
        self._started = False
        self._stopped = False
        self._usable = True

    def add(self, event: StreamEvent) -> None:
        match event:
            case MessageStart():
                self._started = True
            case BlockStart():
                self._begin(event)
            case BlockDelta():
                self._delta(event)
            case BlockStop():
                if event.index in self._blocks:
                    self._blocks[event.index].closed = True
            case MessageDelta():
                self._end = event
            case MessageStop():
                self._stopped = True
            case StreamError():
                self._usable = False

    def entry(self, *, created: float, seconds: float, question: str = "") -> Entry | None:
        """The answer, or ``None`` when it must not be given to anyone else."""
        end = self._end
        if end is None or not (self._usable and self._started and self._stopped):
            return None
        if end.stop_reason not in _FINISHED:
            return None
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        if not all(block.closed for block in blocks):
            return None
        parts = [_part(block) for block in blocks]
        calls = [part for part in parts if isinstance(part, CallPart)]
        if any(not _is_object(call.arguments) for call in calls):
            return None
        if end.stop_reason == "max_tokens" and calls and calls[-1] is parts[-1]:
            return None
        if not any(any(_texts_of(part)) for part in parts):
            return None
        return Entry(
            tuple(parts), end.stop_reason, end.stop_sequence, end.usage, created, seconds, question
        )

    def _begin(self, event: BlockStart) -> None:
        kind = str(event.block.get("type"))
        if kind not in ("text", "thinking", "tool_use"):
            self._usable = False
        block = _Open(kind, str(event.block.get("name", "")))
        first = event.block.get(kind)
        if isinstance(first, str):
            block.pieces.append(first)
        self._blocks[event.index] = block

    def _delta(self, event: BlockDelta) -> None:
        block, kind = self._blocks.get(event.index), str(event.delta.get("type"))
        if block is None:
            self._usable = False
        elif kind == "signature_delta":
            block.signature += str(event.delta.get("signature", ""))
        elif kind in _PIECES:
            block.pieces.append(str(event.delta.get(_PIECES[kind], "")))
        else:
            self._usable = False


def _part(block: _Open) -> Part:
    text = "".join(block.pieces)
    match block.kind:
        case "tool_use":
            return CallPart(block.name, text)
        case "thinking":
            return ThinkingPart(text, block.signature)
        case _:
            return TextPart(text)


def _is_object(arguments: str) -> bool:
    try:
        return not arguments or isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


# ------------------------------------------------------------------------------------- to a stream


def replay(entry: Entry, new_id: Callable[[str], str], model: str) -> list[StreamEvent]:
    """The answer as a stream of its own, for a request that asked for ``model``.

    The message and its calls get new ids: a client matches results to calls by id, and the same
    answer may come twice in one conversation. No prompt was read for it, so the whole prompt
    counts as ``cache_read``; output tokens are the original's, for clients add them up to know how
    long the conversation is.
    """
    usage = Usage(cache_read_tokens=entry.usage.prompt_tokens)
    emitter = Emitter(new_id("msg_"), model)
    events = emitter.start(usage)
    for part in entry.parts:
        match part:
            case TextPart():
                for piece in _pieces(part.text):
                    events += emitter.text(piece)
            case ThinkingPart():
                for piece in _pieces(part.thinking):
                    events += emitter.thinking(piece, part.signature)
            case CallPart():
                events += emitter.tool_use(new_id("toolu_"), part.name)
                for piece in _pieces(part.arguments):
                    events += emitter.tool_json(piece)
            case _:
                assert_never(part)
        events += emitter.close_block()
    final = Usage(
        cache_read_tokens=usage.cache_read_tokens, output_tokens=entry.usage.output_tokens
    )
    return events + emitter.finish(entry.stop_reason, entry.stop_sequence, final)


def _pieces(text: str) -> list[str]:
    """The text cut up; one empty piece for nothing, so that its block exists."""
    return [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)] or [""]
