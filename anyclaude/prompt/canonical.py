"""The form of a request that stays the same from turn to turn.

The client puts values into its prompts that change with every request while they say nothing
to the model: a billing line, token counters, cache marks that move. Each is taken out by one
named rule, so that the next prompt extends the last one token for token. String against list
content needs no rule: the parser has one form for both. Metadata and ``cache_mark`` stay, no
model ever sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from anyclaude.prompt.server_calls import unrolled
from anyclaude.types import (
    Block,
    JsonObject,
    Message,
    MessageRole,
    MessagesRequest,
    OpaqueBlock,
    TextBlock,
    ToolChoice,
    ToolDefinition,
    ToolReferenceBlock,
    ToolResultBlock,
)

BILLING_PREFIX = "x-anthropic-billing-header:"
"""How the system text begins that names the client's version and a hash of the prompt."""

PLACEHOLDER_TOOL = "DeferredToolPlaceholder"

_SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "tool_search_tool_")

_REMINDER = "<system-reminder>"
_MARK = r"<total_tokens>\s*\d[\d,]* tokens left\s*</total_tokens>"
_MARKER = rf"(?:{_REMINDER}\s*(?:{_MARK}\s*)+</system-reminder>|{_MARK})"
_MARKER_LINE = re.compile(rf"^[ \t]*{_MARKER}[ \t]*\n", re.MULTILINE)
_MARKER_END = re.compile(rf"{_MARKER}\Z")
_MARKER_REACH = 512

