"""A file as the body of an answer, read piece by piece on threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from quart import Response

from anyclaude.server.stopping import Stopping

_PIECE = 256 * 1024


async def send_file(path: Path, headers: Mapping[str, str], stopping: Stopping) -> Response:
    """An answer with the file as its body; it must stay until the answer was sent."""
    size = await asyncio.to_thread(lambda: path.stat().st_size)
    return Response(
        _pieces(path, stopping),
        headers={**headers, "content-length": str(size)},
        content_type="application/octet-stream",
    )


async def _pieces(path: Path, stopping: Stopping) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while True:
            async with stopping.guard():
                piece = await asyncio.to_thread(file.read, _PIECE)
            if not piece:
                return
            yield piece
