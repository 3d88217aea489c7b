"""A server that speaks chat completions, as strict as the real ones, on a port of its own.

It answers each request with the next of the answers put to it; what it refuses is refused as the
server does whose ``rules`` it goes by.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from aiohttp import web

from tests.doubles.openai_rules import RULES

Piece: TypeAlias = "bytes | asyncio.Event"
"""Bytes to send, or what to wait for before more are sent."""


@dataclass
class Answer:
    """``cut``: the connection is dropped at the end instead of closed as HTTP demands."""

    pieces: Sequence[Piece]
    content_type: str = "text/event-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class OpenAiUpstream:
    """Use it as a context. ``models`` is the body at ``/v1/models``, ``None`` for a 404."""

    kind: str = ""
    models: object = None
    model_headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    refused: list[tuple[int, object]] = field(default_factory=list)
    listed: int = 0
    peers: set[object] = field(default_factory=set)
    """The other ends of the connections that asked for answers."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away in the middle of an answer."""
    base_url: str = ""
    vector: Callable[[str], list[float]] | None = None
    """Of a text at ``/v1/embeddings``, ``None`` for a 404; its bodies are in ``embedded``."""
    embedded: list[dict[str, Any]] = field(default_factory=list)
    _answers: deque[Answer] = field(default_factory=deque)

    def say(self, *answers: Answer) -> None:
        self._answers.extend(answers)

    async def __aenter__(self) -> OpenAiUpstream:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/embeddings", self._embed)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        self.listed += 1
        if self.models is None:
            return web.Response(status=404, text="Not Found", headers=self.model_headers)
        return web.json_response(self.models, headers=self.model_headers)

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.embedded.append(body)
        if self.vector is None:
            return web.Response(status=404, text="Not Found")
        item = {"object": "embedding", "index": 0, "embedding": self.vector(body["input"])}
        return web.json_response({"object": "list", "model": body["model"], "data": [item]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        refusal = RULES[self.kind](body) if self.kind else None
        if refusal is not None:
            self.refused.append(refusal)
            return web.json_response(refusal[1], status=refusal[0])
        answer = self._answers.popleft()
        response = web.StreamResponse(
            status=answer.status, headers={"content-type": answer.content_type, **answer.headers}
        )
        try:
            await response.prepare(request)
            for piece in answer.pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                else:
                    await response.write(piece)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if answer.cut:
            request.transport.abort()
        return response


# ---------------------------------------------------------------------------------- answers


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunk(
    delta: Mapping[str, object] | None = None, finish: str | None = None, **more: object
) -> dict[str, object]:
    """A ``chat.completion.chunk``; ``more`` goes beside ``choices``."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
        **more,
    }


def usage(prompt: int = 50, output: int = 7, **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            **more,
        },
    }


def call(
    arguments: object = None,
    *,
    index: int | None = 0,
    id: str | None = None,
    name: str | None = None,
) -> dict[str, object]:
    """A delta with a piece of one call; what is ``None`` isn't in it."""
    function: dict[str, object] = {}
    if name is not None:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    piece: dict[str, object] = {"function": function}
    if index is not None:
        piece["index"] = index
    if id is not None:
        piece.update(id=id, type="function")
    return {"tool_calls": [piece]}


def stream(*values: object, done: bool = True, **answer: Any) -> Answer:
    """An answer in events; bytes and things to wait for go out as they are."""
    pieces = [v if isinstance(v, bytes | asyncio.Event) else event(v) for v in values]
    return Answer([*pieces, DONE] if done else pieces, **answer)


def words(texts: Iterable[str]) -> list[object]:
    return [chunk({"content": text}) for text in texts]


def said(text: str, finish: str = "stop") -> Answer:
    """A plain answer with usage."""
    first = chunk({"role": "assistant", "content": ""})
    return stream(first, *words(text), chunk(finish=finish), usage(output=len(text)))
