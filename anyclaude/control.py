"""What can be asked of and done to a running anyclaude.

The admin routes, the console and the commands all speak to this one protocol; the runtime is
what stands behind it, in process or at the other end of HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from anyclaude.events import EngineState, TierStats, Vitals
from anyclaude.records import (
    ExportFormat,
    RequestDetail,
    RequestRecord,
    SqlResult,
    ToolCallRecord,
    ToolVersion,
)

SHORTEN = "shorten"
"""The switch that has prompts shortened; see :attr:`Switch.name`."""
ROWS_HEADER = "anyclaude-rows"
"""The header of an exported file's answer that says how many rows it has."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model on this machine. ``size_bytes`` is the weights on disk, ``fits`` for its memory."""

    name: str
    path: str
    size_bytes: int
    quantization: str
    context_limit: int
    tools: Literal["template", "fallback", "unknown"]
    fits: bool
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """One backend and how it is doing; ``latency_ms`` is its recent median time to first token.

    ``breaker`` is closed, open or half-open, empty where there is none; an open one stays so for
    ``open_for_s`` more seconds (``None``: until it is reset). ``error_ratio`` is of the last
    minute's calls, ``models`` are the names that it lists.
    """

    name: str
    type: str
    healthy: bool
    in_flight: int
    latency_ms: float | None
    detail: str = ""
    address: str = ""
    waiting: int = 0
    breaker: str = ""
    open_for_s: float | None = 0.0
    error_ratio: float = 0.0
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class McpServerInfo:
    """One MCP server: ``transport`` is stdio or http, ``state`` starting, ready, failed or stopped.

    ``offered`` tools are told to the model, and those that ``run`` do so unasked; ``refused`` says
    of others why they are not offered.
    """

    name: str
    transport: str
    state: str
    detail: str = ""
    offered: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush of one tier freed."""

    tier: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """The state of the whole process at one moment."""

    version: str
    address: str
    uptime_s: float
    engine: EngineState
    vitals: Vitals
    requests_total: int
    errors_total: int
    output_tokens_total: int
    tool_calls_total: int
    tool_calls_failed: int


@dataclass(frozen=True, slots=True)
class PrefixNode:
    """One edge of the prefix tree: the run of ``tokens`` tokens from position ``start`` on.

    ``id`` is good for one picture only; ``parent`` is the edge that it goes on from, or ``None``
    at the beginning of a prompt. ``bytes`` counts what it takes in memory, 0 when it is only on
    disk. ``running`` counts the requests under way that hold it, ``sessions`` are those that lie
    on it as far as they are known, newest first. ``used_at`` is a Unix time, ``text`` how it
    begins, about 60 characters.
    """

    id: int
    parent: int | None
    start: int
    tokens: int
    bytes: int
    on_disk: bool
    pinned: bool
    running: int
    sessions: tuple[str, ...]
    used_at: float
    text: str


@dataclass(frozen=True, slots=True)
class PrefixTreePicture:
    """The prefix tree at one moment, each edge after its parent; ``left_out`` edges are not in."""

    model: str
    nodes: tuple[PrefixNode, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class SlotTarget:
    """Where the requests of one of the client's slots go: a backend's name, or ``NAME/model``,
    given by hand; empty where the routes say."""

    slot: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that can be turned on and off while anyclaude runs; ``group`` is its heading."""

    name: str
    on: bool
    help: str
    group: str


class Control(Protocol):
    """Steering and asking. Every method raises :class:`anyclaude.errors.ApiError` kinds."""

    async def stats(self) -> Stats: ...

    async def cache(self) -> tuple[TierStats, ...]: ...

    async def flush(self, tier: str | None = None) -> tuple[Flushed, ...]:
        """Empties one tier, or all; raises InvalidRequest for an unknown word."""
        ...

    async def models(self) -> tuple[ModelInfo, ...]: ...

    async def load_model(self, name: str) -> None:
        """Starts a load or swap and returns; progress comes as EngineState events."""
        ...

    async def unload_model(self) -> None: ...

    async def restart_engine(self) -> None:
        """Starts a new MLX thread after the old one died, and loads its model again."""
        ...

    async def backends(self) -> tuple[BackendInfo, ...]: ...

    async def reset_backend(self, name: str) -> None:
        """Closes a backend's breaker, so that requests go there again; raises NotFound."""
        ...

    async def mcp(self) -> tuple[McpServerInfo, ...]:
        """The MCP servers whose tools run here."""
        ...

    async def tools(self) -> tuple[ToolVersion, ...]:
        """Every version of a tool that clients offered since the start, by name and number."""
        ...

    async def slots(self) -> tuple[SlotTarget, ...]:
        """Claude Code's slots: opus, sonnet, haiku, subagent."""
        ...

    async def set_slot(self, slot: str, target: str) -> None:
        """Has a slot's requests go to a backend, or ``NAME/model``, until anyclaude ends; an empty
        ``target`` has them go where the routes say.

        Raises InvalidRequest for another slot, NotFound for a backend that no route leads to.
        """
        ...

    async def requests(
        self, limit: int = 200, before: float | None = None
    ) -> tuple[RequestRecord, ...]:
        """Finished requests, newest first, started before the Unix time ``before``."""
        ...

    async def running(self) -> tuple[RequestRecord, ...]:
        """Answers that are under way, oldest first: status 0, figures as they stand."""
        ...

    async def detail(self, request_id: str) -> RequestDetail:
        """Raises NotFound when the request is neither recent nor in the log."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """True if it was running or waiting."""
        ...

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None) -> SqlResult:
        """Runs one read-only statement; raises InvalidRequest with DuckDB's own message.

        Texts are cut at ``longest`` characters and say so. Cancelling the caller stops it.
        """
        ...

    async def export_sql(
        self, query: str, path: Path, format: ExportFormat, replace: bool = False
    ) -> int:
        """Writes every row of one read-only statement to ``path`` here; how many there were.

        Cancelling the caller stops it and leaves no file. Raises InvalidRequest for a bad
        statement, UsageError when the file can't be written, or is there already and
        ``replace`` is false.
        """
        ...

    async def prefix_tree(self, limit: int = 400) -> PrefixTreePicture:
        """At most ``limit`` edges, those used last and then the largest ones first."""
        ...

    async def pause(self, paused: bool) -> None:
        """Has new requests wait in the queue until it is called with ``False``: as many as may
        wait at any time. What runs goes on, and so does counting tokens."""
        ...

    async def pin(self, session_id: str, pinned: bool) -> None:
        """Keeps what a session has in the prefix tree, and will have, from eviction until told
        otherwise; ``False`` lets go of the pin that every main conversation has too, until its
        next answer.

        Raises NotFound for a session that the tree doesn't know.
        """
        ...

    async def replay(self, request_id: str, model: str = "") -> str:
        """Runs a logged request again, without a client; the new request's id, at once.

        ``model`` takes the place of the name it asked for. Raises NotFound when its body isn't
        kept any more, InvalidRequest when that can't be read.
        """
        ...

    async def reparse(self, request_id: str) -> tuple[ToolCallRecord, ...]:
        """What today's parser and repair make of a logged request's output; changes nothing.

        Raises NotFound when the output isn't kept any more.
        """
        ...

    async def switches(self) -> tuple[Switch, ...]: ...

    async def set_switch(self, name: str, on: bool) -> None:
        """For the requests that come from now on; raises NotFound for an unknown name."""
        ...

    async def pull_model(self, name: str) -> None:
        """Starts a download and returns; progress comes as PullState events.

        Raises Conflict while another one is under way.
        """
        ...
