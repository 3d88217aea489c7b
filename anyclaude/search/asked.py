"""What a request asks for whose only tool is the search of Anthropic's servers.

Claude Code's WebSearch makes such a request beside its conversation: one user message that says
what to search for. That needs no model. A conversation that merely may search is another thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anyclaude.search.values import Query
from anyclaude.types import JsonObject, MessagesRequest, TextBlock

WEB_SEARCH = "web_search_"
"""How the types of the tool begin, whatever its version."""

_COMMAND = re.compile(r"\W*(?:\w+\W+){0,6}?search\b[^:\n]{0,60}:\s*(?P<query>\S.*)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class SearchWanted:
    """``tool`` is the name that the client has for the search, ``max_uses`` its limit if any."""

    query: Query
    tool: str
    max_uses: int | None = None


def wanted_of(request: MessagesRequest) -> SearchWanted | None:
    """The search that the request is; ``None`` for one that a model is to answer.

    A forced search takes the message as it is; otherwise it must say that it is one.
    """
    choice = request.tool_choice
    tool = next((t for t in request.tools if (t.type or "").startswith(WEB_SEARCH)), None)
    if tool is None or len(request.tools) > 1 or choice.mode == "none":
        return None
    if any(message.role == "assistant" for message in request.messages):
        return None
    users = [message for message in request.messages if message.role == "user"]
    texts = [b.text for b in users[-1].content if isinstance(b, TextBlock)] if users else []
    text = "\n".join(texts).strip()
    found = _COMMAND.fullmatch(text)
    if found is None and choice.mode == "auto":
        return None
    query = Query(
        " ".join((found["query"] if found else text).split()),
        _texts(tool.raw, "allowed_domains"),
        _texts(tool.raw, "blocked_domains"),
    )
    limit = tool.raw.get("max_uses")
    counts = isinstance(limit, int) and not isinstance(limit, bool)
    return SearchWanted(query, tool.name, int(str(limit)) if counts else None)


def _texts(raw: JsonObject, name: str) -> tuple[str, ...]:
    value = raw.get(name)
    if not isinstance(value, list | tuple):
        return ()
    return tuple(item for item in value if isinstance(item, str) and item.strip())
