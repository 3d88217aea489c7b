"""Small JSON calls to a server that is none of the models'."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from anyclaude.backends import faults
from anyclaude.backends.http import Upstream
from anyclaude.types import JsonObject, JsonValue

MAX_BYTES = 16 * 2**20

Send: TypeAlias = "Callable[[str, str, JsonObject | None], Awaitable[JsonValue]]"


def json_calls(upstream: Upstream, headers: tuple[tuple[str, str], ...] = ()) -> Send:
    """A function of method, path and body that gives the parsed body of a 2xx answer.

    It raises LookupError for a 404 and UpstreamError for everything else.
    """
    sent = (("content-type", "application/json"), ("accept", "application/json"), *headers)

    async def send(method: str, path: str, body: JsonObject | None) -> JsonValue:
        data = None if body is None else json.dumps(body).encode()
        reply = await upstream.ask(method, path, sent, data)
        if reply.status == 404:
            reply.close()
            raise LookupError(path)
        if not 200 <= reply.status < 300:
            raise await reply.error()
        try:
            return cast(JsonValue, json.loads(await reply.read(MAX_BYTES)))
        except (ValueError, RecursionError) as error:
            raise faults.garbage(upstream.name, "no JSON") from error

    return send
