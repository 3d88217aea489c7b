"""Events as JSON objects and back, for those who listen over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, cast

from anyclaude.events import (
    EngineState,
    Event,
    FirstToken,
    McpCall,
    OutputDelta,
    PrefillProgress,
    PromptShaped,
    PullState,
    RequestAdmitted,
    RequestFinished,
    RequestReceived,
    SearchMade,
    SystemEvent,
    TierStats,
    ToolCallSeen,
    ToolFailed,
    Vitals,
)
from anyclaude.records import (
    McpCallRecord,
    PromptSection,
    RequestRecord,
    SearchRecord,
    ToolFailure,
    call_of,
)
from anyclaude.types import PrefixBreak, PrefixMiss

_TYPES: dict[str, type[Any]] = {
    t.__name__: t
    for t in (
        RequestReceived,
        RequestAdmitted,
        PrefillProgress,
        FirstToken,
        OutputDelta,
        ToolCallSeen,
        ToolFailed,
        SearchMade,
        McpCall,
        RequestFinished,
        SystemEvent,
        PromptShaped,
        EngineState,
        PullState,
        Vitals,
    )
}


def to_json(event: Event) -> dict[str, object]:
    """The event as a JSON object with its class name under ``type``."""
    return {"type": type(event).__name__, **asdict(event)}


def from_json(raw: Mapping[str, object]) -> Event | None:
    """The event of :func:`to_json`, or ``None`` for a type this release does not know."""
    cls = _TYPES.get(str(raw.get("type")))
    if cls is None:
        return None
    known = {f.name for f in fields(cls)}
    values: dict[str, Any] = {k: v for k, v in raw.items() if k in known}
    if cls is ToolCallSeen:
        values["call"] = call_of(values["call"])
    elif cls is ToolFailed:
        values["failure"] = ToolFailure(**cast("dict[str, Any]", values["failure"]))
    elif cls is SearchMade:
        search = cast("dict[str, Any]", values["search"])
        values["search"] = SearchRecord(**{**search, "pages": tuple(search.get("pages", ()))})
    elif cls is PromptShaped:
        values["sections"] = tuple(
            PromptSection(**one) for one in cast("list[dict[str, Any]]", values["sections"])
        )
    elif cls is McpCall:
        values["call"] = McpCallRecord(**cast("dict[str, Any]", values["call"]))
    elif cls is RequestAdmitted:
        rules = cast("list[tuple[str, int]]", values.get("canonical", []))
        values["canonical"] = tuple((rule, count) for rule, count in rules)
        miss = cast("dict[str, Any]", values.get("miss", {}))
        values["miss"] = PrefixMiss(**{**miss, "cause": PrefixBreak(values["break_cause"])})
    elif cls is RequestFinished:
        values["record"] = RequestRecord(**cast("dict[str, Any]", values["record"]))
    elif cls is Vitals:
        tiers = cast("list[dict[str, Any]]", values["tiers"])
        values["tiers"] = tuple(TierStats(**tier) for tier in tiers)
    return cast(Event, cls(**values))
