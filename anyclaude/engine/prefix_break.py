"""What of a prompt had been computed before and isn't there any more, and why.

The last prompt of each conversation is remembered with its answer. A new one is compared with
it, and with what the cache gave. Small calls (titles, searches, probes) are conversations of
their own and are never remembered. Event-loop thread only.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from dataclasses import dataclass, replace

from anyclaude.backend import BackendRequest
from anyclaude.engine.prefix_cause import (
    Decode,
    Finding,
    Prompt,
    around,
    compare,
    same_messages,
    sent_again,
    shared_tokens,
)
from anyclaude.engine.template import Rendered
from anyclaude.types import PrefixBreak, PrefixMiss, Role, Tokens

_KEPT = 64  # main conversations, and as many of subagents
_KEPT_BYTES = 32 << 20  # of tokens, all in all
_TALKS = frozenset({Role.MAIN, Role.SUBAGENT})
_SLACK = 1  # the last token of a prompt is always computed anew


@dataclass(frozen=True, slots=True)
class Reuse:
    """What the cache gave for a prompt.

    ``reused`` tokens need no prefill; the cache holds ``held`` tokens in all. ``prefill_tps`` is
    the measured speed, 0 while there is none. ``exact``: any prefix can be reused, not only
    those that end where a message does.
    """

    reused: int
    held: int
    prefill_tps: float = 0.0
    exact: bool = True


@dataclass(slots=True)
class _Seen:
    """A remembered prompt; ``known`` tokens of it were put into the cache of ``fingerprint``."""

    key: str
    prompt: Prompt
    fingerprint: str
    known: int
    flushed: bool = False
    compacting: bool = False


class PrefixHistory:
    """The last prompt of each conversation, to compare the next one with."""

    def __init__(self, limit: int = _KEPT, limit_bytes: int = _KEPT_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._mains: OrderedDict[str, _Seen] = OrderedDict()
        self._agents: OrderedDict[str, _Seen] = OrderedDict()
        self._running: OrderedDict[str, _Seen] = OrderedDict()
        self._summaries: OrderedDict[str, tuple[_Seen, Prompt, str]] = OrderedDict()

    # -------------------------------------------------------------- what becomes of the cache

    def flushed(self) -> None:
        """The cache was emptied on purpose, by a person, a reset or a change of models: what
        the next prompts miss is due to that. What went under pressure needs no telling."""
        for seen in (*self._mains.values(), *self._agents.values()):
            seen.flushed = True

    def answered(self, request_id: str, answer: Tokens) -> str:
        """A request has ended well: its prompt and its answer are in the cache now. The name of
        its conversation, if that is one that is remembered."""
        if (summary := self._summaries.pop(request_id, None)) is not None:
            self._read_again(*summary)
        seen = self._running.pop(request_id, None)
        if seen is None:
            return ""
        prompt = seen.prompt
        seen.prompt = replace(prompt, data=prompt.data + array("I", answer).tobytes())
        seen.known = seen.prompt.total - _SLACK
        seen.flushed = False
        return seen.key

    def _read_again(self, seen: _Seen, summary: Prompt, fingerprint: str) -> None:
        """A summary was written of a conversation, for which all of it had to be in the cache."""
        seen.known = min(shared_tokens(seen.prompt, summary), seen.prompt.total - _SLACK)
        seen.fingerprint = fingerprint
        seen.flushed = False

    # ----------------------------------------------------------------------- who lies on what

    def talks(self, fingerprint: str) -> list[tuple[str, bytes]]:
        """The sessions and the tokens of their last prompt and answer, four bytes each, as a
        model read them: main conversations first, and the newest first."""
        return [
            (seen.key.partition("#")[0], seen.prompt.data)
            for pool in (self._mains, self._agents)
            for seen in reversed(pool.values())
            if seen.fingerprint == fingerprint
        ]

    def tokens_of(self, session: str, fingerprint: str) -> Tokens:
        """What a model last read and answered in the session; nothing for an unknown one."""
        seen = self._mains.get(session) or self._agents.get(session)
        if seen is None or seen.fingerprint != fingerprint:
            return ()
        return seen.prompt.ids(0, seen.prompt.total)

    # ------------------------------------------------------------------------------ judgement

    def judge(
        self,
        request: BackendRequest,
        rendered: Rendered,
        fingerprint: str,
        reuse: Reuse,
        decode: Decode,
    ) -> PrefixMiss:
        """Compares a prompt with the last one of its conversation, and remembers it.

        ``decode`` gives the text of a few tokens and is called only when the two part.
        """
        now = _prompt(request, rendered)
        key = _key(request)
        agent = request.role is Role.SUBAGENT or "/" in key
        pool = self._agents if agent else self._mains
        talk = request.role in _TALKS or request.role is Role.COMPACT
        before = pool.get(key) if talk else None
        miss = self._miss(before, now, fingerprint, reuse, decode)
        if request.role in _TALKS:
            seen = _Seen(key, now, fingerprint, reuse.reused)
            pool[key] = self._running[request.id] = seen
            pool.move_to_end(key)
            self._forget_oldest(seen)
        elif request.role is Role.COMPACT and before is not None:
            before.compacting = True
            self._summaries[request.id] = (before, now, fingerprint)
            while len(self._summaries) > self._limit:
                self._summaries.popitem(last=False)
        return miss

    def _miss(
        self,
        before: _Seen | None,
        now: Prompt,
        fingerprint: str,
        reuse: Reuse,
        decode: Decode,
    ) -> PrefixMiss:
        known, source = self._known(now, fingerprint, reuse)
        start = max(known, reuse.reused)
        lost = start - reuse.reused
        finding = Finding(PrefixBreak.NONE)
        texts = ("", "")
        if before is None:
            first = PrefixBreak.NEW_SESSION if reuse.held or reuse.reused else PrefixBreak.COLD
            finding = _from(first, now, reuse.reused)
        elif before.fingerprint != fingerprint:
            lost += max(0, same_messages(before.prompt.request, now) - start)
            compacted = before.compacting and before.prompt.messages[:1] != now.messages[:1]
            # Of a compacted conversation the other model can have lost the head at most.
            only = compacted and lost <= _SLACK
            cause = PrefixBreak.COMPACTION if only else PrefixBreak.OTHER_MODEL
            finding = _from(cause, now, reuse.reused)
        elif _missing(before, now, reuse) > _SLACK:
            gone = PrefixBreak.FLUSHED if before.flushed else PrefixBreak.EVICTED
            finding = _from(gone, now, reuse.reused)
        else:
            finding = compare(before.prompt, now, compacting=before.compacting, decode=decode)
            if finding.at is not None:
                lost += sent_again(before.prompt, now, finding.at, start)
                texts = (
                    around(before.prompt, finding.at, decode),
                    around(now, finding.at, decode),
                )
            elif lost > _SLACK and source is not None:
                gone = PrefixBreak.FLUSHED if source.flushed else PrefixBreak.EVICTED
                finding = _from(gone, now, reuse.reused)
        lost = lost if lost > _SLACK else 0
        seconds = lost / reuse.prefill_tps if reuse.prefill_tps > 0 else 0.0
        return PrefixMiss(finding.cause, finding.at, finding.message, *texts, lost, seconds)

    def _known(self, now: Prompt, fingerprint: str, reuse: Reuse) -> tuple[int, _Seen | None]:
        """The most of ``now`` that was ever computed for any conversation, and for which."""
        best, source = 0, None
        beyond = now.part(0, 1)
        for seen in (*self._mains.values(), *self._agents.values()):
            if seen.fingerprint != fingerprint or seen.known <= best:
                continue
            if seen.prompt.data.startswith(beyond):  # Few do, and this costs next to nothing.
                shared = min(shared_tokens(seen.prompt, now), seen.known)
                if shared > best:
                    best, source = shared, seen
                    beyond = now.part(0, best + 1)
        return _reusable(best, source, now, reuse), source

    def _forget_oldest(self, newest: _Seen) -> None:
        for pool in (self._mains, self._agents):
            while len(pool) > self._limit:
                pool.popitem(last=False)
        size = sum(len(s.prompt.data) for p in (self._mains, self._agents) for s in p.values())
        for pool in (self._agents, self._mains):
            while size > self._limit_bytes and pool and next(iter(pool.values())) is not newest:
                size -= len(pool.popitem(last=False)[1].prompt.data)
        while len(self._running) > 2 * self._limit:
            self._running.popitem(last=False)


def system_id(rendered: Rendered) -> str:
    """A short name of the system prompt and the tools: eight letters of a hash."""
    head = array("I", rendered.tokens[: rendered.system_tokens]).tobytes()
    return hashlib.blake2b(head, digest_size=4).hexdigest() if head else ""


def _prompt(request: BackendRequest, rendered: Rendered) -> Prompt:
    return Prompt(
        request.request,
        array("I", rendered.tokens).tobytes(),
        len(rendered.tokens),
        rendered.system_tokens,
        rendered.message_ends,
        rendered.tail_start,
        rendered.thinking,
    )


def _key(request: BackendRequest) -> str:
    """What names a conversation: the client's ids, else how it began."""
    own = request.session_id and (request.role is not Role.SUBAGENT or "/" in request.session_id)
    if own or not request.request.messages:
        return request.session_id
    began = hashlib.blake2b(repr(request.request.messages[0]).encode("utf-8", "replace"))
    return f"{request.session_id}#{began.hexdigest()}"


def _from(cause: PrefixBreak, now: Prompt, at: int) -> Finding:
    return Finding(cause, at, now.message_at(at))


def _missing(before: _Seen, now: Prompt, reuse: Reuse) -> int:
    """Tokens of the conversation's own past that should have been in the cache."""
    shared = min(shared_tokens(before.prompt, now), before.known)
    return _reusable(shared, before, now, reuse) - reuse.reused


def _reusable(shared: int, source: _Seen | None, now: Prompt, reuse: Reuse) -> int:
    """How many of the shared tokens the model's caches can take over."""
    shared = min(shared, now.tokens - _SLACK)
    if reuse.exact or source is None:
        return shared
    old = source.prompt
    places = (0, old.system_tokens, *old.message_ends, old.tail_start, source.known)
    return max(place for place in places if place <= shared)
