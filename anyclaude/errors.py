"""Our own exceptions.

::

    AnyclaudeError                 category, retryable, context
    ├── ConfigError                a file, key or flag is wrong           (exit code 2)
    ├── UsageError                 a command was used wrongly             (exit code 2)
    └── ApiError                   ends in an Anthropic-shaped answer
        ├── InvalidRequest         400  names the field
        │   └── PromptTooLong      400  the wording that makes the client compact
        ├── AuthenticationFailed   401
        ├── PermissionDenied       403
        ├── NotFound               404
        ├── MethodNotAllowed       405
        ├── RequestTimeout         408
        ├── Conflict               409
        ├── PayloadTooLarge        413
        ├── UnsupportedMediaType   415
        ├── RateLimited            429
        ├── EngineFailed           500
        ├── NotSupported           501  no backend here can do what is asked
        ├── Unavailable            503  loading or stopped; with retry_after
        ├── Overloaded             529  the queue is full; with retry_after
        └── UpstreamError          as the backend elsewhere answered, or 502, 503, 504

The mapping to HTTP lives in :mod:`anyclaude.server.errors` alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from anyclaude.records import ErrorCategory


class AnyclaudeError(Exception):
    """Base of everything we raise on purpose; ``str()`` is fit to show to a person."""

    category: ErrorCategory = "unknown"
    retryable: bool = False

    def __init__(self, message: str, *, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.context: Mapping[str, object] = context or {}


class ConfigError(AnyclaudeError):
    """A configuration value can't be used; the message names file, key and expectation."""

    category = "invalid_input"


class UsageError(AnyclaudeError):
    """A command was called wrongly, or needs something that isn't there."""

    category = "invalid_input"


class ApiError(AnyclaudeError):
    """An error that a client of the Messages API gets to see."""

    status: int = 500
    type: str = "api_error"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, context=context)
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """The body is wrong; ``field`` is the path of the offending value, ``messages.0.role``."""

    status = 400
    type = "invalid_request_error"
    category = "invalid_input"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message, context={"field": field})
        self.field = field


class PromptTooLong(InvalidRequest):
    """The prompt doesn't fit the window. Claude Code compacts on exactly this wording."""

    def __init__(self, tokens: int, maximum: int) -> None:
        super().__init__(f"prompt is too long: {tokens} tokens > {maximum} maximum")
        self.tokens = tokens
        self.maximum = maximum


class AuthenticationFailed(ApiError):
    """The key is missing or wrong."""

    status = 401
    type = "authentication_error"
    category = "invalid_input"


class PermissionDenied(ApiError):
    """The caller may not do this (foreign Host or Origin, missing admin token)."""

    status = 403
    type = "permission_error"
    category = "invalid_input"


class NotFound(ApiError):
    """No such path, model or request."""

    status = 404
    type = "not_found_error"
    category = "invalid_input"


class MethodNotAllowed(ApiError):
    """The path exists, the method on it doesn't."""

    status = 405
    type = "invalid_request_error"
    category = "invalid_input"


class RequestTimeout(ApiError):
    """The client was too slow to send its request or to read its answer."""

    status = 408
    type = "timeout_error"
    category = "timeout"
    retryable = True


class Conflict(ApiError):
    """It can't be done while something else is under way."""

    status = 409
    type = "invalid_request_error"
    category = "invalid_input"


class PayloadTooLarge(ApiError):
    """The body is over the configured limit."""

    status = 413
    type = "request_too_large"
    category = "invalid_input"


class UnsupportedMediaType(ApiError):
    """The body isn't JSON by its own content type."""

    status = 415
    type = "invalid_request_error"
    category = "invalid_input"


class RateLimited(ApiError):
    """Too many requests from this client."""

    status = 429
    type = "rate_limit_error"
    category = "resource"
    retryable = True


class EngineFailed(ApiError):
    """The model or its thread failed while it worked on this request."""

    status = 500
    type = "api_error"
    category = "resource"
    retryable = True


class NotSupported(ApiError):
    """What is asked for exists in the API, and no backend here can do it."""

    status = 501
    type = "api_error"
    category = "not_implemented"


class Unavailable(ApiError):
    """No model answers just now: loading, unloaded, stopping, switched off, or its thread dead.

    With ``retry`` false in the context, clients are told not to try again.
    """

    status = 503
    type = "overloaded_error"
    category = "resource"
    retryable = True


class Overloaded(ApiError):
    """The queue is full, or the model went away under a waiting request."""

    status = 529
    type = "overloaded_error"
    category = "resource"
    retryable = True


class UpstreamError(ApiError):
    """A backend elsewhere refused, failed, or fell silent.

    ``status`` and ``type`` are what a client is told. ``answered`` is whether the backend sent
    an error of its own, rather than nothing or nonsense; ``overflow`` whether it says that the
    prompt is too long for it. ``retry_after`` is in seconds. ``raw`` and ``headers`` are the error
    as it came, ``raw`` empty when not all of it did; ``passable`` is whether they are in the
    client's own API.
    """

    def __init__(
        self,
        message: str,
        *,
        backend: str,
        status: int,
        type: str,
        category: ErrorCategory,
        retryable: bool,
        answered: bool,
        overflow: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, context={"backend": backend})
        self.backend = backend
        self.status = status
        self.type = type
        self.category = category
        self.retryable = retryable
        self.answered = answered
        self.overflow = overflow
        self.raw = b""
        self.passable = False
        self.headers: tuple[tuple[str, str], ...] = ()
