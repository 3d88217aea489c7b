"""A conversation that is longer than the window, made to fit: what goes, and what stays.

A :class:`Cut` is decided rarely and takes a large piece. It is a plain value: applied to the
longer conversation of a later turn it gives an extension of the shorter one's prompt, so the
next turns go on from what is cached. Never is there a tool result without its call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from anyclaude.types import (
    Block,
    MediaBlock,
    Message,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

_REMINDER = "<system-reminder>"
_REMINDER_END = "</system-reminder>"


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left out of a conversation.

    ``cleared`` are ids of calls whose results are placeholders, ``inputs`` whether their inputs
    are too. Messages from ``start`` up to ``end`` are gone but for turns of the system and the
    words of message ``asked`` (-1: none); ``summary`` stands in their place. ``covers`` messages
    had ``digest`` when it was decided: once they change, the cut means nothing.
    """

    cleared: tuple[str, ...] = ()
    inputs: bool = False
    start: int = 0
    end: int = 0
    asked: int = -1
    summary: str = ""
    covers: int = 0
    digest: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Cut:
        """Raises ValueError or TypeError for anything that isn't one."""
        values = json.loads(text)
        return cls(**{**values, "cleared": tuple(values["cleared"])})


@dataclass(frozen=True, slots=True)
class Fitted:
    """Messages after a cut; ``places`` has the new index of each that is still there whole."""

    messages: tuple[Message, ...]
    places: Mapping[int, int] = field(default_factory=dict)


