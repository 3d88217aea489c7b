"""What is still known of a request beyond its row: in memory, or in its trace on disk."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from anyclaude.errors import NotFound
from anyclaude.recent import RecentDetails
from anyclaude.records import RequestDetail
from anyclaude.traces import read_stream, read_trace

_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


class KeptRequests:
    """Finds the details of requests; ``data`` is the folder their files are below."""

    def __init__(self, recent: RecentDetails, data: Path) -> None:
        self._recent = recent
        self._traces = data / "traces"
        self._streams = data / "streams"

    async def find(self, request_id: str) -> RequestDetail | None:
        """The request's detail, or ``None`` if it isn't kept (any more)."""
        detail = self._recent.get(request_id)
        if detail is not None or not _ID.fullmatch(request_id):
            return detail
        return await asyncio.to_thread(read_trace, self._traces / f"{request_id}.json")

    async def stream(self, request_id: str) -> str:
        """The events of its stream as JSON lines; empty if they weren't written down."""
        if not _ID.fullmatch(request_id):
            return ""
        return await asyncio.to_thread(read_stream, self._streams / f"{request_id}.jsonl")

    async def with_body(self, request_id: str) -> RequestDetail:
        """Raises :class:`NotFound` when the request's body isn't kept."""
        detail = await self.find(request_id)
        if detail is None or not detail.body:
            raise NotFound(
                f"the body of {request_id} is not kept: those of the last few hundred requests "
                "are in memory, and older ones on disk with log.traces = true"
            )
        return detail
