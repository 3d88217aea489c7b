"""The lines of a response as it arrives, cut at line feeds alone.

The HTTP library would also cut at the other separators of Unicode, which JSON may contain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx


async def lines_of(response: httpx.Response) -> AsyncIterator[str]:
    """Every line without its end, and what follows the last one unless that is nothing."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")