def digest_of(messages: Sequence[Message]) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(repr(message).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


def settled(messages: Sequence[Message], cut: Cut) -> Cut:
    """The cut with what it covers of these messages."""
    last = max(
        (
            index
            for index, message in enumerate(messages)
            for block in message.content
            if isinstance(block, ToolResultBlock) and block.tool_use_id in cut.cleared
        ),
        default=-1,
    )
    covers = max(cut.end, last + 1)
    return replace(cut, covers=covers, digest=digest_of(messages[:covers]))


def holds(messages: Sequence[Message], cut: Cut) -> bool:
    """Whether the conversation still begins as it did when the cut was decided."""
    return len(messages) > cut.covers and digest_of(messages[: cut.covers]) == cut.digest


def cut_out(messages: Sequence[Message], cut: Cut) -> Fitted:
    """The conversation without what the cut takes."""
    cleared = frozenset(cut.cleared)
    calls = _calls(messages)
    out: list[Message] = []
    places: dict[int, int] = {}
    for index, message in enumerate(messages):
        if index == cut.end and cut.summary and cut.end > cut.start:
            out.append(Message("user", (TextBlock(_summary(cut.summary)),)))
        if cut.start <= index < cut.end and message.role != "system":
            if index == cut.asked:
                words = tuple(block for block in message.content if isinstance(block, TextBlock))
                out.append(replace(message, content=words))
            continue
        places[index] = len(out)
        out.append(_cleared(message, cleared, cut.inputs, calls) if cleared else message)
    return Fitted(tuple(out), places)


def _summary(text: str) -> str:
    # What tools returned is in it: that must not end the reminder, and speak for the user.
    text = text.replace(_REMINDER_END, "</ system-reminder>")
    return (
        f"{_REMINDER}\nThe middle of this conversation did not fit. What it said, shortened:\n"
        f"{text}\n{_REMINDER_END}"
    )


def _cleared(
    message: Message, ids: frozenset[str], inputs: bool, calls: Mapping[str, ToolUseBlock]
) -> Message:
    content: list[Block] = []
    for block in message.content:
        if isinstance(block, ToolResultBlock) and block.tool_use_id in ids:
            text = placeholder(block, calls.get(block.tool_use_id))
            content.append(replace(block, content=(TextBlock(text),)))
        elif inputs and isinstance(block, ToolUseBlock) and block.id in ids:
            content.append(replace(block, input={}))
        else:
            content.append(block)
    return replace(message, content=tuple(content))


def placeholder(result: ToolResultBlock, call: ToolUseBlock | None) -> str:
    """What stands for a result that was cleared: it depends on the result alone."""
    name = call.name if call is not None else "the tool"
    size = sum(size_of(block) for block in result.content)
    return f"[Old result of {name} cleared to save context: {size} characters.]"


def _calls(messages: Sequence[Message]) -> dict[str, ToolUseBlock]:
    return {
        block.id: block
        for message in messages
        for block in message.content
        if isinstance(block, ToolUseBlock)
    }


# ----------------------------------------------------------------------------------- deciding


def clearable(
    messages: Sequence[Message],
    keep: int,
    *,
    exclude: frozenset[str] = frozenset(),
    least: int = 200,
) -> tuple[str, ...]:
    """Calls whose results may be cleared: all but the last ``keep``, and none of ``exclude``.

    A result of fewer than ``least`` characters is worth no placeholder.
    """
    calls = _calls(messages)
    results = [
        block
        for message in messages
        for block in message.content
        if isinstance(block, ToolResultBlock)
    ]
    old = results[: max(0, len(results) - keep)]
    return tuple(
        block.tool_use_id
        for block in old
        if sum(size_of(part) for part in block.content) >= least
        and (call := calls.get(block.tool_use_id)) is not None
        and call.name not in exclude
    )


def head_of(messages: Sequence[Message]) -> int:
    """How many messages a conversation begins with that always stay: the first user turn and the
    system's turns around it."""
    seen_user = False
    for index, message in enumerate(messages):
        if message.role == "system":
            continue
        if message.role == "assistant" or seen_user:
            return index
        seen_user = True
    return len(messages)


def sliding(messages: Sequence[Message], room: float, sizes: Sequence[float]) -> Cut | None:
    """Leaves out the oldest turns after the head until the rest takes at most ``room``.

    ``sizes`` are those of the messages, in the unit of ``room``. The last turn always stays, and
    so do the user's last words. ``None``: nothing can be left out.
    """
    start = head_of(messages)
    asked = _asked(messages)
    torn = _torn(messages)
    kept = sum(sizes)
    best = None
    for end in range(start + 1, len(messages)):
        index = end - 1
        if messages[index].role != "system" and index != asked:
            kept -= sizes[index]
        if end in torn or messages[end].role == "system":
            continue
        best = end
        if kept <= room:
            break
    if best is None:
        return None
    return Cut(start=start, end=best, asked=asked if start <= asked < best else -1)


def _torn(messages: Sequence[Message]) -> frozenset[int]:
    """Where a conversation can't begin anew: there a call would be before, its result after."""
    called: dict[str, int] = {}
    torn: set[int] = set()
    for index, message in enumerate(messages):
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                called[block.id] = index
            elif isinstance(block, ToolResultBlock) and block.tool_use_id in called:
                torn.update(range(called[block.tool_use_id] + 1, index + 1))
    return frozenset(torn)


def _asked(messages: Sequence[Message]) -> int:
    """The message with the user's last words; -1 without any."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user" and any(_words(block) for block in message.content):
            return index
    return -1


def _words(block: Block) -> bool:
    return isinstance(block, TextBlock) and not block.text.lstrip().startswith(_REMINDER)


# -------------------------------------------------------------------------------------- sizes


def size_of(block: Block) -> int:
    """Characters that a block takes in a prompt, roughly."""
    match block:
        case TextBlock():
            return len(block.text)
        case ThinkingBlock():
            return len(block.thinking)
        case ToolUseBlock():
            return len(block.name) + len(json.dumps(dict(block.input), default=str)) + 40
        case ToolResultBlock():
            return 20 + sum(size_of(part) for part in block.content)
        case MediaBlock():
            return len(block.data) if block.source == "text" else 40
        case ToolReferenceBlock():
            return 40
        case OpaqueBlock():
            return len(json.dumps(dict(block.raw), default=str))


def sizes_of(messages: Sequence[Message]) -> tuple[int, ...]:
    return tuple(20 + sum(size_of(block) for block in message.content) for message in messages)
