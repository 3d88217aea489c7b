"""How providers speak HTTP: a function that the composition gives them, and the meaning of what
it raises."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Protocol, TypeAlias

from anyclaude.errors import UpstreamError
from anyclaude.search.values import ErrorCode, Result, SearchFailed
from anyclaude.types import JsonObject, JsonValue

Headers: TypeAlias = tuple[tuple[str, str], ...]

_TAG = re.compile(r"<[^<>]{0,200}>")
_SPACE = re.compile(r"\s+")
_CODES: Mapping[int, ErrorCode] = {
    400: "invalid_input",
    414: "query_too_long",
    429: "too_many_requests",
    432: "too_many_requests",
    433: "too_many_requests",
}
"""432 and 433 are Tavily's, for a plan or a budget that is used up."""


class Fetch(Protocol):
    """Sends one request to a provider's server."""

    async def __call__(
        self, method: str, path: str, headers: Headers = (), body: JsonObject | None = None
    ) -> JsonValue:
        """The parsed body of a 2xx answer. Raises LookupError for a 404, UpstreamError for every
        other fault."""
        ...


async def fetched(
    provider: str,
    fetch: Fetch,
    method: str,
    path: str,
    headers: Headers = (),
    body: JsonObject | None = None,
    *,
    hints: Mapping[int, str] | None = None,
) -> JsonValue:
    """What ``fetch`` gives; its errors as :class:`SearchFailed`. ``hints`` say of a status what a
    person can do. Nothing of a path is in the message: there may be a key in it."""
    try:
        return await fetch(method, path, headers, body)
    except LookupError as error:
        said = (hints or {}).get(404, "check its address")
        raise SearchFailed("unavailable", f"{provider} answered 404; {said}") from error
    except UpstreamError as error:
        code = _CODES.get(error.status if error.answered else 0, "unavailable")
        hint = (hints or {}).get(error.status, "") if error.answered else ""
        said = error.message.rstrip(". ")
        text = said if said.startswith(provider) else f"{provider} answered: {said}"
        text = f"{text}; {hint}" if hint else text
        raise SearchFailed(code, text, retry_after=error.retry_after) from error


def objects(value: JsonValue, *path: str) -> list[JsonObject]:
    """The objects of the list at a path of keys; nothing where something else is."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [item for item in value if isinstance(item, Mapping)]


def text_at(found: JsonObject, *names: str) -> str:
    """The first of these that is a text and not empty."""
    for name in names:
        value = found.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return ""


def plain(markup: str) -> str:
    """Text out of a snippet: without tags, entities and line ends."""
    return _SPACE.sub(" ", unescape(_TAG.sub("", markup))).strip()


def result(url: str, title: str, text: str, age: str = "") -> Result:
    """A result out of what a provider wrote; one without a title has its address for it."""
    return Result(url.strip(), plain(title) or url.strip(), plain(text), plain(age))
