"""Why one prompt doesn't go on where another ended: what differs between the two.

Pure functions. Tokens say where two prompts part; the messages, the tools and the system texts
they were made from say why.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from anyclaude.engine.template import common_length
from anyclaude.types import (
    Message,
    MessagesRequest,
    PrefixBreak,
    TextBlock,
    ThinkingBlock,
    ThinkingMarkers,
    Tokens,
    ToolResultBlock,
)

TOKEN_BYTES = 4
_CLOSING = (
    8  # tokens a template may put behind the last message, where it changes with what follows
)
_LEAD, _REST = 40, 80  # characters shown before and from where two prompts part
_LEAD_TOKENS, _REST_TOKENS = 24, 48

_BILLING = re.compile(r"^\s*x-anthropic-billing-header:[^\n]*\n*", re.MULTILINE)
_BUDGET = re.compile(
    r"\s*(?:<system-reminder>\s*)?(?:<total_tokens>[^<]*</total_tokens>\s*)+(?:</system-reminder>)?"
)

Decode = Callable[[Tokens], str]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and, once it is known, the answer to it.

    ``data`` has the tokens of both, four bytes each. ``tokens`` counts those of the prompt, and
    the other figures are those of :class:`~anyclaude.engine.template.Rendered`.
    """

    request: MessagesRequest
    data: bytes
    tokens: int
    system_tokens: int
    message_ends: tuple[int, ...]
    tail_start: int
    thinking: ThinkingMarkers | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.request.messages

    @property
    def total(self) -> int:
        return len(self.data) // TOKEN_BYTES

    def part(self, start: int, stop: int) -> bytes:
        return self.data[start * TOKEN_BYTES : stop * TOKEN_BYTES]

    def ids(self, start: int, stop: int) -> Tokens:
        return tuple(memoryview(self.part(start, stop)).cast("I"))

    def message_at(self, token: int) -> int:
        """The message that holds a token; -1: the system prompt or the tools."""
        if token < self.system_tokens:
            return -1
        return min(bisect.bisect_right(self.message_ends, token), len(self.messages) - 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """Where and why two prompts part; ``at`` is ``None`` when the newer one only goes on."""

    cause: PrefixBreak
    at: int | None = None
    message: int | None = None


def shared_tokens(before: Prompt, now: Prompt) -> int:
    """How many tokens both begin with, an answer known of ``before`` included."""
    return common_length(before.data, now.data) // TOKEN_BYTES


def compare(before: Prompt, now: Prompt, *, compacting: bool, decode: Decode) -> Finding:
    """Why ``now`` isn't ``before`` with more behind it.

    ``compacting``: a summary of the conversation was asked for in between.
    """
    at = shared_tokens(before, now)
    if at >= before.tail_start:
        cause, message = _answer(before, now, at, decode), len(before.messages)
    elif at < max(before.system_tokens, now.system_tokens):
        cause, message = _head(before, now, at, decode), -1
    else:
        cause, message = _history(before, now, at, compacting=compacting)
    return Finding(cause) if cause is PrefixBreak.NONE else Finding(cause, at, message)


# ------------------------------------------------------------------------------- in the answer


def _answer(before: Prompt, now: Prompt, at: int, decode: Decode) -> PrefixBreak:
    """The prompt is still there; the turn that answered it may have come back in other words."""
    echoed = now.messages[len(before.messages) :]
    if at >= before.total - 1 or not echoed or echoed[0].role != "assistant":
        return PrefixBreak.NONE
    if before.total == before.tokens:  # Nobody knows what was generated, if anything was.
        return PrefixBreak.NONE
    if not _thoughts(echoed[0]) and _thought(before, decode):
        return PrefixBreak.THINKING_DROPPED
    return PrefixBreak.ECHO_CHANGED


def _thought(before: Prompt, decode: Decode) -> bool:
    """Whether the answer began with reasoning."""
    if before.thinking is None:
        return False
    beginning = decode(before.ids(before.tokens, before.tokens + _LEAD_TOKENS))
    return before.thinking.opened or before.thinking.start in beginning


# --------------------------------------------------------------------------------- in the head


def _head(before: Prompt, now: Prompt, at: int, decode: Decode) -> PrefixBreak:
    old, new = before.request, now.request
    tools = [(t.name, t.description, t.input_schema) for t in old.tools] != [
        (t.name, t.description, t.input_schema) for t in new.tools
    ]
    if tools and old.system == new.system:
        return PrefixBreak.TOOLS_CHANGED
    if tools:
        lead = decode(now.ids(max(0, at - _LEAD_TOKENS), at))[-_LEAD // 2 :]
        if lead not in _text(new.system):
            return PrefixBreak.TOOLS_CHANGED
    if _without(_BILLING, old.system) == _without(_BILLING, new.system) and not tools:
        return PrefixBreak.BILLING_LINE if old.system != new.system else PrefixBreak.SYSTEM_CHANGED
    if _without(_BUDGET, old.system) == _without(_BUDGET, new.system) and not tools:
        return PrefixBreak.BUDGET_MARKER
    return PrefixBreak.SYSTEM_CHANGED


def _text(blocks: Sequence[TextBlock]) -> str:
    return "\n\n".join(block.text for block in blocks)


def _without(pattern: re.Pattern[str], blocks: Sequence[object]) -> list[object]:
    """The blocks with what matches taken out of every text; empty texts go."""
    kept: list[object] = []
    for block in blocks:
        match block:
            case TextBlock():
                if text := pattern.sub("", block.text).strip():
                    kept.append(text)
            case ToolResultBlock():
                kept.append((block.tool_use_id, block.is_error, _without(pattern, block.content)))
            case _:
                kept.append(block)
    return kept


# ------------------------------------------------------------------------------ in the history


def _history(before: Prompt, now: Prompt, at: int, *, compacting: bool) -> tuple[PrefixBreak, int]:
    old, new = before.messages, now.messages
    changed = _first_change(before, now, at)
    if changed is None:
        return _same_words(before, now, at)
    one, other = old[changed], new[changed]
    if changed == 0 and (compacting or now.tokens < before.tokens // 2):
        return PrefixBreak.COMPACTION, changed
    if one.role == other.role == "system":
        return PrefixBreak.SYSTEM_CHANGED, changed
    if _spoken(new)[: len(_spoken(old))] == _spoken(old):
        return PrefixBreak.SYSTEM_MOVED, changed
    if changed == len(old) - 1 and other.content[: len(one.content)] == one.content:
        return PrefixBreak.NONE, changed  # The client has added to a turn that wasn't answered.
    if one.role == other.role:
        if _without(_BUDGET, one.content) == _without(_BUDGET, other.content):
            return PrefixBreak.BUDGET_MARKER, changed
        if _unthinking(one) == _unthinking(other) and _thoughts(one) != _thoughts(other):
            return PrefixBreak.THINKING_DROPPED, changed
    return PrefixBreak.HISTORY_CHANGED, changed


def _first_change(before: Prompt, now: Prompt, at: int) -> int | None:
    """The first message that isn't the same and that the tokens could show."""
    ends = (0, *now.message_ends)
    for index, (one, other) in enumerate(zip(before.messages, now.messages, strict=False)):
        told = ends[index] < ends[index + 1] < at - _CLOSING
        if one != other and not told:
            return index
    return None


def _same_words(before: Prompt, now: Prompt, at: int) -> tuple[PrefixBreak, int]:
    """All messages that both have are the same, yet the tokens aren't."""
    if len(now.messages) < len(before.messages):
        return PrefixBreak.HISTORY_CHANGED, now.message_at(at)
    if before.tail_start - at <= _CLOSING:
        return PrefixBreak.NONE, now.message_at(at)
    place = now.message_at(at)
    message = now.messages[place]
    if message.role != "assistant":
        return PrefixBreak.HISTORY_CHANGED, place
    lost = PrefixBreak.THINKING_DROPPED if _thoughts(message) else PrefixBreak.ECHO_CHANGED
    return lost, place


def _spoken(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message.role != "system"]


def _thoughts(message: Message) -> list[str]:
    return [block.thinking for block in message.content if isinstance(block, ThinkingBlock)]


def _unthinking(message: Message) -> Message:
    return replace(
        message,
        content=tuple(block for block in message.content if not isinstance(block, ThinkingBlock)),
    )


# ------------------------------------------------------------------------------- what it costs


def sent_again(before: Prompt, now: Prompt, at: int, start: int) -> int:
    """Tokens of ``now`` from ``start`` on that ``before`` had too, behind where they part.

    They had been computed, and would not have to be again if nothing had changed before them.
    """
    held = {before.part(a, b) for a, b in _messages(before) if b > max(a, at)}
    answer = before.part(before.tokens, before.total - 1)
    again = 0
    if at >= before.tail_start and len(now.messages) > len(before.messages):
        # The answer came back in other words: about as many as there were have to be read.
        end = now.message_ends[len(before.messages)]
        again += max(0, min(before.total - at, end - max(at, start)))
    for index, (begin, end) in enumerate(_messages(now)):
        segment = now.part(begin, end)
        answered = index == len(before.messages) and at < before.tail_start
        if segment in held or (answered and answer and answer in segment):
            again += max(0, end - max(begin, start))
    if at < min(before.system_tokens, now.system_tokens):
        one = before.part(at, before.system_tokens)[::-1]
        other = now.part(at, now.system_tokens)[::-1]
        same = common_length(one, other) // TOKEN_BYTES
        again += max(0, now.system_tokens - max(now.system_tokens - same, start))
    return again


def _messages(prompt: Prompt) -> Iterator[tuple[int, int]]:
    """From where to where each message goes; the first one begins behind the head."""
    return itertools.pairwise((prompt.system_tokens, *prompt.message_ends))


def same_messages(before: MessagesRequest, now: Prompt) -> int:
    """Tokens of ``now`` up to where it stops saying what an earlier request said."""
    if before.system != now.request.system or before.tools != now.request.tools:
        return 0
    pairs = zip(before.messages, now.messages, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return max(now.system_tokens, now.message_ends[same - 1] if same else 0)


# -------------------------------------------------------------------------------- what to show


def around(prompt: Prompt, at: int, decode: Decode) -> str:
    """The text where two prompts part: a few words that both have, then the prompt's own."""
    start = max(0, at - _LEAD_TOKENS)
    lead = decode(prompt.ids(start, at))
    whole = decode(prompt.ids(start, at + _REST_TOKENS))
    # A character may lie across the place; then it belongs to what differs.
    shared = common_length(lead, whole)
    return whole[max(0, shared - _LEAD) : shared + _REST].lstrip("\ufffd")
