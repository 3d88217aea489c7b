"""What a request is for, told from its headers and its shape.

The client never says so. Anything that is not clearly an auxiliary request is the main loop.
"""

from __future__ import annotations

from dataclasses import replace

from anyclaude.prompt.canonical import BILLING_PREFIX
from anyclaude.types import ClientInfo, JsonObject, MessagesRequest, Role, TextBlock

TITLE_TOKENS = 512
"""An answer with a title has no more; a model that finds no end would hold up whoever waits."""
_SUMMARY_MARKS = ("<summary>", "summary of the conversation", "summary of this conversation")
_TEXT_ONLY_MARKS = ("text only", "plain text", "do not call any tools", "do not use any tools")


def role_of(client: ClientInfo, request: MessagesRequest) -> Role:
    """The role of a request as it was parsed: its billing line must still be there."""
    if request.max_tokens == 1 and not request.tools:
        return Role.PROBE
    if request.tools and all((t.type or "").startswith("web_search_") for t in request.tools):
        return Role.SEARCH
    if not request.tools and _asks_for_title(request.output_schema):
        return Role.TITLE
    if _asks_for_summary(request):
        return Role.COMPACT
    if client.agent_id or _billed_to_subagent(request):
        return Role.SUBAGENT
    return Role.MAIN


def bounded(request: MessagesRequest, role: Role) -> MessagesRequest:
    """The request with as many tokens for its answer as its role has use for."""
    if role is not Role.TITLE or request.max_tokens <= TITLE_TOKENS:
        return request
    return replace(request, max_tokens=TITLE_TOKENS)


def _asks_for_title(schema: JsonObject | None) -> bool:
    properties = schema.get("properties") if schema else None
    return isinstance(properties, dict) and set(properties) == {"title"}


def _asks_for_summary(request: MessagesRequest) -> bool:
    """Compaction: after some history, a last user text that wants a summary as text alone."""
    if len(request.messages) < 2 or request.messages[-1].role != "user":
        return False
    texts = [b.text for b in request.messages[-1].content if isinstance(b, TextBlock)]
    if not texts:
        return False
    text = texts[-1].lower()
    return any(m in text for m in _SUMMARY_MARKS) and any(m in text for m in _TEXT_ONLY_MARKS)


def _billed_to_subagent(request: MessagesRequest) -> bool:
    for block in request.system:
        head = block.text.lstrip()
        if head.startswith(BILLING_PREFIX):
            return "cc_is_subagent=true" in head.partition("\n")[0]
    return False
