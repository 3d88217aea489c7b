"""An answer's calls on their way to the client: what may leave at once, and what waits.

A byte that was sent can't be taken back. So an argument leaves while it is written only where a
matcher says that what is there can still become a valid call, and no repair would change it; from
the first doubt on, and where there is no matcher, the call waits for its end and is judged,
repaired, or written anew.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias

from anyclaude.dialect import CallBroken, CallClose, CallOpen, CallPiece
from anyclaude.records import Repair, ToolCallRecord, ToolIssue
from anyclaude.tools.completion import completion
from anyclaude.tools.endings import ended
from anyclaude.tools.judge import Judged
from anyclaude.tools.settled import Settled
from anyclaude.tools.validate import MAX_ISSUES, client_issue, read_json
from anyclaude.types import JsonObject, ToolDefinition, ToolUseBlock

OnInvalid: TypeAlias = Literal["deliver", "text"]


class ArgumentMatcher(Protocol):
    """Watches one call's arguments grow, see :class:`anyclaude.grammar.matcher.ArgumentMatcher`."""

    @property
    def lossless(self) -> bool: ...

    def accept(self, text: str) -> int: ...


Judge: TypeAlias = Callable[[str, str, bool], Awaitable[Judged]]
"""Judges a whole call: its name, its arguments as written, whether the model ended it."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The client is told of a call."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Json:
    """The next piece of its arguments."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The call is over; ``use`` is what the client has of it now, ``unfinished`` cut off."""

    use: ToolUseBlock
    record: ToolCallRecord
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A call that can't be delivered becomes text; ``unfinished`` if it was cut off."""

    text: str
    record: ToolCallRecord
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """The call is to be written anew: the model's text goes on after ``call``.

    ``call`` is how much of ``raw`` stays, ``name`` the tool meant, empty if there is none.
    """

    raw: str
    call: str
    name: str


Output: TypeAlias = Begin | Json | End | Shown | Again


@dataclass(slots=True)
class _Call:
    name: str
    id: str
    matcher: ArgumentMatcher | None
    text: str = ""
    sent: str = ""
    settled: Settled = field(default_factory=Settled)
    begun: bool = False
    doubtful: bool = False
    repeated: Judged | None = None
    skip: int = field(default=0)
    """Characters of the arguments that the client has from before, when they come again."""


