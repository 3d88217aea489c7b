"""Server-sent events out of bytes that may be cut anywhere, with the bytes of each kept.

The grammar is the one of the HTML standard, section 9.2; ``id`` and ``retry`` mean nothing here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from anyclaude.backends import faults

MAX_EVENT_BYTES = 16 * 1024 * 1024

# Atomic groups: CRLF must never count as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """``event`` is empty when the stream gave none; ``raw`` has comments that stood before it."""

    event: str
    data: str
    raw: bytes


class SseReader:
    """Takes a stream apart event by event; ``limit`` bounds what it holds of an unfinished one.

    All events' ``raw`` and then :attr:`rest` are, put together, exactly the bytes fed.
    """

    def __init__(self, backend: str, *, limit: int = MAX_EVENT_BYTES) -> None:
        self._backend = backend
        self._limit = limit
        self._held = b""  # comments and blank lines that belong to the next event
        self._buffer = bytearray()
        self._searched = 0
        self._begun = False

    @property
    def rest(self) -> bytes:
        """Bytes that are in no event yet."""
        return self._held + bytes(self._buffer)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that end in ``chunk``; raises UpstreamError when one grows over the limit."""
        buffer = self._buffer
        events: list[SseEvent] = []
        if not buffer and b"\r" not in chunk:  # As nearly all are: whole events, short line ends.
            *blocks, chunk = chunk.split(b"\n\n")
            for block in blocks:
                self._take_plain(block, events)
        buffer += chunk
        start = 0
        while match := _BLANK_LINE.search(buffer, max(start, self._searched)):
            end = match.end()
            if end == len(buffer) and buffer[-1] == 0x0D:
                break  # a line feed may follow that belongs to it
            self._take(bytes(buffer[start:end]), events)
            start = end
        del buffer[:start]
        self._searched = max(0, len(buffer) - 3)
        if len(buffer) + len(self._held) > self._limit:
            raise faults.garbage(self._backend, f"an event of more than {self._limit} bytes")
        return events

    def finish(self) -> list[SseEvent]:
        """What stood without a blank line after it at the end; its data may be half a thing."""
        events: list[SseEvent] = []
        block = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        if block:
            self._take(block, events)
        return events

    def _take_plain(self, block: bytes, events: list[SseEvent]) -> None:
        """A block without a carriage return: mostly ``event`` and ``data``, or ``data`` alone."""
        end, at = block.find(b"\n"), -1
        if end < 0 or (block.startswith(b"event: ") and block.startswith(b"data: ", end + 1)):
            at = end + 1
        if at < 0 or block.find(b"\n", at) >= 0 or not block.startswith(b"data: ", at):
            self._take(block + b"\n\n", events)
            return
        self._begun = True
        raw, self._held = self._held + block + b"\n\n", b""
        event = block[7:end].decode("utf-8", "replace") if at else ""
        events.append(SseEvent(event, block[at + 6 :].decode("utf-8", "replace"), raw))

    def _take(self, block: bytes, events: list[SseEvent]) -> None:
        raw, self._held = self._held + block, b""
        if not self._begun:
            self._begun = True
            block = block.removeprefix(_BOM)
        event, data = "", []
        for line in _LINE_END.split(block) if b"\r" in block else block.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
            elif line.startswith(b"event:"):
                event = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            elif line == b"data":
                data.append(b"")
            elif line == b"event":
                event = ""
        if data:
            text = data[0] if len(data) == 1 else b"\n".join(data)
            events.append(SseEvent(event, text.decode("utf-8", "replace"), raw))
        else:
            self._held = raw
