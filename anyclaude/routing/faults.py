"""What an error says of the backend it came from, and of trying again."""

from __future__ import annotations

from anyclaude.errors import (
    ApiError,
    NotSupported,
    Overloaded,
    PromptTooLong,
    Unavailable,
    UpstreamError,
)

COUNTED_4XX = frozenset({408, 409, 429})
"""The only client errors that another try can mend, or that speak of the backend."""
_BUSY = frozenset({429, 503, 529})


def is_overflow(error: ApiError) -> bool:
    """Whether the prompt is too long for whoever said so."""
    return isinstance(error, PromptTooLong) or (isinstance(error, UpstreamError) and error.overflow)


def is_busy(error: ApiError) -> bool:
    """Whether the backend works and only has no room just now."""
    return error.status in _BUSY


def may_retry(error: ApiError) -> bool:
    """Whether the same request may be sent again, here or elsewhere."""
    if is_overflow(error) or isinstance(error, NotSupported):
        return False
    if 400 <= error.status < 500 and error.status not in COUNTED_4XX:
        return False
    return error.retryable


def may_wait(error: ApiError) -> bool:
    """Whether the very backend that said this may be asked again after a while.

    Our own engine knows exactly why it refuses, and its client is to hear that at once.
    """
    return (
        isinstance(error, UpstreamError)
        and may_retry(error)
        and error.context.get("retry") is not False
    )


def counts(error: ApiError) -> bool:
    """Whether it speaks against the backend's health.

    What we say ourselves of our engine, our queues and our own limits is exact knowledge: there is
    nothing to find out by leaving it alone.
    """
    if not isinstance(error, UpstreamError):
        return False
    if error.overflow or error.category in ("not_implemented", "invalid_input"):
        return False
    return error.status in COUNTED_4XX or error.status >= 500


def realness(error: ApiError) -> int:
    """How much an error tells the client; the highest of all tries is what it gets."""
    if is_overflow(error):
        return 4
    if isinstance(error, UpstreamError):
        return 3 if error.answered else 2
    if isinstance(error, Unavailable | Overloaded):
        return 1
    return 3
