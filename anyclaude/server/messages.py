"""``POST /v1/messages`` and ``count_tokens``.

Everything that can be refused is refused before the first byte, with its status; after that a
stream ends in ``message_stop`` or one ``error`` event. A client that leaves ends its generation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from functools import lru_cache, partial
from typing import cast

from quart import Response, g, request
from werkzeug.datastructures import Headers

from anyclaude.arrival import Arrival
from anyclaude.backend import Admission
from anyclaude.config.masking import SECRET_HEADER
from anyclaude.errors import ApiError
from anyclaude.events import SystemEvent
from anyclaude.prompt.roles import role_of
from anyclaude.relaying import Relay
from anyclaude.replayed import Replayed
from anyclaude.server.compress import event_stream
from anyclaude.server.context import Context, context, request_id
from anyclaude.server.errors import api_error
from anyclaude.server.exchange import close_later
from anyclaude.server.schema import ParseResult, parse_count, parse_messages, peek
from anyclaude.server.sse import sse
from anyclaude.server.wire import encode
from anyclaude.stream import MessageStop, StreamError, StreamEvent
from anyclaude.types import ClientInfo, MessagesRequest, Role

log = logging.getLogger(__name__)

SMALL_BYTES = 16 * 1024
"""Bodies up to it are parsed at once, which takes less than the way to a thread and back."""

_NOT_ADMITTED = {
    "x-anyclaude-cache": "tier=none; reused=0; prompt=0; cause=none",
    "x-anyclaude-backend": "none",
}
_NOT_SENT = frozenset({"remote-addr"})  # Quart adds it to the client's own headers


async def post_messages() -> Response:
    """Answers with a message, as a stream or whole."""
    server = context()
    arrival, parsed = await _arrive(server, parse_messages)
    await _admit(server, arrival, parsed.request, role_of(arrival.client, parsed.request))
    async with server.stopping.guard():
        exchange = await server.pipeline.open(arrival, parsed.request)
    g.about = _about(exchange.admission, exchange.cache_note)
    if isinstance(exchange, Relay):
        return await _passed_on(server, exchange)
    if not parsed.request.stream:
        async with server.stopping.guard():
            message = await exchange.message()
        return Response(encode(message), content_type="application/json")
    if isinstance(exchange, Replayed):
        async with server.stopping.guard():
            whole = await exchange.whole()
        return event_stream(_at_once(whole, request_id()))
    events = exchange.events()
    close_later(request, partial(_close, events))
    # Begun here: an iterator that was never begun has nothing to close, but holds a slot.
    async with server.stopping.guard():
        first = await anext(events)
    return event_stream(_stream(server, request_id(), events, first))


async def _passed_on(server: Context, relay: Relay) -> Response:
    """Another server's answer, with its status, its headers and its bytes."""
    body = relay.body()
    close_later(request, partial(_close, body))
    if relay.is_here:
        whole = b"".join([chunk async for chunk in body])
        response = Response(whole, status=relay.status)
        headers = [*relay.headers, ("content-length", str(len(whole)))]
    else:
        async with server.stopping.guard():
            first = await anext(body, b"")
        response = Response(_bytes(server, request_id(), relay, body, first), status=relay.status)
        headers = [*relay.headers]
    g.passed_on = True
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name, value)
    return response


async def _bytes(
    server: Context, id: str, relay: Relay, body: AsyncGenerator[bytes, None], first: bytes
) -> AsyncIterator[bytes]:
    chunk = first
    try:
        while chunk:
            yield chunk
            async with server.stopping.guard():
                chunk = await anext(body, b"")
    except Exception as error:
        told = api_error(error)
        if not relay.takes_events:
            raise  # The connection breaks off, or half a body would look like a whole one.
        yield sse(StreamError(told.type, told.message), id)
    finally:
        await _close(body)


async def post_count() -> Response:
    """Answers with the number of tokens the same request would be."""
    server = context()
    arrival, parsed = await _arrive(server, parse_count)
    await _admit(server, arrival, parsed.request, Role.COUNT)
    async with server.stopping.guard():
        tokens = await server.pipeline.count(arrival, parsed.request)
    return Response(encode({"input_tokens": tokens}), content_type="application/json")


async def _arrive(
    server: Context, parse: Callable[[bytes, str | None], ParseResult]
) -> tuple[Arrival, ParseResult]:
    started_at = server.clock()
    client = client_info(request.headers)
    body = b""
    try:
        body = await server.bodies.read(request)
        parsed = await _parsed(server, parse, body)
    except ApiError as error:
        if parse is parse_messages:
            await _reject(server, error, started_at, client, body)
        raise
    for note in parsed.notes:
        event = SystemEvent(server.clock(), "warning", "input", note, request_id())
        server.bus.publish(event)
    arrival = Arrival(
        request_id(),
        started_at,
        client,
        parsed.body,
        raw=body,
        payload=parsed.payload,
        headers=tuple(
            (name, value)
            for name, value in request.headers.to_wsgi_list()
            if name.lower() not in _NOT_SENT and not server.guard.opened_by(name, value)
        ),
        query=request.query_string.decode("latin-1"),
        key_name=_key_name(),
    )
    return arrival, parsed


