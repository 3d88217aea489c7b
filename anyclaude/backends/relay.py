"""Anthropic's API, or a server that speaks it, passed through byte for byte."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from anyclaude.backend import Relayed, RelayRequest
from anyclaude.backends import faults
from anyclaude.backends.cache_marks import CacheMarks, add_marks
from anyclaude.backends.faults import Headers
from anyclaude.backends.http import Reply, Timeouts, Upstream
from anyclaude.backends.model_field import with_model

BASE_URL = "https://api.anthropic.com"

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
# Made anew by our own client. An answer that may be compressed couldn't be read in passing.
_OURS_TO_UPSTREAM = _HOP_BY_HOP | {"host", "content-length", "expect", "accept-encoding"}
_KEYS = frozenset({"x-api-key", "authorization"})
# Framing and dates are our server's own, and what binds a browser to upstream's host isn't ours.
_NOT_TO_CLIENT = _HOP_BY_HOP | {
    "content-length",
    "date",
    "server",
    "set-cookie",
    "alt-svc",
    "strict-transport-security",
    "report-to",
    "reporting-endpoints",
    "nel",
}
_PAGE_BYTES = 16 * 1024
_LIST_BYTES = 4 * 1024 * 1024
_VERSION = "2023-06-01"  # the only one there is
_PROBING = Timeouts(connect=3.0, headers=5.0, idle=5.0)


@dataclass(frozen=True, slots=True)
class AnthropicOptions:
    """One such server. Without an ``api_key`` the client's own goes through.

    ``base_url`` may end in ``/v1``. ``headers`` are sent with each request in place of the
    client's of the same name, except ``anthropic-beta``, which adds to the client's.
    """

    name: str
    base_url: str = BASE_URL
    api_key: str = field(default="", repr=False)
    headers: Headers = field(default=(), repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    cache_marks: CacheMarks = field(default_factory=CacheMarks)


class AnthropicBackend:
    """A :class:`~anyclaude.backend.RelayBackend`."""

    def __init__(
        self, options: AnthropicOptions, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._options = options
        base_url = options.base_url.rstrip("/").removesuffix("/v1")
        self._upstream = Upstream(options.name, base_url, options.timeouts, clock=clock)

    @property
    def name(self) -> str:
        return self._options.name

    async def relay(self, request: RelayRequest) -> Relayed:
        path = f"{request.path}?{request.query}" if request.query else request.path
        body = add_marks(request.body, self._options.cache_marks, request.payload)
        if request.model:
            body = with_model(body, request.model)
        reply = await self._upstream.post(path, self._headers(request.headers), body)
        try:
            await self._check(reply)
        except BaseException:
            reply.close()
            raise
        return _Passing(reply)

    async def health(self) -> None:
        """Raises UpstreamError unless the server answers, and takes our key if we have one."""
        reply = await self._upstream.get("/v1/models", self._own_headers(), timeouts=_PROBING)
        if reply.status >= 500 or (self._options.api_key and reply.status in (401, 403)):
            raise await reply.error()
        reply.close()

    async def model_names(self) -> tuple[str, ...]:
        """The models that our key may use; none without one, for the list wants a key."""
        if not self._options.api_key:
            return ()
        reply = await self._upstream.get(
            "/v1/models?limit=1000", self._own_headers(), timeouts=_PROBING
        )
        if reply.status != 200:
            raise await reply.error()
        try:
            listed = json.loads(await reply.read(_LIST_BYTES))
            return tuple(str(model["id"]) for model in listed["data"])
        except (ValueError, TypeError, KeyError) as error:
            raise faults.garbage(self.name, "no list of models") from error

    async def close(self) -> None:
        """Closes every connection."""
        await self._upstream.close()

    def _own_headers(self) -> list[tuple[str, str]]:
        """For what we ask ourselves, without a client."""
        return self._headers((("anthropic-version", _VERSION), ("accept", "application/json")))

    async def _check(self, reply: Reply) -> None:
        if not 200 <= reply.status < 300:
            error = await reply.error()
            error.headers = _passable(error.headers)
            error.passable = True
            raise error
        if reply.content_type not in ("", "application/json", "text/event-stream"):
            page, _ = await reply.beginning(_PAGE_BYTES)
            raise faults.wrong_content(self.name, reply.content_type, page)

    def _headers(self, client: Headers) -> list[tuple[str, str]]:
        added = [(name.lower(), value) for name, value in self._options.headers]
        dropped = _OURS_TO_UPSTREAM | _named_by_connection(client)
        dropped |= {name for name, _ in added if name != "anthropic-beta"}
        if self._options.api_key:
            dropped |= _KEYS
            added.append(("x-api-key", self._options.api_key))
        sent = [
            (name.lower(), _as_sent(value)) for name, value in client if name.lower() not in dropped
        ]
        return sent + added


class _Passing:
    """An answer on its way."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = _passable(reply.headers)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._reply.chunks()

    async def close(self) -> None:
        self._reply.close()


def _passable(headers: Headers) -> Headers:
    dropped = _NOT_TO_CLIENT | _named_by_connection(headers)
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)


def _named_by_connection(headers: Headers) -> frozenset[str]:
    return frozenset(
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
    )


def _as_sent(value: str) -> str:
    """Our server reads headers as Latin-1, our client writes them as UTF-8."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