class CallStream:
    """Feed it the call segments of one answer, in order.

    ``matcher`` gives a tool's, or ``None`` for one without; ``regenerate`` is whether a call that
    can't be repaired may be written again, once.
    """

    def __init__(
        self,
        request_id: str,
        tools: Mapping[str, ToolDefinition],
        matcher: Callable[[ToolDefinition], ArgumentMatcher | None],
        judge: Judge,
        new_id: Callable[[str], str],
        *,
        on_invalid: OnInvalid = "deliver",
        regenerate: bool = True,
    ) -> None:
        self._request_id = request_id
        self._tools = tools
        self._matcher = matcher
        self._judge = judge
        self._new_id = new_id
        self._on_invalid = on_invalid
        self._regenerate = regenerate
        self._call: _Call | None = None
        self._waiting: tuple[_Call, CallClose, Judged] | None = None
        """A call that is being written anew, as it was the first time."""

    def hold(self) -> None:
        """Nothing is to leave before a call's end, so that every repair can be made."""
        self._matcher = lambda tool: None

    # ---------------------------------------------------------------------------- while written

    def open(self, segment: CallOpen) -> None:
        tool = self._tools.get(segment.name)
        matcher = self._matcher(tool) if tool is not None else None
        if matcher is not None and not matcher.lossless:
            matcher = None
        call = _Call(segment.name, "", matcher)
        if self._waiting is not None:
            before = self._waiting[0]
            call.id, call.begun, call.skip = before.id, before.begun, len(before.sent)
            call.repeated = self._waiting[2]
        call.id = call.id or self._new_id("toolu_")
        self._call = call

    def piece(self, segment: CallPiece) -> list[Output]:
        """What of the arguments may leave now."""
        call = self._opened
        call.text += segment.json
        if call.matcher is None or call.doubtful:
            return []
        taken = call.matcher.accept(segment.json)
        call.doubtful = taken < len(segment.json)
        settled = call.settled.take(segment.json[:taken])
        return self._send(call, call.text[len(call.sent) : settled])

    def _send(self, call: _Call, text: str) -> list[Output]:
        if not text:
            return []
        out: list[Output] = []
        if not call.begun:
            call.begun = True
            out.append(Begin(call.id, call.name))
        call.sent += text
        known = min(call.skip, len(text))
        call.skip -= known
        if known < len(text):
            out.append(Json(text[known:]))
        return out

    # ------------------------------------------------------------------------------- at its end

    async def close(self, segment: CallClose) -> list[Output]:
        """The rest of a call, or :class:`Again` as the last output."""
        call, self._call = self._opened, None
        judged = await self._judge(call.name, call.text, segment.complete)
        if call.repeated is not None:
            assert self._waiting is not None
            before = self._waiting[1].before + segment.before
            segment, self._waiting = replace(segment, before=before), None
            judged = _regenerated(judged, call.repeated)
        delivered = self._deliver(call, segment, judged)
        if delivered is not None:
            return delivered
        again = self._again(call, segment)
        if again is not None:
            self._waiting = (call, segment, judged)
            return [again]
        return await self._give_up(call, segment, judged)

    def broken(self, segment: CallBroken) -> list[Output]:
        """What began like a call and names no tool."""
        record = ToolCallRecord(
            self._request_id,
            "",
            "",
            "unparsed",
            (ToolIssue("", "parse", "", segment.reason),),
            segment.raw,
            "",
        )
        return [Shown(segment.before + segment.raw, record, not segment.complete)]

    async def give_up(self, why: str = "") -> list[Output]:
        """The call that was to be written anew won't be: it is delivered as it was.

        Nor will another of this answer. ``why`` is told with the call, unless it is empty.
        """
        self._regenerate = False
        if self._waiting is None:
            return []
        call, segment, judged = self._waiting
        self._waiting = None
        if why:
            issue = ToolIssue("", "regenerate", why)
            judged = replace(judged, issues=(*judged.issues[: MAX_ISSUES - 1], issue))
        return await self._give_up(call, segment, judged)

    def _deliver(self, call: _Call, segment: CallClose, judged: Judged) -> list[Output] | None:
        """The rest of a call that is valid, as written or repaired; ``None`` if it isn't."""
        if judged.input is None or judged.verdict in ("failed", "unparsed"):
            return None
        if call.begun and judged.name != call.name:
            return None
        whole = json.dumps(judged.input, ensure_ascii=False)
        if call.begun:
            rest = _extension(call, judged)
            if rest is None:
                return None
        else:
            rest = whole
        call.name = judged.name
        return [*self._send(call, rest), self._end(call, segment, judged, judged.input, whole)]

    def _again(self, call: _Call, segment: CallClose) -> Again | None:
        if not self._regenerate or call.repeated is not None or not segment.complete:
            return None
        if not call.begun:
            return Again(segment.raw, "", call.name if call.name in self._tools else "")
        at = segment.raw.find(call.text)
        if at < 0 or not call.text:
            return None  # The family writes no JSON, so the bytes sent aren't the model's own.
        return Again(segment.raw, segment.raw[: at + len(call.sent)], call.name)

    async def _give_up(self, call: _Call, segment: CallClose, judged: Judged) -> list[Output]:
        if call.begun and segment.complete and judged.input is None:
            judged = await self._ended(call, judged)
            if (delivered := self._deliver(call, segment, judged)) is not None:
                return delivered
        deliverable = judged.input is not None and self._on_invalid == "deliver"
        if not call.begun and not deliverable:
            record = replace(self._record(call, segment, judged, ""), tool_use_id="")
            return [Shown(segment.before + segment.raw, record, not segment.complete)]
        if call.begun:
            judged = _unmended(call, judged)
        if judged.input is not None and segment.complete:
            rest = _extension(call, judged) if call.begun else _json(judged.input)
            if rest is not None:
                out = self._send(call, rest)
                end = self._end(call, segment, judged, judged.input, _json(judged.input))
                return [*out, end]
        # What was sent is cut off: the client can't read it, so it runs nothing and says why.
        unread: JsonObject = {
            "__unparsedToolInput": {"raw": call.sent, "len": len(call.sent)},
        }
        return [replace(self._end(call, segment, judged, unread, ""), unfinished=True)]

    async def _ended(self, call: _Call, judged: Judged) -> Judged:
        """The verdict if only the end of the arguments was broken, and can be put right."""
        mended = ended(call.text)
        if mended is None:
            return judged
        again = await self._judge(call.name, json.dumps(mended.value, ensure_ascii=False), True)
        if again.verdict not in ("valid", "repaired"):
            return judged
        issues = (*judged.issues, *again.issues)[:MAX_ISSUES]
        repairs = (*judged.repairs, mended.repair, *again.repairs)
        return replace(again, verdict="repaired", issues=issues, repairs=repairs)

    # ------------------------------------------------------------------------------------ inside

    @property
    def _opened(self) -> _Call:
        assert self._call is not None, "a family's parser opens a call before it goes on with it"
        return self._call

    def _end(
        self, call: _Call, segment: CallClose, judged: Judged, value: JsonObject, final: str
    ) -> End:
        record = self._record(call, segment, judged, final)
        return End(ToolUseBlock(call.id, judged.name or call.name, value), record)

    def _record(
        self, call: _Call, segment: CallClose, judged: Judged, final: str
    ) -> ToolCallRecord:
        name = judged.name or call.name
        return ToolCallRecord(
            request_id=self._request_id,
            tool_use_id=call.id,
            name=name,
            verdict=judged.verdict,
            issues=judged.issues,
            raw=segment.raw,
            final=f'{{"name": {json.dumps(name)}, "input": {final}}}' if final else "",
            repaired=bool(judged.repairs),
            version=1 if call.repeated is None else 2,
            repairs=judged.repairs,
        )


def _regenerated(judged: Judged, first: Judged) -> Judged:
    """The verdict on a call that was written twice: the first one's issues stay on record."""
    if judged.verdict not in ("valid", "repaired"):
        return judged
    again = Repair("regenerated", "", "", judged.name)
    return replace(
        judged,
        verdict="regenerated",
        issues=first.issues,
        repairs=(*first.repairs, again, *judged.repairs),
    )


def _unmended(call: _Call, judged: Judged) -> Judged:
    """The verdict without the repairs: they don't go with what the client has by now."""
    if judged.verdict in ("failed", "unparsed"):
        return judged
    value = read_json(call.text).value
    if isinstance(value, Mapping) and client_issue(value) is None:
        return Judged(call.name, value, "failed", judged.issues)
    return Judged(call.name, None, "unparsed", judged.issues)


def _extension(call: _Call, judged: Judged) -> str | None:
    """What is to follow the bytes sent, so that together they say what was judged right."""
    assert judged.input is not None
    if _reads_as(call.text, judged.input):
        return call.text[len(call.sent) :]
    return completion(call.sent, judged.input)


def _reads_as(text: str, value: JsonObject) -> bool:
    try:
        # As text: for Python, true and 1 are equal.
        return json.dumps(json.loads(text)) == json.dumps(value)
    except (ValueError, RecursionError):
        return False


def _json(value: JsonObject) -> str:
    return json.dumps(value, ensure_ascii=False)
