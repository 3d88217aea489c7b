"""The one mapping from what went wrong to what the client is told."""

from __future__ import annotations

import logging
import math

from werkzeug.exceptions import HTTPException

from anyclaude.errors import (
    AnyclaudeError,
    ApiError,
    EngineFailed,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
)
from anyclaude.stream import error_json
from anyclaude.types import JsonValue

log = logging.getLogger(__name__)

MAX_RETRY_AFTER_S = 60  # Claude Code gives up at once on more


def api_error(error: BaseException) -> ApiError:
    """What to tell the client; an error we didn't expect is logged, its text kept from it."""
    match error:
        case ApiError():
            return error
        case AnyclaudeError():
            if error.category == "invalid_input":
                return InvalidRequest(error.message)
            return EngineFailed(error.message)
        case HTTPException():
            return _from_http(error)
        case _:
            log.error("unexpected error", exc_info=error)
            return EngineFailed("anyclaude failed on this request; its own log has the details")


def _from_http(error: HTTPException) -> ApiError:
    match error.code:
        case 404:
            return NotFound("no such path")
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
            return MethodNotAllowed(
                f"this path takes {allowed}" if allowed else "no such method here",
                context={"allow": allowed},
            )
        case 408:
            return RequestTimeout("the request took too long to arrive")
        case 413:
            return PayloadTooLarge("the request body is too large")
        case _:
            return InvalidRequest(error.description or "the request can't be understood")


def error_body(error: ApiError, request_id: str) -> dict[str, JsonValue]:
    return error_json(error.type, error.message, request_id)


def error_headers(error: ApiError) -> dict[str, str]:
    """``retry-after`` in whole seconds, ``allow``, and no retries where they can't help."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        seconds = min(max(1, math.ceil(error.retry_after)), MAX_RETRY_AFTER_S)
        headers["retry-after"] = str(seconds)
    if error.status == 401 or error.context.get("retry") is False:
        headers["x-should-retry"] = "false"
    if error.context.get("allow"):
        headers["allow"] = str(error.context["allow"])
    return headers