Edited: TypeAlias = tuple[MessagesRequest, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One named change; ``apply`` gives the new request and how many places it changed."""

    name: str
    description: str
    apply: Callable[[MessagesRequest], Edited]


@dataclass(frozen=True, slots=True)
class Canonical:
    """A request fit for rendering.

    ``callable_tools`` are those of the header and the deferred ones that came with the request:
    the client runs a deferred tool whenever its input validates. ``applied`` has the rules that
    changed something, with the number of places.
    """

    request: MessagesRequest
    callable_tools: tuple[ToolDefinition, ...]
    applied: tuple[tuple[str, int], ...]


def canonicalise(request: MessagesRequest, disabled: frozenset[str] = frozenset()) -> Canonical:
    """Applies every rule of :data:`RULES` not named in ``disabled``, in their order."""
    deferred = [t for t in request.tools if t.defer_loading and not _is_placeholder(t)]
    applied: list[tuple[str, int]] = []
    for rule in RULES:
        if rule.name in disabled:
            continue
        request, count = rule.apply(request)
        if count:
            applied.append((rule.name, count))
    loaded = tuple(t for t in deferred if t not in request.tools and not _runs_on_server(t))
    return Canonical(request, (*request.tools, *loaded), tuple(applied))


def definition_text(tool: ToolDefinition) -> str:
    """The definition as one line of JSON, byte for byte what a chat template's header holds."""
    return json.dumps(tool.function, ensure_ascii=False)


def without_billing(text: str) -> str:
    """The text after its leading billing lines; the text itself when it has none."""
    while text.lstrip().startswith(BILLING_PREFIX):
        _, _, text = text.lstrip().partition("\n")
        text = text.lstrip("\n")
    return text


# ------------------------------------------------------------------------------------ rules


def _cache_control(request: MessagesRequest) -> Edited:
    count = 0

    def clean(raw: JsonObject) -> JsonObject:
        nonlocal count
        if "cache_control" not in raw:
            return raw
        count += 1
        return {key: value for key, value in raw.items() if key != "cache_control"}

    def edit(block: Block, role: MessageRole) -> Block | None:
        if isinstance(block, OpaqueBlock) and (raw := clean(block.raw)) is not block.raw:
            return replace(block, raw=raw)
        return block

    tools = tuple(
        t if (raw := clean(t.raw)) is t.raw else replace(t, raw=raw) for t in request.tools
    )
    edited, _ = _edit_messages(request, edit)
    return (replace(edited, tools=tools), count) if count else (request, 0)


def _billing_line(request: MessagesRequest) -> Edited:
    return _edit_system(request, lambda text: without_billing(text) or None)


def _token_budget(request: MessagesRequest) -> Edited:
    def edit(block: Block, role: MessageRole) -> Block | None:
        if isinstance(block, ToolResultBlock):
            results = [
                _edit_text(b, _strip_tail) if isinstance(b, TextBlock) else b for b in block.content
            ]
            kept = tuple(b for b in results if b is not None)
            return block if kept == block.content else replace(block, content=kept)
        if not isinstance(block, TextBlock) or role == "assistant":
            return block
        ours = role == "system" or block.text.lstrip().startswith(_REMINDER)
        if ours or _strip_tail(block.text) is None:
            return _edit_text(block, _strip_anywhere)
        return block

    edited, in_system = _edit_system(request, _strip_anywhere)
    edited, in_messages = _edit_messages(edited, edit)
    return edited, in_system + in_messages


def _empty_text(request: MessagesRequest) -> Edited:
    def edit(block: Block, role: MessageRole) -> Block | None:
        if isinstance(block, TextBlock) and not block.text.strip():
            return None
        if isinstance(block, ToolResultBlock) and TextBlock("") in block.content:
            # White space may be what a command printed, so only nothing at all goes.
            return replace(block, content=tuple(b for b in block.content if b != TextBlock("")))
        return block

    edited, in_system = _edit_system(request, lambda text: text if text.strip() else None)
    edited, in_messages = _edit_messages(edited, edit)
    return edited, in_system + in_messages


def _server_tools(request: MessagesRequest) -> Edited:
    tools = tuple(t for t in request.tools if not _runs_on_server(t))
    if len(tools) == len(request.tools):
        return request, 0
    choice = request.tool_choice
    absent = choice.mode == "tool" and all(t.name != choice.name for t in tools)
    if not tools or absent:
        choice = ToolChoice()
    edited = replace(request, tools=tools, tool_choice=choice)
    return edited, len(request.tools) - len(tools)


def _deferred_tools(request: MessagesRequest) -> Edited:
    known = {t.name: t for t in request.tools if not _is_placeholder(t)}
    header = tuple(t for t in request.tools if not t.defer_loading and not _is_placeholder(t))

    def shown(reference: ToolReferenceBlock) -> TextBlock:
        tool = known.get(reference.tool_name)
        if tool is None:
            return TextBlock(f"The tool {reference.tool_name} is not available.")
        return TextBlock(definition_text(tool))

    def edit(block: Block, role: MessageRole) -> Block | None:
        if isinstance(block, ToolReferenceBlock):
            return shown(block)
        if isinstance(block, ToolResultBlock):
            content = tuple(
                shown(b) if isinstance(b, ToolReferenceBlock) else b for b in block.content
            )
            return block if content == block.content else replace(block, content=content)
        return block

    edited, count = _edit_messages(request, edit)
    count += len(request.tools) - len(header)
    return (replace(edited, tools=header), count) if count else (request, 0)


RULES: tuple[Rule, ...] = (
    Rule("cache_control", "drop cache marks, which move every turn", _cache_control),
    Rule("server_calls", "make turns of the calls that ran here", unrolled),
    Rule("token_budget", "drop <total_tokens> counters that the client appends", _token_budget),
    Rule("billing_line", "drop the billing line at the head of a system text", _billing_line),
    Rule("empty_text", "drop text blocks that hold nothing", _empty_text),
    Rule("server_tools", "hide tools that only Anthropic's servers can run", _server_tools),
    Rule("deferred_tools", "show deferred tools where they were loaded", _deferred_tools),
)


# ---------------------------------------------------------------------------------- helpers


def _is_placeholder(tool: ToolDefinition) -> bool:
    return tool.name == PLACEHOLDER_TOOL


def _runs_on_server(tool: ToolDefinition) -> bool:
    return tool.type is not None and tool.type.startswith(_SERVER_TOOLS)


def _strip_tail(text: str) -> str | None:
    """The text without counters on lines of their own at its end; ``None``: nothing is left."""
    while "<total_tokens>" in text[-_MARKER_REACH:]:
        body = text.rstrip()
        found = _MARKER_END.search(body, max(0, len(body) - _MARKER_REACH))
        if found is None:
            break
        before = body[: found.start()].rstrip(" \t")
        if before and not before.endswith("\n"):
            break
        text = before.rstrip()
        if not text:
            return None
    return text


def _strip_anywhere(text: str) -> str | None:
    """The text without counters on lines of their own; ``None``: nothing is left."""
    while "<total_tokens>" in text:
        before = text
        # The end first: there a reminder that is only a counter has no line end after it.
        text = _MARKER_LINE.sub("", _strip_tail(text) or "")
        if not text.strip():
            return None
        if text == before:
            break
    return text


def _edit_text(block: TextBlock, edit: Callable[[str], str | None]) -> TextBlock | None:
    text = edit(block.text)
    if text is None:
        return None
    return block if text == block.text else replace(block, text=text)


def _edit_system(request: MessagesRequest, edit: Callable[[str], str | None]) -> Edited:
    """The request with ``edit`` over its system blocks (``None`` drops one), and a count."""
    system: list[TextBlock] = []
    count = 0
    for block in request.system:
        new = _edit_text(block, edit)
        count += new is not block
        if new is not None:
            system.append(new)
    return (replace(request, system=tuple(system)), count) if count else (request, 0)


def _edit_messages(
    request: MessagesRequest, edit: Callable[[Block, MessageRole], Block | None]
) -> Edited:
    """The request with ``edit`` over every block (``None`` drops it), and how many changed.

    A system-role message that loses its last block goes too, unless no message would be left,
    and ``cache_mark`` moves with the messages before it.
    """
    messages: list[Message] = []
    mark = request.cache_mark
    last = len(request.messages) - 1
    count = 0
    for index, message in enumerate(request.messages):
        content: list[Block] = []
        changed = 0
        for block in message.content:
            new = edit(block, message.role)
            changed += new is not block
            if new is not None:
                content.append(new)
        count += changed
        emptied = changed and not content and message.role == "system"
        if emptied and (messages or index < last):
            if mark is not None and request.cache_mark is not None and index <= request.cache_mark:
                mark -= 1
            continue
        messages.append(replace(message, content=tuple(content)) if changed else message)
    if not count:
        return request, 0
    return replace(request, messages=tuple(messages), cache_mark=mark), count
