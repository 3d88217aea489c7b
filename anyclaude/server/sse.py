"""Stream events as server-sent events: an ``event:`` line, a ``data:`` line, an empty line."""

from __future__ import annotations

from anyclaude.server.wire import encode
from anyclaude.stream import Comment, StreamEvent, event_json


def sse(event: StreamEvent, request_id: str) -> bytes:
    """The bytes of one event; ``request_id`` goes into an error."""
    if isinstance(event, Comment):
        return f": {' '.join(event.text.splitlines())}\n\n".encode("utf-8", "replace")
    body = event_json(event, request_id)
    return b"event: %s\ndata: %s\n\n" % (str(body["type"]).encode(), encode(body))
