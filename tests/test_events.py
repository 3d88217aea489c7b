"""The bus: order, bounds, and what is never dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anyclaude.event_json import from_json, to_json
from anyclaude.events import (
    Bus,
    EngineState,
    Event,
    FirstToken,
    McpCall,
    PrefillProgress,
    PullState,
    RequestAdmitted,
    RequestFinished,
    SearchMade,
    SystemEvent,
    TierStats,
    ToolCallSeen,
    Vitals,
)
from anyclaude.records import (
    McpCallRecord,
    Repair,
    RequestRecord,
    SearchRecord,
    ToolCallRecord,
    ToolIssue,
)
from anyclaude.types import PrefixBreak, PrefixMiss


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 10))
def test_only_droppable_events_make_room(droppable: list[bool], limit: int) -> None:
    bus = Bus()
    heard = bus.subscribe(limit)
    events: list[Event] = [
        PrefillProgress(str(i), i, 99) if drop else FirstToken(str(i), float(i))
        for i, drop in enumerate(droppable)
    ]
    for event in events:
        bus.publish(event)
    kept = heard.drain()
    assert [e for e in kept if not e.droppable] == [e for e in events if not e.droppable]
    lifecycle = sum(not e.droppable for e in events)
    assert len(kept) <= max(limit, lifecycle)
    assert heard.dropped == len(events) - len(kept)
    positions = [events.index(e) for e in kept]
    assert positions == sorted(positions)


async def test_iteration_ends_with_the_subscription() -> None:
    bus = Bus()
    heard = bus.subscribe()
    bus.publish(EngineState("ready", "m"))
    heard.close()
    bus.publish(EngineState("failed", "m"))
    assert [e.phase async for e in heard if isinstance(e, EngineState)] == ["ready"]
    assert bus.engine_state.phase == "failed"


def test_listeners_hear_at_once_and_in_order() -> None:
    bus, heard = Bus(), list[Event]()
    bus.publish(EngineState("loading", "m"))
    stop = bus.listen(heard.append)
    events = [EngineState("ready", "m"), FirstToken("r", 3.0)]
    for event in events:
        bus.publish(event)
        assert heard[-1] is event
    stop()
    bus.publish(EngineState("failed", "m"))
    assert heard == events


def test_events_survive_json() -> None:
    issues = (ToolIssue("command", "required", "nothing", "string"),)
    repairs = (Repair("alias", "cmd", "cmd", "command"),)
    call = ToolCallRecord("r", "t", "Bash", "failed", issues, "{}", "{}", repairs=repairs)
    events: list[Event] = [
        RequestAdmitted("r", "mlx", "m", "why", 9, 3, "kv", "none", (("billing_line", 1),), "echo"),
        RequestAdmitted(
            "r",
            "mlx",
            "m",
            "why",
            9,
            3,
            "kv-disk",
            "tools_changed",
            miss=PrefixMiss(PrefixBreak.TOOLS_CHANGED, 4, -1, "before", "after", 5, 0.5),
            from_disk=2,
        ),
        ToolCallSeen(1.0, call),
        SearchMade(1.0, SearchRecord("r", "brave", "q", 3, 90, 1.5, True, None, ("u",)), True),
        McpCall(1.0, McpCallRecord("r", "t", "files", "read", 1, "{}", "ok", "text", 4, True)),
        RequestFinished(RequestRecord("r", 1.0)),
        SystemEvent(1.0, "info", "flush", "kv"),
        Vitals(1.0, 0, 0, 0.0, 0.0, None, None, 1, 2, 3, 0.5, 0.1, (TierStats("kv", True),), True),
        PullState("org/name", "failed", 5, 10, "pull it again"),
    ]
    assert [from_json(to_json(event)) for event in events] == events
    assert from_json({"type": "FromTheFuture"}) is None


def test_a_subscription_may_want_some_kinds_alone() -> None:
    bus = Bus()
    heard = bus.subscribe(kinds=(EngineState, SystemEvent))
    wanted: list[Event] = [EngineState("ready", "m"), SystemEvent(1.0, "info", "log", "x")]
    for event in (wanted[0], FirstToken("1", 1.0), wanted[1]):
        bus.publish(event)
    assert heard.drain() == wanted
