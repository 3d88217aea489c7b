"""Finished answers around one request: found before a backend is asked, kept once they are whole.

A request that is sampled on purpose (a temperature above 0) wants an answer of its own, so no
cache answers it and its answer is kept in none. But where its client went away before it had read
the end, that one answer is owed: the same request of the same session gets it, once.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from anyclaude.backends.retold import retold
from anyclaude.caches.response.control import CacheControl, NotCached, control_of
from anyclaude.caches.response.entry import Entry, Recording
from anyclaude.caches.response.key import CacheKey, key_of
from anyclaude.ledger import Ledger
from anyclaude.stream import StreamEvent
from anyclaude.types import MessagesRequest, Sampling, Tier, ToolDefinition, Usage
from anyclaude.ways import Way

if TYPE_CHECKING:
    from anyclaude.caches.response.cache import Hit, ResponseCache
    from anyclaude.caches.semantic.cache import Question

OWED_S = 600.0
"""How long a client may take to come back for an answer; the SDK tries again for 10 minutes."""
MAX_OWED = 64
MAX_RAW_BYTES = 8 * 2**20
"""A relayed answer that is longer isn't kept; the longest Anthropic's API gives have about 1 MB."""
_LARGE = 64 * 1024
_SAID_BY = ("anthropic-beta", "anthropic-version")
_ACCOUNT = ("authorization", "x-api-key")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A canonical request as caches see it.

    Where a backend may get it as the client sent it, every byte of ``raw`` that could change the
    answer counts, and so do ``headers`` and ``query``.
    """

    request: MessagesRequest
    tools: Sequence[ToolDefinition]
    way: Way
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    raw: bytes = field(repr=False)
    query: str
    session: str

    @property
    def sampled(self) -> bool:
        """Whether the client asked for chance; one that says nothing of it doesn't."""
        sampling = self.request.sampling
        return _sampled(sampling)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, or where the answer that is made now goes; ``way`` is as it was then."""

    hit: Hit | None = None
    keep: Keep | None = None
    way: Way | None = None


class Answers:
    """The caches of a process; without ``cache`` they are off. Loop thread only."""

    def __init__(self, ledger: Ledger, cache: ResponseCache | None = None) -> None:
        self._ledger = ledger
        self._cache = cache
        self._owed: OrderedDict[tuple[str, bytes], tuple[Entry, float]] = OrderedDict()

    @property
    def on(self) -> bool:
        return self._cache is not None

    async def look(self, wanted: Wanted) -> Looked:
        """Raises :class:`NotCached` when the client wants nothing else than an answer from here."""
        control = control_of(wanted.headers)
        cache = self._cache
        if cache is None:
            if control.only_if_cached:
                raise NotCached
            return Looked()
        key = await _key(wanted)
        if wanted.sampled:
            looked = self._look_for_owed(key, wanted.session, control)
            return replace(looked, way=wanted.way)
        question = self._question(cache, wanted)
        hit = await cache.lookup(key, control, question)
        if hit is not None:
            return Looked(hit)

        async def store(entry: Entry) -> None:
            await cache.store(key, entry, control, question)

        whole = lambda entry: self._ledger.spawn(store(entry))  # noqa: E731
        return Looked(keep=Keep(key.short, self._ledger.wall, whole=whole), way=wanted.way)

    def _look_for_owed(self, key: CacheKey, session: str, control: CacheControl) -> Looked:
        from anyclaude.caches.response.cache import Hit

        place, now = (session, key.digest), self._ledger.wall()
        if control.read and (held := self._owed.pop(place, None)) is not None and now < held[1]:
            entry = held[0]
            age = max(0.0, now - entry.created)
            if age <= control.max_age:
                return Looked(Hit(entry, Tier.RESPONSE, age, key.short))
        if control.only_if_cached:
            raise NotCached

        def left(entry: Entry) -> None:
            if not control.write:
                return
            self._owed[place] = (entry, self._ledger.wall() + OWED_S)
            if len(self._owed) > MAX_OWED:
                self._owed.popitem(last=False)

        return Looked(keep=Keep(key.short, self._ledger.wall, left=left))

    def forget_owed(self) -> int:
        """Forgets answers that nobody came back for; how many."""
        gone = len(self._owed)
        self._owed.clear()
        return gone

    def _question(self, cache: ResponseCache, wanted: Wanted) -> Question | None:
        """Nothing that is passed on is looked up by meaning: too much of it can't be compared."""
        if not cache.semantic or wanted.way.relays:
            return None
        from anyclaude.caches.semantic.cache import question_of

        return question_of(wanted.request, wanted.way.served)


