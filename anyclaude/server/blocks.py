"""Messages and their content blocks, from the wire to values.

Unknown block types are kept as :class:`OpaqueBlock`; known ones must have the right form. Text
is never trimmed, and an empty text block is as good as another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from anyclaude.server.fields import Node
from anyclaude.types import (
    Block,
    MediaBlock,
    Message,
    MessageRole,
    OpaqueBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
)

ResultPart = TextBlock | MediaBlock | ToolReferenceBlock | OpaqueBlock


class MessageReader:
    """Reads the messages of one request in order, with what spans them.

    ``mark`` is the index of the last message with a ``cache_control`` mark, or ``None``.
    """

    def __init__(self) -> None:
        self.mark: int | None = None
        self._tool_uses: set[str] = set()

    def read(self, messages: Node) -> tuple[Message, ...]:
        """Raises InvalidRequest naming the message and the block."""
        nodes = list(messages.items())
        if not nodes:
            raise messages.fail("at least one message is required")
        return tuple(
            self._message(node, index, last=index == len(nodes) - 1)
            for index, node in enumerate(nodes)
        )

    def _message(self, node: Node, index: int, *, last: bool) -> Message:
        role: MessageRole
        match node.need("role").choice("user", "assistant", "system"):
            case "user":
                role = "user"
            case "assistant":
                role = "assistant"
            case _:
                role = "system"
        content = node.need("content")
        if isinstance(content.value, str):
            blocks: tuple[Block, ...] = (TextBlock(content.value),) if content.value else ()
        else:
            blocks = tuple(self._block(item, role, index) for item in content.items())
        if not blocks and not (last and role == "assistant"):
            raise node.fail(
                "all messages must have non-empty content except for the optional final "
                "assistant message"
            )
        return Message(role, blocks)

    def _block(self, node: Node, role: MessageRole, index: int) -> Block:
        if node.marked:
            self.mark = index
        match node.need("type").text(filled=True):
            case "thinking":
                return ThinkingBlock(node.need("thinking").text(), node.optional_text("signature"))
            case "tool_use":
                return self._tool_use(node, role)
            case "tool_result":
                return self._tool_result(node, role, index)
            case _:
                return part(node)

    def _tool_use(self, node: Node, role: MessageRole) -> ToolUseBlock:
        if role != "assistant":
            raise node.fail("`tool_use` blocks can only be in `assistant` messages")
        use = ToolUseBlock(
            node.need("id").text(filled=True),
            node.need("name").text(),
            node.need("input").object(),
        )
        if use.id in self._tool_uses:
            raise node.fail("`tool_use` ids must be unique")
        self._tool_uses.add(use.id)
        return use

    def _tool_result(self, node: Node, role: MessageRole, index: int) -> ToolResultBlock:
        if role != "user":
            raise node.fail("`tool_result` blocks can only be in `user` messages")
        use_id = node.need("tool_use_id").text()
        if use_id not in self._tool_uses:
            raise node.fail(
                f"unexpected `tool_use_id` found in `tool_result` blocks: {use_id[:100]}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in an "
                "earlier message."
            )
        content = node.find("content")
        parts: list[ResultPart] = []
        if content is not None and isinstance(content.value, str):
            parts.append(TextBlock(content.value))
        elif content is not None:
            for item in content.items():
                if item.marked:
                    self.mark = index
                parts.append(part(item))
        return ToolResultBlock(use_id, tuple(parts), node.optional_flag("is_error"))


def part(node: Node) -> ResultPart:
    """A block that may also stand inside a tool result."""
    match node.need("type").text(filled=True):
        case "text":
            return TextBlock(node.need("text").text())
        case "image":
            return _media(node, "image")
        case "document":
            return _media(node, "document")
        case "tool_reference":
            return ToolReferenceBlock(node.need("tool_name").text(filled=True))
        case kind:
            return OpaqueBlock(kind, node.unmarked())


def _media(node: Node, kind: Literal["image", "document"]) -> MediaBlock | OpaqueBlock:
    source = node.need("source")
    match source.need("type").text(filled=True):
        case "base64":
            media_type, data = source.need("media_type").text(), source.need("data").text()
            return MediaBlock(kind, media_type, data, "base64")
        case "text":
            media_type = source.optional_text("media_type", "text/plain")
            return MediaBlock(kind, media_type, source.need("data").text(), "text")
        case "url":
            return MediaBlock(kind, "", source.need("url").text(), "url")
        case "file":
            return MediaBlock(kind, "", source.need("file_id").text(), "file")
        case _:
            return OpaqueBlock(kind, node.unmarked())


def system_blocks(node: Node | None) -> tuple[tuple[TextBlock, ...], bool]:
    """The system prompt, a string or text blocks, and whether any of it is marked."""
    if node is None:
        return (), False
    if isinstance(node.value, str):
        return ((TextBlock(node.value),) if node.value else ()), False
    items: Sequence[Node] = list(node.items())
    blocks: list[TextBlock] = []
    for item in items:
        item.need("type").choice("text")
        blocks.append(TextBlock(item.need("text").text()))
    return tuple(blocks), any(item.marked for item in items)
