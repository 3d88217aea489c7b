"""``GET /v1/models`` and ``/v1/models/{id}``.

Claude Code's gateway discovery keeps only ids that begin with ``claude``, so the served model is
listed under one of those too.
"""

from __future__ import annotations

from collections.abc import Sequence

from quart import Response, request

from anyclaude.errors import InvalidRequest, NotFound
from anyclaude.server.context import context
from anyclaude.server.wire import encode
from anyclaude.types import JsonValue

ALIAS = "claude-anyclaude"
DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
# The API's own stand-in for a release date that isn't known.
UNKNOWN_DATE = "1970-01-01T00:00:00Z"


async def list_models() -> Response:
    """One page in the API's form; ``limit``, ``after_id`` and ``before_id`` as there."""
    models = _models()
    ids = [str(model["id"]) for model in models]
    start, end = 0, len(models)
    after, before = request.args.get("after_id"), request.args.get("before_id")
    if after:
        start = _position(ids, after, "after_id") + 1
    if before:
        end = _position(ids, before, "before_id")
    limit = _limit(request.args.get("limit"))
    window = models[start:end]
    page = window[-limit:] if before and not after else window[:limit]
    body: dict[str, JsonValue] = {
        "data": page,
        "has_more": len(page) < len(window),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
    return Response(encode(body), content_type="application/json")


async def get_model(model_id: str) -> Response:
    for model in _models():
        if model["id"] == model_id:
            return Response(encode(model), content_type="application/json")
    raise NotFound(f"model: {model_id[:256]}")


def _models() -> list[dict[str, JsonValue]]:
    names = context().model_names()
    alias = _model(ALIAS, f"{names[0]} (anyclaude)" if names else "anyclaude, no model loaded")
    return [alias, *(_model(name, name) for name in names if name != ALIAS)]


def _model(id: str, display_name: str) -> dict[str, JsonValue]:
    return {
        "type": "model",
        "id": id,
        "display_name": display_name,
        "created_at": UNKNOWN_DATE,
    }


def _position(ids: Sequence[str], id: str, field: str) -> int:
    if id not in ids:
        raise InvalidRequest(f"no model {id[:256]!r}", field=field)
    return ids.index(id)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        raise InvalidRequest(f"Input should be an integer from 1 to {MAX_LIMIT}", field="limit")
    return int(text)
