"""One answer of a server that speaks chat completions, as the pipeline's events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import groupby

from anyclaude import fastjson
from anyclaude.backend import Admission, BackendEvent, Finish, Parsed, Prefill
from anyclaude.backends import faults
from anyclaude.backends.http import Reply
from anyclaude.backends.openai.chunks import Chunk, UpstreamUsage, read_chunk
from anyclaude.backends.openai.decode import (
    Decoder,
    busy,
    failed,
    outcome,
    over_window,
    refused,
    shown,
)
from anyclaude.backends.sse import SseEvent, SseReader
from anyclaude.dialect import Segment, TextPiece, ThinkingPiece
from anyclaude.errors import EngineFailed, UpstreamError
from anyclaude.types import JsonValue, Usage

MAX_BODY_BYTES = 64 * 1024 * 1024
TAIL_S = 5.0
"""How long a server may take for its usage once it has said why it ended."""
DRAIN_S = 1.0

_AHEAD = 256  # events that may wait for a slow client
_PROGRESS = re.compile(rb"^: *keepalive (\d+)/(\d+)", re.MULTILINE)  # mlx_lm.server
_NOT_AN_ANSWER = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
# The client shows a 403 at once; a 400 it would send again in five other shapes.
_FILTERED = {"message": "a content filter withheld the answer", "type": "permission_error"}
_BROKE_OFF = {"message": "the server broke off its answer", "type": "api_error"}
_BUSY = {"message": "the server broke off its answer: it is overloaded", "code": 503}
_WINDOW = {"message": "the model's context window is full", "code": "context_length_exceeded"}


@dataclass(frozen=True, slots=True)
class Figures:
    """``learn`` is told the true size of the prompt; ``ratio`` is characters per token."""

    learn: Callable[[int], None]
    ratio: float


class OpenAiGeneration:
    """See :class:`anyclaude.backend.Generation`. Reads ahead, so that silence is noticed."""

    def __init__(
        self,
        reply: Reply,
        decoder: Decoder,
        admission: Admission,
        figures: Figures,
        clock: Callable[[], float],
        tail: float = TAIL_S,
    ) -> None:
        self._reply = reply
        self._decoder = decoder
        self._admission = admission
        self._figures = figures
        self._clock = clock
        self._tail = tail
        self._opened = clock()
        self._first: float | None = None
        self._last = self._opened
        self._usage: UpstreamUsage | None = None
        self._done = False
        self._characters = 0
        self._counted = 0
        self._events: asyncio.Queue[BackendEvent | Exception] = asyncio.Queue(_AHEAD)
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def admission(self) -> Admission:
        return self._admission

    async def __aiter__(self) -> AsyncIterator[BackendEvent]:
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                self._events.put_nowait(event)  # for whoever asks again
                raise event
            yield event
            if isinstance(event, Finish):
                return

    async def cancel(self) -> None:
        self._reading.cancel()
        self._reply.close()
        with suppress(asyncio.CancelledError):
            await self._reading
        while not self._events.empty():
            self._events.get_nowait()
        self._events.put_nowait(EngineFailed("the answer was cancelled"))

    # ------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        chunks = aiter(self._reply.chunks())
        try:
            async with aclosing(self._answer(chunks)) as answer:
                async for event in answer:
                    await self._events.put(event)
            if self._done:
                await _drain(chunks)
        except UpstreamError as error:
            await self._events.put(error)
        except Exception as error:
            await self._events.put(EngineFailed(f"{self._reply.backend}: {error!r}"))
        finally:
            self._reply.close()

    async def _answer(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[BackendEvent, None]:
        whole = self._reply.content_type == "application/json"
        async with aclosing(self._whole() if whole else self._stream(chunks)) as events:
            async for event in events:
                yield event
        self._check_end()
        if parsed := self._parsed(self._decoder.finish()):
            yield parsed
        yield self._finish()

    async def _whole(self) -> AsyncGenerator[BackendEvent, None]:
        """An answer in one body: this server doesn't stream, or had an error to tell."""
        body = await self._reply.read(MAX_BODY_BYTES)
        if event := self._parsed(self._take(self._chunk(body))):
            yield event

    async def _stream(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[BackendEvent, None]:
        reply, decoder = self._reply, self._decoder
        if reply.content_type in _NOT_AN_ANSWER:
            raise faults.wrong_content(reply.backend, reply.content_type, await self._page())
        reader = SseReader(reply.backend)
        while (piece := await self._piece(chunks)) is not None:
            for match in _PROGRESS.finditer(piece):
                yield Prefill(int(match[1]), int(match[2]))
            if parsed := self._parsed(self._segments(reader.feed(piece))):
                yield parsed
            if self._done or decoder.stopped:
                return
        if parsed := self._parsed(self._segments(reader.finish())):
            yield parsed

    async def _piece(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The body's next bytes. What goes wrong once the answer is over is no matter any more."""
        over = self._decoder.finish_reason is not None
        try:
            async with asyncio.timeout(self._tail if over else None):
                return await anext(chunks, None)
        except (TimeoutError, UpstreamError):
            if over:
                return None
            raise

    async def _page(self) -> bytes:
        try:
            return await self._reply.read(MAX_BODY_BYTES)
        except UpstreamError:
            return b""

    def _segments(self, events: Iterable[SseEvent]) -> list[Segment]:
        return [segment for chunk in self._chunks(events) for segment in self._take(chunk)]

    def _chunks(self, events: Iterable[SseEvent]) -> Iterator[Chunk]:
        """What one piece of the body says, a run of text as one."""
        text = ""
        for event in events:
            chunk = self._event(event.event, event.data)
            if chunk is None:
                continue
            if chunk.is_text:
                text += chunk.text
                continue
            if text:
                yield Chunk(text)
                text = ""
            yield chunk
        if text:
            yield Chunk(text)

    def _event(self, kind: str, data: str) -> Chunk | None:
        if self._done or not data.strip():
            return None
        if data.strip() == "[DONE]":
            self._done = True
            return None
        if kind == "error":
            raise faults.in_stream(self._reply.backend, _json(data) or data)
        return self._chunk(data)

    def _chunk(self, data: str | bytes) -> Chunk:
        try:
            chunk = read_chunk(fastjson.loads(data))
        except (ValueError, RecursionError):
            raise faults.garbage(self._reply.backend, _nonsense(data)) from None
        if chunk.error:
            raise faults.in_stream(self._reply.backend, {"error": chunk.error})
        return chunk

    def _take(self, chunk: Chunk) -> list[Segment]:
        self._usage = chunk.usage or self._usage
        if chunk.text or chunk.reasoning or chunk.calls:
            self._last = self._clock()
            self._first = self._last if self._first is None else self._first
        return self._decoder.feed(chunk)

    # ------------------------------------------------------------------------------- the end

    def _check_end(self) -> None:
        """Raises UpstreamError if what came is no answer, or not all of it."""
        decoder, backend = self._decoder, self._reply.backend
        reason = decoder.finish_reason
        if failed(reason):
            raise faults.in_stream(backend, {"error": _BUSY if busy(reason) else _BROKE_OFF})
        if refused(reason) and not decoder.spoke:
            raise faults.in_stream(backend, {"error": _FILTERED})
        if over_window(reason) and not decoder.spoke:
            raise faults.in_stream(backend, {"error": _WINDOW})
        if reason is None and not decoder.stopped and not (self._done and decoder.spoke):
            what = "an answer without an end" if decoder.spoke else "an answer with nothing in it"
            raise faults.garbage(backend, what)

    def _parsed(self, segments: list[Segment]) -> Parsed | None:
        if not segments:
            return None
        segments = _together(segments)
        text = shown(segments)
        self._characters += len(text)
        tokens = round(self._characters / self._figures.ratio) - self._counted
        self._counted += tokens
        return Parsed(tuple(segments), text, tokens)

    def _finish(self) -> Finish:
        decoder, usage = self._decoder, self._usage
        if usage is not None and usage.prompt:
            self._figures.learn(usage.prompt)
        first = self._last if self._first is None else self._first
        return Finish(
            outcome(decoder.finish_reason, decoder.stop),
            self._true_usage(),
            stop_sequence=decoder.stop,
            prefill_ms=(first - self._opened) * 1000,
            decode_ms=(self._last - first) * 1000,
            estimated=usage is None,
        )

    def _true_usage(self) -> Usage:
        """As the server told it; by characters where it told nothing."""
        usage, estimate = self._usage, self._admission.usage
        counted = max(self._counted, int(self._characters > 0))
        if usage is None:
            return Usage(estimate.input_tokens, output_tokens=counted)
        if not usage.prompt:
            return Usage(estimate.input_tokens, output_tokens=usage.output)
        rest = usage.prompt - usage.cached - usage.created
        return Usage(rest, usage.cached, usage.created, usage.output or counted)


def _together(segments: list[Segment]) -> list[Segment]:
    """Text that came in one piece of the body stays in one, however many events it was."""
    out: list[Segment] = []
    for _, run in groupby(segments, type):
        first, *others = run
        if others and isinstance(first, TextPiece | ThinkingPiece):
            out.append(replace(first, text=shown([first, *others])))
        else:
            out += [first, *others]
    return out


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Reads what frames the end of a body, so that its connection can be used again."""
    with suppress(TimeoutError, UpstreamError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass


def _json(data: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value


def _nonsense(data: str | bytes) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return f"something that is no piece of an answer: {text[:100]!r}"