async def _admit(server: Context, arrival: Arrival, asked: MessagesRequest, role: Role) -> None:
    """Raises when the request's virtual key may not ask this, and writes the row of that.

    As at Anthropic's API, counting tokens needs a key for the model and uses nothing of it.
    """
    if g.key is None or server.keys is None:
        return
    try:
        if role is Role.COUNT:
            server.keys.permit(g.key, asked.model)
        else:
            await server.keys.check(g.key, asked.model)
    except ApiError as error:
        await server.pipeline.reject(
            arrival, error, streaming=asked.stream, model=asked.model, role=role
        )
        raise


def _key_name() -> str:
    return g.key.name if g.key is not None else ""


async def _parsed(
    server: Context, parse: Callable[[bytes, str | None], ParseResult], body: bytes
) -> ParseResult:
    content_type = request.headers.get("content-type")
    if len(body) <= SMALL_BYTES:
        return parse(body, content_type)
    async with server.parsers:
        return await asyncio.to_thread(parse, body, content_type)


async def _reject(
    server: Context, error: ApiError, started_at: float, client: ClientInfo, body: bytes
) -> None:
    async with server.parsers:
        seen = await asyncio.to_thread(peek, body)
    arrival = Arrival(request_id(), started_at, client, seen.body, key_name=_key_name())
    await server.pipeline.reject(arrival, error, streaming=seen.streaming, model=seen.model)


async def _stream(
    server: Context, id: str, events: AsyncIterator[StreamEvent], first: StreamEvent
) -> AsyncGenerator[bytes, None]:
    event: StreamEvent | None = first
    ended = False
    try:
        while event is not None:
            ended = isinstance(event, MessageStop | StreamError)
            yield sse(event, id)
            async with server.stopping.guard():
                event = await anext(events, None)
    except Exception as error:
        told = api_error(error)
        if not ended:
            yield sse(StreamError(told.type, told.message), id)
    finally:
        await _close(events)


async def _at_once(events: Iterable[StreamEvent], id: str) -> AsyncGenerator[bytes, None]:
    """A stream that is all there: in one piece, a whole request took 2.4 ms in place of 2.6."""
    yield b"".join([sse(event, id) for event in events])


async def _close(events: AsyncIterator[object]) -> None:
    aclose = cast("Callable[[], Awaitable[None]] | None", getattr(events, "aclose", None))
    if aclose is not None:
        await aclose()


def about_headers() -> dict[str, str]:
    """What every answer to a message says of its backend and cache, a refusal included."""
    return cast("dict[str, str]", g.get("about")) or _NOT_ADMITTED


def _about(admission: Admission, cache_note: str = "") -> dict[str, str]:
    usage, miss = admission.usage, admission.miss
    tier = "none" if admission.tier is None else admission.tier.value
    said = [
        f"tier={tier}",
        f"reused={usage.cache_read_tokens}",
        f"prompt={usage.prompt_tokens}",
        f"cause={miss.cause.value}",
    ]
    if admission.from_disk:
        said.append(f"disk={admission.from_disk}")
    if miss.at is not None:
        said.append(f"at={miss.at}")
    if miss.message is not None:
        said.append("message=head" if miss.message < 0 else f"message={miss.message}")
    if miss.tokens_lost:
        said.append(f"lost={miss.tokens_lost}")
        if miss.seconds_lost:
            said.append(f"lost_s={miss.seconds_lost:.1f}")
    if cache_note:
        said.append(cache_note)
    return {"x-anyclaude-cache": "; ".join(said), "x-anyclaude-backend": admission.backend}


def client_info(headers: Headers) -> ClientInfo:
    """Who asks; of headers that sound like a secret not even the name is kept."""
    named = [(_kept_name(name), value) for name, value in headers.to_wsgi_list()]
    return client_of(pair for pair in named if pair[0])


@lru_cache(maxsize=512)
def _kept_name(name: str) -> str:
    """A header's name in lower case; empty for one that isn't kept."""
    lower = name.lower()
    return "" if lower in _NOT_SENT or SECRET_HEADER.search(lower) else lower


def client_of(headers: Iterable[tuple[str, str]]) -> ClientInfo:
    """Who asks, by the headers that are kept of it; of those of one name the first counts."""
    kept = tuple(headers)
    named = dict(reversed(kept))
    return ClientInfo(
        session_id=named.get("x-claude-code-session-id", ""),
        agent_id=named.get("x-claude-code-agent-id", ""),
        user_agent=named.get("user-agent", ""),
        headers=kept,
    )
