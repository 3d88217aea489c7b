"""The client's own edits of a conversation: ``context_management`` of Anthropic's API.

``clear_tool_uses_20250919`` is honoured; ``clear_thinking`` needs nothing, for a local model's
template decides what of its thoughts it is shown again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from anyclaude.types import JsonValue, Message, MessagesRequest, ToolUseBlock

_CLEAR_TOOL_USES = "clear_tool_uses_"
_TRIGGER = 100_000
"""Input tokens, and results that stay: the defaults of Anthropic's documentation."""
_KEEP = 3


@dataclass(frozen=True, slots=True)
class ClearToolUses:
    """Old results go once the prompt has more than ``tokens``, or the conversation more than
    ``uses`` calls whose results are there.

    The last ``keep`` stay, and those of the tools in ``exclude``. ``inputs``: the calls lose
    their inputs too. Nothing goes unless it frees ``at_least`` tokens.
    """

    tokens: int | None = _TRIGGER
    uses: int | None = None
    keep: int = _KEEP
    exclude: tuple[str, ...] = ()
    inputs: bool = False
    at_least: int = 0

    def triggered_by_uses(self, messages: Sequence[Message], cleared: Collection[str]) -> bool:
        if self.uses is None:
            return False
        gone = set(cleared)
        uses = sum(
            1
            for message in messages
            for block in message.content
            if isinstance(block, ToolUseBlock) and block.id not in gone
        )
        return uses > self.uses


def edits_of(request: MessagesRequest) -> tuple[ClearToolUses, ...]:
    """The edits that the request asks for; what can't be read is none."""
    return tuple(
        _read(edit)
        for edit in request.context_edits
        if str(edit.get("type", "")).startswith(_CLEAR_TOOL_USES)
    )


def _read(edit: Mapping[str, JsonValue]) -> ClearToolUses:
    trigger = _amount(edit.get("trigger"))
    keep = _amount(edit.get("keep"))
    at_least = _amount(edit.get("clear_at_least"))
    names = edit.get("exclude_tools")
    listed = names if isinstance(names, Sequence) and not isinstance(names, str) else ()
    by_uses = trigger is not None and trigger[0] == "tool_uses"
    return ClearToolUses(
        tokens=None if by_uses else trigger[1] if trigger else _TRIGGER,
        uses=trigger[1] if by_uses and trigger else None,
        keep=keep[1] if keep else _KEEP,
        exclude=tuple(sorted({name for name in listed if isinstance(name, str)})),
        inputs=edit.get("clear_tool_inputs") is True,
        at_least=at_least[1] if at_least else 0,
    )


def _amount(value: JsonValue) -> tuple[str, int] | None:
    """``{"type": …, "value": …}``; ``None`` for anything else."""
    if not isinstance(value, Mapping):
        return None
    number = value.get("value")
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        return None
    return str(value.get("type", "")), number
