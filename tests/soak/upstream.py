"""Backends of which every third answer or so goes wrong, each in one of the ways there are.

A server here speaks Anthropic's dialect or that of chat completions. What it does with a request
is drawn from a seed, and counted by name.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time
from typing import Any, Literal, TypeAlias

from tests.doubles.chaos_upstream import SSE_HEAD, Connection, chunk, content_length

Dialect: TypeAlias = Literal["anthropic", "openai"]
Asked: TypeAlias = Mapping[str, Any]

HEALTHY = 0.65
"""The share of requests that are answered as they should be."""
JSON = "content-type: application/json"
PAGE = b"<html><title>Sign in</title></html>"
CACHED = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
USAGE = {"input_tokens": 400, "output_tokens": 20, **CACHED}
END = b"0\r\n\r\n"


def sse(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def data(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def reply(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {size}", "", ""]
    return "\r\n".join(lines).encode() + body


def error(status: str, kind: str, *headers: str) -> bytes:
    body = {"type": "error", "error": {"type": kind, "message": f"said {status}"}}
    return reply(status, json.dumps(body).encode(), JSON, *headers)


# ----------------------------------------------------------------------------- whole answers


def anthropic_blocks(rng: random.Random, asked: Asked) -> list[dict[str, Any]]:
    text = " ".join(rng.choices(("the", "file", "is", "naïve", "日本語"), k=rng.randint(1, 30)))
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if asked.get("tools") and rng.random() < 0.5:
        call = {"type": "tool_use", "id": f"toolu_{rng.getrandbits(60):x}", "name": "Bash"}
        blocks.append({**call, "input": {"command": f"ls {rng.randint(0, 9)}"}})
    return blocks


def anthropic_message(rng: random.Random, asked: Asked) -> dict[str, Any]:
    blocks = anthropic_blocks(rng, asked)
    return {
        "id": f"msg_{rng.getrandbits(60):x}",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": blocks,
        "stop_reason": "tool_use" if len(blocks) > 1 else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def anthropic_events(rng: random.Random, asked: Asked) -> list[bytes]:
    message = anthropic_message(rng, asked)
    begun = {**message, "content": [], "stop_reason": None}
    events = [sse("message_start", message=begun)]
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, whole, kind, key = {**block, "text": ""}, block["text"], "text_delta", "text"
        else:
            empty, whole = {**block, "input": {}}, json.dumps(block["input"])
            kind, key = "input_json_delta", "partial_json"
        events.append(sse("content_block_start", index=index, content_block=empty))
        for at in range(0, len(whole), 12):
            piece = {"type": kind, key: whole[at : at + 12]}
            events.append(sse("content_block_delta", index=index, delta=piece))
        events.append(sse("content_block_stop", index=index))
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return [*events, sse("message_delta", delta=stop, usage=USAGE), sse("message_stop")]


def openai_events(rng: random.Random, asked: Asked) -> list[bytes]:
    def piece(delta: object, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return data({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})

    text, *calls = anthropic_blocks(rng, asked)
    events = [piece({"content": word + " "}) for word in text["text"].split(" ")]
    for call in calls:
        function = {"name": call["name"], "arguments": json.dumps(call["input"])}
        made = {"index": 0, "id": call["id"], "type": "function", "function": function}
        events.append(piece({"tool_calls": [made]}))
    usage = {"prompt_tokens": 400, "completion_tokens": 20, "total_tokens": 420}
    return [
        *events,
        piece({}, "tool_calls" if calls else "stop"),
        data({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]


# ----------------------------------------------------------------------------- the server


@dataclass(slots=True)
class Faulty:
    """The server; ``did`` counts what it did, by name."""

    dialect: Dialect
    rng: random.Random
    port: int = 0
    did: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        path = "/v1" if self.dialect == "openai" else ""
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keeps = True
        try:
            while keeps:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(content_length(head))
                keeps = await self._answer(Connection(reader, writer, head, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            # The end of the run.
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, at: Connection) -> bool:
        """Whether the connection may be used again."""
        method, target = at.head.split(b" ", 2)[:2]
        if method != b"POST":
            return await self._told(at, reply("200 OK", b'{"data": []}', JSON))
        if b"count_tokens" in target:
            return await self._told(at, reply("200 OK", b'{"input_tokens": 400}', JSON))
        asked = json.loads(at.body)
        if self.rng.random() < HEALTHY:
            self.did["whole"] += 1
            return await self._whole(at, asked)
        name, fault = self.rng.choice(FAULTS)
        self.did[name] += 1
        return await fault(self, at, asked)

    async def _told(self, at: Connection, *parts: bytes) -> bool:
        await at.send(*parts)
        return True

    async def _whole(self, at: Connection, asked: Asked) -> bool:
        if self.dialect == "anthropic" and not asked.get("stream"):
            message = json.dumps(anthropic_message(self.rng, asked)).encode()
            return await self._told(at, reply("200 OK", message, JSON))
        return await self._told(at, SSE_HEAD, *map(chunk, self.events(asked)), END)

    def events(self, asked: Asked) -> list[bytes]:
        make = anthropic_events if self.dialect == "anthropic" else openai_events
        return make(self.rng, asked)

    def begun(self, asked: Asked) -> list[bytes]:
        """The first events of an answer, some content among them, and never its end."""
        events = self.events(asked)
        return events[: self.rng.randint(3 if self.dialect == "anthropic" else 1, len(events) - 3)]

    def said_wrong(self) -> bytes:
        """An error inside a stream."""
        wrong = {"type": "overloaded_error", "message": "said in the stream"}
        if self.dialect == "anthropic":
            return sse("error", error=wrong)
        return data({"error": {**wrong, "code": 503}})


@asynccontextmanager
async def faulty(dialect: Dialect, seed: int) -> AsyncIterator[Faulty]:
    there = Faulty(dialect, random.Random(seed))
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    try:
        yield there
    finally:
        server.close()


# ----------------------------------------------------------------------------- the faults

Fault: TypeAlias = Callable[[Faulty, Connection, Asked], Awaitable[bool]]


def ends(*parts: bytes) -> Fault:
    """Those bytes, and the end of the connection."""

    async def fault(there: Faulty, at: Connection, asked: Asked) -> bool:
        await at.send(*parts)
        return False

    return fault


def hangs(*parts: bytes) -> Fault:
    async def fault(there: Faulty, at: Connection, asked: Asked) -> bool:
        await at.send(*parts)
        await at.hang()
        return False

    return fault


def refuses(status: str, kind: str, *headers: str) -> Fault:
    async def fault(there: Faulty, at: Connection, asked: Asked) -> bool:
        return await there._told(at, error(status, kind, *headers))

    return fault


async def reset(there: Faulty, at: Connection, asked: Asked) -> bool:
    at.reset()
    return False


async def limited_to_a_date(there: Faulty, at: Connection, asked: Asked) -> bool:
    date = formatdate(time() + 1, usegmt=True)
    return await there._told(at, error("429 Slow", "rate_limit_error", f"retry-after: {date}"))


async def dribbles(there: Faulty, at: Connection, asked: Asked) -> bool:
    """A whole answer, a few bytes at a time."""
    await at.send(SSE_HEAD)
    body = b"".join(there.events(asked))
    for start in range(0, len(body), 40):
        await at.send(chunk(body[start : start + 40]))
        await asyncio.sleep(0)
    return await there._told(at, END)


def in_the_middle(then: Callable[[Faulty, Connection], Awaitable[None]]) -> Fault:
    async def fault(there: Faulty, at: Connection, asked: Asked) -> bool:
        await at.send(SSE_HEAD, *map(chunk, there.begun(asked)))
        await then(there, at)
        return False

    return fault


async def _hang(there: Faulty, at: Connection) -> None:
    await at.hang()


async def _reset(there: Faulty, at: Connection) -> None:
    at.reset()


async def _half(there: Faulty, at: Connection) -> None:
    await at.send(chunk(sse("content_block_delta", index=0)[:30]))


async def _end(there: Faulty, at: Connection) -> None:
    await at.send(END)


async def _error(there: Faulty, at: Connection) -> None:
    await at.send(chunk(there.said_wrong()), END)


async def _nonsense(there: Faulty, at: Connection) -> None:
    await at.send(b"sixteen\r\n")


async def error_first(there: Faulty, at: Connection, asked: Asked) -> bool:
    return await there._told(at, SSE_HEAD, chunk(there.said_wrong()), END)


FAULTS: Sequence[tuple[str, Fault]] = (
    ("closed before the status", ends()),
    ("closed in the headers", ends(b"HTTP/1.1 200 OK\r\ncontent-ty")),
    ("reset before the status", reset),
    ("silence before the status", hangs()),
    ("silence before content", hangs(SSE_HEAD)),
    ("garbage", ends(b"\x16\x03\x01 SSH-2.0-OpenSSH\r\n\r\n")),
    ("a page", ends(reply("200 OK", PAGE, "content-type: text/html"))),
    ("shorter than declared", ends(reply("200 OK", b'{"id":', JSON, length=50))),
    ("longer than declared", ends(reply("200 OK", b"{}{}", JSON, length=2))),
    ("429", refuses("429 Slow", "rate_limit_error")),
    ("429 with seconds", refuses("429 Slow", "rate_limit_error", "retry-after: 1")),
    ("429 with a date", limited_to_a_date),
    ("500", refuses("500 Oh", "api_error")),
    ("503", refuses("503 Busy", "api_error")),
    ("529", refuses("529 Busy", "overloaded_error", "retry-after: 0")),
    ("an error first", error_first),
    ("slow drip", dribbles),
    ("reset in the middle", in_the_middle(_reset)),
    ("silence in the middle", in_the_middle(_hang)),
    ("half an event", in_the_middle(_half)),
    ("an early end", in_the_middle(_end)),
    ("an error in the middle", in_the_middle(_error)),
    ("no chunk", in_the_middle(_nonsense)),
)
