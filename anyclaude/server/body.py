"""Taking in request bodies: bounded each, bounded together, bounded in time."""

from __future__ import annotations

import asyncio

from quart import Request

from anyclaude.errors import Overloaded, PayloadTooLarge, RequestTimeout
from anyclaude.server.limits import Limits

_AT_ONCE = 4  # full-size bodies that may be on their way in together


class BodyReader:
    """Reads bodies up to ``max_bytes``; more than four full ones at once have to wait."""

    def __init__(self, max_bytes: int, limits: Limits) -> None:
        self._max = max_bytes
        self._limits = limits
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """Raises PayloadTooLarge, RequestTimeout, or Overloaded when all bodies are too much."""
        if (request.content_length or 0) > self._max:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                async for chunk in request.body:
                    body += chunk
                    self._held += len(chunk)
                    if len(body) > self._max:
                        raise self._too_large()
                    if self._held > self._max * _AT_ONCE:
                        raise Overloaded("too many large bodies at once", retry_after=1.0)
        except TimeoutError:
            raise RequestTimeout(
                f"the request body did not arrive within {self._limits.body_s:g} s"
            ) from None
        finally:
            self._held -= len(body)
        return bytes(body)

    async def linger(self, request: Request) -> None:
        """Takes in what a refused client still sends, or it may never read the refusal."""
        try:
            async with asyncio.timeout(self._limits.linger_s):
                async for _ in request.body:
                    pass
        except TimeoutError:
            pass

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"the request body is over {self._max} bytes (server.max_body_mb)")
