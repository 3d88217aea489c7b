"""The admin routes of a running server as a :class:`anyclaude.control.Control`.

Answers are turned back into the very values the server had, and its errors into the exceptions
it raised. The connection is loopback or the user's own: proxies of the environment are ignored.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import types
import typing
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote

import httpx

from anyclaude import errors
from anyclaude.config.files import appearing
from anyclaude.config.state import ServerState
from anyclaude.control import (
    ROWS_HEADER,
    BackendInfo,
    Flushed,
    McpServerInfo,
    ModelInfo,
    PrefixTreePicture,
    SlotTarget,
    Stats,
    Switch,
)
from anyclaude.errors import ApiError, EngineFailed, InvalidRequest, Unavailable
from anyclaude.event_json import from_json
from anyclaude.events import Event, TierStats
from anyclaude.records import (
    ExportFormat,
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolVersion,
)

T = TypeVar("T")

_PIECE = 256 * 1024

_BY_STATUS: Mapping[int, type[ApiError]] = {
    kind.status: kind
    for kind in (
        errors.InvalidRequest,
        errors.AuthenticationFailed,
        errors.PermissionDenied,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.RequestTimeout,
        errors.Conflict,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        errors.RateLimited,
        errors.EngineFailed,
        errors.Unavailable,
        errors.Overloaded,
    )
}


class AdminClient:
    """Control of a server in another process. Every method raises ApiError kinds."""

    def __init__(
        self, state: ServerState, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._open(state.address, state.token, transport)

    @classmethod
    def at(
        cls, address: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> AdminClient:
        """For a server known by its URL instead of its state file."""
        client = cls.__new__(cls)
        client._open(address, token, transport)
        return client

    def _open(self, address: str, token: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self.address = address.rstrip("/")
        self.token = token
        self._http = httpx.AsyncClient(
            base_url=self.address,
            headers={b"Authorization": f"Bearer {token}".encode()},  # Keys needn't be ASCII.
            timeout=httpx.Timeout(30.0, connect=5.0),
            trust_env=False,
            transport=transport,
        )

    async def __aenter__(self) -> AdminClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def health(self) -> Mapping[str, object]:
        """The body of ``/health``; raises Unavailable when nothing answers."""
        return cast("Mapping[str, object]", await self._ask("GET", "/health"))

    async def alive(self) -> bool:
        """Whether the server answers at all."""
        return await self._says_yes("/health/live")

    async def ready(self) -> bool:
        """Whether its model answers."""
        return await self._says_yes("/health/ready")

    async def stats(self) -> Stats:
        return decode(Stats, await self._ask("GET", "/anyclaude/stats"))

    async def cache(self) -> tuple[TierStats, ...]:
        return _list(TierStats, await self._ask("GET", "/anyclaude/cache"))

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        query = {} if tier is None else {"tier": tier}
        return _list(Flushed, await self._ask("DELETE", "/anyclaude/cache", query=query))

    async def models(self) -> tuple[ModelInfo, ...]:
        return _list(ModelInfo, await self._ask("GET", "/anyclaude/models"))

    async def load_model(self, name: str) -> None:
        await self._ask("PUT", "/anyclaude/model", body={"name": name})

    async def unload_model(self) -> None:
        await self._ask("DELETE", "/anyclaude/model")

    async def restart_engine(self) -> None:
        await self._ask("POST", "/anyclaude/engine/restart")

    async def backends(self) -> tuple[BackendInfo, ...]:
        return _list(BackendInfo, await self._ask("GET", "/anyclaude/backends"))

    async def reset_backend(self, name: str) -> None:
        await self._ask("POST", f"/anyclaude/backends/{quote(name, safe='')}/reset")

    async def mcp(self) -> tuple[McpServerInfo, ...]:
        return _list(McpServerInfo, await self._ask("GET", "/anyclaude/mcp"))

    async def tools(self) -> tuple[ToolVersion, ...]:
        return _list(ToolVersion, await self._ask("GET", "/anyclaude/tools"))

    async def slots(self) -> tuple[SlotTarget, ...]:
        return _list(SlotTarget, await self._ask("GET", "/anyclaude/slots"))

    async def set_slot(self, slot: str, target: str) -> None:
        await self._ask("PUT", "/anyclaude/slots", body={"slot": slot, "target": target})

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        query: dict[str, str] = {"limit": str(limit)}
        if before is not None:
            query["before"] = repr(before)
        return _list(RequestRecord, await self._ask("GET", "/anyclaude/requests", query=query))

    async def running(self) -> tuple[RequestRecord, ...]:
        return _list(RequestRecord, await self._ask("GET", "/anyclaude/running"))

    async def detail(self, request_id: str) -> RequestDetail:
        return decode(RequestDetail, await self._ask("GET", _of_request(request_id)))

    async def cancel(self, request_id: str) -> bool:
        raw = await self._ask("POST", _of_request(request_id, "/cancel"))
        return bool(raw.get("cancelled")) if isinstance(raw, Mapping) else bool(raw)

    async def replay(self, request_id: str, model: str = "") -> str:
        body = {"model": model} if model else {}
        raw = await self._ask("POST", _of_request(request_id, "/replay"), body=body)
        return decode(_Named, raw).id

    async def reparse(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        raw = await self._ask("POST", _of_request(request_id, "/reparse"))
        return _list(ToolCallRecord, raw)

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        body: dict[str, object] = {"query": query, "limit": limit}
        if longest is not None:
            body["longest"] = longest
        raw = await self._ask("POST", "/anyclaude/sql", body=body, patient=True)
        # In a thread: an attached console would stand still for a wide result.
        return await asyncio.to_thread(decode, SqlResult, raw)

    async def export_sql(
        self, query: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        with appearing(path, replace=replace) as unfinished:
            try:
                return await self._save(unfinished, {"query": query, "format": format})
            except httpx.HTTPError as error:
                raise self._lost(error) from error

    async def _save(self, target: Path, body: Mapping[str, str]) -> int:
        """The rows of the file that was sent; its bytes are in ``target``."""
        timeout = httpx.Timeout(None, connect=5.0)
        path = "/anyclaude/sql/export"
        async with self._http.stream("POST", path, json=body, timeout=timeout) as response:
            if response.is_error:
                await response.aread()
                raise error_of(response)
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes(_PIECE):
                    await asyncio.to_thread(file.write, chunk)
            return int(response.headers[ROWS_HEADER])

    async def prefix_tree(self, limit: int = 400) -> PrefixTreePicture:
        query = {"limit": str(limit)}
        raw = await self._ask("GET", "/anyclaude/cache/tree", query=query)
        return decode(PrefixTreePicture, raw)

    async def pause(self, paused: bool) -> None:
        await self._ask("PUT", "/anyclaude/admission", body={"paused": paused})

    async def pin(self, session_id: str, pinned: bool) -> None:
        body = {"session_id": session_id, "pinned": pinned}
        await self._ask("PUT", "/anyclaude/cache/pins", body=body)

    async def switches(self) -> tuple[Switch, ...]:
        return _list(Switch, await self._ask("GET", "/anyclaude/switches"))

    async def set_switch(self, name: str, on: bool) -> None:
        await self._ask("PUT", "/anyclaude/switches", body={"name": name, "on": on})

    async def pull_model(self, name: str) -> None:
        await self._ask("POST", "/anyclaude/models", body={"name": name})

    async def message(self, body: Mapping[str, object], *, session: str) -> object:
        """The answer to a ``POST /v1/messages`` of a side session, however long it takes."""
        headers = {"x-claude-code-session-id": session, "x-claude-code-agent-id": session}
        return await self._ask("POST", "/v1/messages", body=body, patient=True, headers=headers)

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens from now on, until the server stops or the iterator is closed."""
        try:
            async with self._http.stream(
                "GET", "/anyclaude/events", timeout=httpx.Timeout(None, connect=5.0)
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise error_of(response)
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        event = from_json(json.loads(line[5:]))
                        if event is not None:
                            yield event
        except httpx.HTTPError as error:
            raise self._lost(error) from error

    async def _says_yes(self, path: str) -> bool:
        try:
            response = await self._http.get(path, timeout=5.0)
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        patient: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> object:
        timeout = httpx.Timeout(None, connect=5.0) if patient else self._http.timeout
        try:
            response = await self._http.request(
                method, path, params=query, json=body, timeout=timeout, headers=headers
            )
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        if response.is_error:
            raise error_of(response)
        if not response.content:
            return None
        try:
            return cast(object, response.json())
        except ValueError as error:
            raise EngineFailed(f"{self.address}{path} answered with something else") from error

    def _lost(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"no anyclaude answers at {self.address} ({str(error) or type(error).__name__})"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Named:
    """The answer that names what was begun."""

    id: str


def _of_request(request_id: str, action: str = "") -> str:
    return f"/anyclaude/requests/{quote(request_id, safe='')}{action}"


def error_of(response: httpx.Response) -> ApiError:
    """The exception that an Anthropic-shaped error stands for; the body must have been read."""
    kind = _BY_STATUS.get(response.status_code, ApiError)
    message = f"HTTP {response.status_code}"
    try:
        raw = response.json()
        message = str(raw["error"]["message"])
    except (ValueError, KeyError, TypeError):
        pass
    if kind is InvalidRequest:
        return InvalidRequest(message)
    wait = response.headers.get("retry-after", "")
    return kind(message, retry_after=float(wait) if wait.isdigit() else None)


# --------------------------------------------------------------------------- JSON to values


def decode(cls: type[T], raw: object) -> T:
    """A value of ``dataclasses.asdict`` form as its class again; unknown keys are left out.

    Raises EngineFailed when the shape doesn't fit, as a server of another release may cause.
    """
    try:
        return cast(T, _value(cls, raw))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise EngineFailed(
            f"the server's {cls.__name__} can't be read ({error}); do both run the same release?"
        ) from error


def _list(cls: type[T], raw: object) -> tuple[T, ...]:
    if isinstance(raw, Mapping) and len(raw) == 1:
        raw = next(iter(raw.values()))
    if not isinstance(raw, list):
        raise EngineFailed(f"the server sent no list of {cls.__name__}")
    return tuple(decode(cls, item) for item in raw)


@functools.cache
def _hints(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _value(hint: Any, raw: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = _hints(hint)
        return hint(**{k: _value(hints[k], v) for k, v in raw.items() if k in hints})
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], item) for item in raw)
    if origin is tuple:
        return tuple(_value(arg, item) for arg, item in zip(args, raw, strict=True))
    if origin in (typing.Union, types.UnionType):
        if raw is None:
            return None
        return _value(next(a for a in args if a is not type(None)), raw)
    if hint is float:
        return float(raw)
    if origin is Literal and raw not in args:
        raise ValueError(f"{raw!r} is none of {args}")
    return raw