class Keep:
    """Takes one answer down. ``whole`` gets it once it is there, ``left`` if nobody read its end.

    ``key`` is its short form. It is kept only while :attr:`valid` holds.
    """

    def __init__(
        self,
        key: str,
        wall: Callable[[], float],
        *,
        whole: Callable[[Entry], object] = lambda entry: None,
        left: Callable[[Entry], None] = lambda entry: None,
    ) -> None:
        self.key = key
        self.valid: Callable[[], bool] = lambda: True
        self._wall = wall
        self._whole = whole
        self._left = left
        self._recording = Recording()
        self._entry: Entry | None = None

    def add(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            self._recording.add(event)

    def ended(self, seconds: float) -> None:
        """The answer came to its end, ``seconds`` after its request; its client has yet to."""
        entry = self._recording.entry(created=self._wall(), seconds=seconds)
        if entry is not None and self.valid():
            self._entry = entry
            self._whole(entry)

    def unread(self) -> None:
        """Its client was gone before it had the last of it."""
        if self._entry is not None:
            self._left(self._entry)


class RawKeep:
    """A :class:`Keep` for an answer that comes as bytes of Anthropic's API."""

    def __init__(self, keep: Keep, *, streams: bool) -> None:
        self._keep = keep
        self._streams = streams
        self._body: bytearray | None = bytearray()

    @property
    def key(self) -> str:
        return self._keep.key

    def add(self, chunk: bytes) -> None:
        if self._body is None:
            return
        self._body += chunk
        if len(self._body) > MAX_RAW_BYTES:
            self._body = None

    def ended(self, seconds: float, usage: Usage) -> None:
        """See :meth:`Keep.ended`; ``usage`` is the answer's true one."""
        if self._body is not None:
            self._keep.add(retold(bytes(self._body), streams=self._streams, usage=usage))
            self._keep.ended(seconds)

    def unread(self) -> None:
        self._keep.unread()


def _sampled(sampling: Sampling) -> bool:
    return bool(sampling.temperature) and sampling.top_k != 1


async def _key(wanted: Wanted) -> CacheKey:
    if len(wanted.raw) < _LARGE:
        return _make_key(wanted)
    return await asyncio.to_thread(_make_key, wanted)


def _make_key(wanted: Wanted) -> CacheKey:
    served = wanted.way.served
    if wanted.way.relays:
        served = replace(served, extra=_as_sent(wanted))
    return key_of(wanted.request, served, wanted.tools)


def _as_sent(wanted: Wanted) -> tuple[tuple[str, str], ...]:
    """What of a request counts where a backend gets it as it came."""
    named = [(name.lower(), value) for name, value in wanted.headers]
    account = sorted(pair for pair in named if pair[0] in _ACCOUNT)
    said = sorted(pair for pair in named if pair[0] in _SAID_BY)
    return (
        ("account", _digest(account)),
        ("body", _digest(_bare(wanted.raw))),
        ("query", wanted.query),
        ("said", _digest(said)),
    )


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _bare(raw: bytes) -> object:
    """The body without what never changes an answer.

    Its system is left to the canonical form, which knows the line of it that always changes.
    """
    body = json.loads(raw)
    for name in ("stream", "metadata", "system", "model"):
        body.pop(name, None)
    for tool in body.get("tools") or ():
        tool.pop("cache_control", None)
    for message in body["messages"]:
        _unmark(message.get("content"))
    return body


def _unmark(content: object) -> None:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            block.pop("cache_control", None)
            _unmark(block.get("content"))
