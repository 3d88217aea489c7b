"""What answers a conversation: the seam between the pipeline and its backends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from anyclaude.dialect import Dialect, Segment
from anyclaude.types import (
    JsonValue,
    MessagesRequest,
    PrefixMiss,
    Role,
    ThinkingMarkers,
    Tier,
    Tokens,
    ToolDefinition,
    Usage,
)


def nothing_hidden(tool: ToolDefinition) -> tuple[tuple[str | int, ...], ...]:
    """For a backend whose prompts have all of a tool."""
    return ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What is known before the first byte is sent: true prompt size and live prefix match.

    ``from_disk`` of the cached tokens were loaded for this request. ``system_id`` is a short
    hash that requests with the same system prompt and tools have in common. ``constrained`` is
    whether a grammar holds the answer's calls, or its JSON, to the schemas. ``hidden`` gives the
    paths in a tool's ``description`` and ``input_schema`` that the model's prompt doesn't show;
    it may take a tenth of a second, on any thread. ``estimated``: the backend tells the true usage
    only at the end.
    """

    backend: str
    model: str
    usage: Usage
    tier: Tier | None
    miss: PrefixMiss = field(default_factory=PrefixMiss)
    from_disk: int = 0
    dialect: Dialect | None = None
    thinking: ThinkingMarkers | None = None
    rendered_prompt: str = ""
    system_tokens: int = 0
    system_id: str = ""
    notes: tuple[str, ...] = ()
    constrained: bool = False
    hidden: Callable[[ToolDefinition], tuple[tuple[str | int, ...], ...]] = nothing_hidden
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Prefill:
    """Prompt tokens in the cache so far, of ``total`` (reused ones included)."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Delta:
    """Text as the model wrote it, markers and all, with the number of tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """Output of a backend that takes its answers apart itself.

    ``text`` is what a person is shown of it while it comes, ``tokens`` how many it was, as far as
    that is known before the end.
    """

    segments: tuple[Segment, ...]
    text: str
    tokens: int


FinishReason: TypeAlias = Literal["stop", "length", "stop_sequence"]


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a generation: why, its exact tokens, and the true figures.

    ``estimated``: a backend elsewhere told no usage, so it was counted by characters.
    """

    reason: FinishReason
    usage: Usage
    tokens: Tokens = ()
    stop_sequence: str | None = None
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    kv_bytes: int = 0
    time_saved_ms: float = 0.0
    estimated: bool = False


BackendEvent: TypeAlias = Prefill | Delta | Parsed | Finish


@runtime_checkable
class Generation(Protocol):
    """One admitted request at a backend."""

    @property
    def admission(self) -> Admission: ...

    def __aiter__(self) -> AsyncIterator[BackendEvent]:
        """Progress, then text, then exactly one :class:`Finish`; or an exception."""
        ...

    async def cancel(self) -> None:
        """Stops the work within one prefill chunk or token. Idempotent."""
        ...


class Backend(Protocol):
    """Something that answers a conversation."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Names the weights and tokenizer now served; empty when none are."""
        ...

    async def open(self, request: BackendRequest) -> Generation:
        """Admits the request or raises (overflow, loading, full) before anything is sent."""
        ...

    async def count(self, request: BackendRequest) -> int:
        """Tokens of the prompt exactly as :meth:`open` would send it to the model."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A backend that knows its window and how texts come out in its model's tokens."""

    @property
    def context_limit(self) -> int:
        """Tokens that prompt and answer may take together; 0 where it isn't known."""
        ...

    async def count_texts(self, texts: Sequence[str]) -> tuple[int, ...]:
        """The tokens of each text by itself."""
        ...


@dataclass(frozen=True, slots=True)
class EchoTurn:
    """Generated tokens that stand in for one assistant message of the request.

    ``thinking`` is whether it was on in the request that they answered.
    """

    message_index: int
    tokens: Tokens
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """Text that an answer begins with, as if the model had just written it.

    ``text`` is over and done with, ``call`` the beginning of a call that is to be finished, or to
    be written, if it is empty: of the tool named, of any without a name. ``inside``: ``text``
    ends in a section of calls that is open.
    """

    text: str
    call: str
    tool: str = ""
    inside: bool = False


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """A canonical request on its way to a backend.

    ``callable_tools`` may be called: those of the request and deferred ones. Without any given
    they are the request's. An answer that is to ``resume`` goes on with a constrained call; its
    :class:`Finish` has the tokens of the text resumed too. ``model`` is the name that the backend
    knows the model by, empty for whatever it serves.
    """

    id: str
    request: MessagesRequest
    role: Role
    session_id: str
    echoes: tuple[EchoTurn, ...] = ()
    echo_fate: Literal["put_back", "changed", "unknown"] | None = None
    callable_tools: tuple[ToolDefinition, ...] = ()
    resume: Resume | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """A client's request on its way to a backend that speaks the client's own API.

    ``path`` is ``/v1/messages`` or ``/v1/messages/count_tokens``, ``query`` the raw query string.
    ``headers`` are the client's own, secrets included; ``body`` is as received, and its ``model``
    becomes this one's, unless that is empty. ``payload`` is ``body`` as values where somebody has
    read it; it is never changed.
    """

    id: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    model: str = ""
    session_id: str = ""
    payload: JsonValue = field(default=None, repr=False)


class Relayed(Protocol):
    """An answer passed through; ``headers`` are those that may be passed back."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come, untouched; UpstreamError when they break off."""
        ...

    async def close(self) -> None:
        """Closes upstream at once. Idempotent."""
        ...


@runtime_checkable
class RelayBackend(Protocol):
    """Something that answers in the client's own API, byte for byte."""

    @property
    def name(self) -> str: ...

    async def relay(self, request: RelayRequest) -> Relayed:
        """Raises UpstreamError when there is no answer, or one with an error status.

        Of that the error has the bytes (``raw``, ``headers``), for the client to get unmasked.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """A backend elsewhere, as far as it can be looked at."""

    async def health(self) -> None:
        """Raises UpstreamError unless it is there and takes our key."""
        ...

    async def model_names(self) -> tuple[str, ...]:
        """What it lists; raises UpstreamError."""
        ...

    async def close(self) -> None:
        """Closes its connections; answers that are still coming break off."""
        ...
