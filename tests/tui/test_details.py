"""What the inspector fetches, how often, and how much of it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyclaude.errors import Unavailable
from anyclaude.events import Bus, Event, RequestFinished
from anyclaude.logs.log import RequestLog
from anyclaude.records import RequestDetail, RequestRecord, ToolCallRecord
from tests.tui.fake_source import NOON, FakeControl, admitted, received, request
from tests.tui.inspector_scene import conversation, details
from tui.details import NEIGHBOURS, Details, neighbours_sql
from tui.inspect import Found
from tui.request_row import RequestRow
from tui.state import Store


class Control(FakeControl):
    """Counts how often each detail is asked for; the log may be closed."""

    def __init__(self, known: dict[str, RequestDetail]) -> None:
        super().__init__(Bus(), details=known)
        self.asked_for: list[str] = []
        self.closed = False

    async def detail(self, request_id: str) -> RequestDetail:
        self.asked_for.append(request_id[-4:])
        return await super().detail(request_id)

    async def sql(self, query: str, limit: int = 10_000, longest: int | None = None):  # type: ignore[no-untyped-def]
        if self.closed:
            raise Unavailable("the log is closed")
        return await super().sql(query, limit)


def _id(suffix: str) -> str:
    return f"req_0000000000000000{suffix}"


def _store(*events: Event) -> Store:
    store = Store()
    for event in events or conversation():
        store.apply(event, NOON)
    return store


async def _find(control: Control, seeking: Details, row: RequestRow, tab: str) -> Found:
    wish = seeking.wish(row, tab)
    assert wish is not None
    return await seeking.find(control, row, wish)


# ------------------------------------------------------------------------------- how often


async def test_each_tab_is_asked_for_once_per_stage() -> None:
    store = _store(*received("aaaa", NOON))
    control, seeking = Control({}), Details(store)
    row = store.rows[_id("aaaa")]
    stages = [
        (),
        admitted("aaaa", 100, 50),
        [RequestFinished(RequestRecord(row.id, NOON, status=200))],
    ]
    for events in stages:
        for event in events:
            store.apply(event, NOON)
        wish = seeking.wish(row, "Overview")
        assert wish is not None and seeking.wish(row, "Overview") is None
        found = await seeking.find(control, row, wish)
        assert found.problem == f"no request {row.id}"
        assert seeking.wish(row, "Overview") is None
        assert await _find(control, seeking, row, "Raw") and seeking.wish(row, "Overview") is None
    assert seeking.wish(None, "Raw") is None


async def test_a_question_that_was_dropped_is_asked_again() -> None:
    store, seeking = _store(), Details(_store())
    row = store.rows[_id("c003")]
    assert seeking.wish(row, "Overview") is not None
    assert seeking.wish(row, "Raw") is not None
    assert seeking.wish(row, "Overview") is not None


async def test_details_of_ended_requests_are_kept_and_of_running_ones_not() -> None:
    store = _store()
    control, seeking = Control(details()), Details(store)
    for suffix in ("c003", "c004"):
        row = store.rows[_id(suffix)]
        for tab in ("Overview", "Prompt", "Raw"):
            found = await _find(control, seeking, row, tab)
            assert found.detail is not None and found.facts.messages
    assert control.asked_for == ["c003", "c002", "c004", "c004", "c004"]


async def test_what_is_kept_is_bounded() -> None:
    known = {_id(f"{n:04d}"): RequestDetail(_id(f"{n:04d}"), output="x" * 900) for n in range(9)}
    events = [event for n in range(9) for event in request(f"{n:04d}", NOON + n)]
    store = _store(*events)
    control, seeking = Control(known), Details(store, keep_chars=4_000)
    for suffix in ("0000", "0001", "0002", "0000", "0002", "0001"):
        await _find(control, seeking, store.rows[_id(suffix)], "Overview")
    # Two fit, and the one asked for last but two has made room.
    assert control.asked_for == ["0000", "0001", "0002", "0000", "0001"]


async def test_the_end_of_a_stream_is_waited_for_once() -> None:
    store = _store()
    row = store.rows[_id("c003")]
    for stream, asked in (
        ('{"type": "message_start"}\n{"type": "ping"}\n', 2),
        ('{"type": "ping"}\n{"type": "message_stop"}\n', 1),
        ('{"type": "error"}\n', 1),
        ("", 1),
    ):
        control = Control({row.id: RequestDetail(row.id, stream=stream)})
        found = await _find(control, Details(store, patience=0.0), row, "Raw")
        assert found.raw and control.asked_for == ["c003"] * asked


# ------------------------------------------------------------------------------- neighbours


async def test_the_earlier_prompt_is_the_conversations_last() -> None:
    store = _store()
    control = Control(details())
    found = await _find(control, Details(store), store.rows[_id("c003")], "Prompt")
    assert found.prompt is not None and found.prompt.earlier == _id("c002")
    assert control.sought == []


async def test_requests_of_other_sessions_and_roles_are_no_neighbours() -> None:
    title = request("tttt", NOON - 41, role="title")
    other = [
        replace(event, record=replace(event.record, session_id="another"))
        if isinstance(event, RequestFinished)
        else event
        for event in request("oooo", NOON - 40)
    ]
    events = conversation()
    at = next(i for i, e in enumerate(events) if getattr(e, "id", "") == _id("c003"))
    store = _store(*events[:at], *title, *other, *events[at:])
    known = details()
    known |= {_id(s): replace(known[_id("c002")], id=_id(s)) for s in ("tttt", "oooo")}
    found = await _find(Control(known), Details(store), store.rows[_id("c003")], "Prompt")
    assert found.prompt is not None and found.prompt.earlier == _id("c002")


async def test_another_agents_prompt_is_passed_over() -> None:
    known = details()
    for suffix, agent in (("c001", "one"), ("c002", "two"), ("c003", "one")):
        headers = (("x-claude-code-agent-id", agent),)
        known[_id(suffix)] = replace(known[_id(suffix)], headers=headers)
    store = _store()
    found = await _find(Control(known), Details(store), store.rows[_id("c003")], "Prompt")
    assert found.prompt is not None and found.prompt.earlier == _id("c001")


async def test_a_summary_goes_on_from_the_main_conversation() -> None:
    store = _store(*conversation(), *request("eeee", NOON, role="compact"))
    known = details()
    known[_id("eeee")] = replace(known[_id("c004")], id=_id("eeee"))
    found = await _find(Control(known), Details(store), store.rows[_id("eeee")], "Prompt")
    assert found.prompt is not None and found.prompt.earlier == _id("c004")


async def test_what_the_rows_dont_have_is_looked_for_in_the_log() -> None:
    store = _store()
    control = Control(details())
    control.neighbours = ((_id("gone"),), (_id("old0"),))
    control.details[_id("old0")] = replace(details()[_id("c001")], id=_id("old0"))
    found = await _find(control, Details(store), store.rows[_id("c001")], "Prompt")
    assert found.prompt is not None and found.prompt.earlier == _id("old0")
    assert control.asked_for == ["c001", "gone", "old0"]
    (query,) = control.sought
    assert "c0ffee000001" in query and "role IN ('main')" in query


async def test_without_a_log_and_a_neighbour_the_prompt_stands_alone() -> None:
    control = Control(details())
    control.closed = True
    store = _store()
    found = await _find(control, Details(store), store.rows[_id("c001")], "Prompt")
    assert found.prompt is not None and found.prompt.changes is None
    assert "No earlier prompt of this session" in found.prompt.note


async def test_a_request_without_session_has_no_neighbours() -> None:
    store = _store()
    row = store.rows[_id("c003")]
    row.session_id = ""
    control = Control(details())
    found = await _find(control, Details(store), row, "Prompt")
    assert found.prompt is not None and not found.prompt.earlier and control.sought == []


async def test_the_answers_to_calls_are_in_the_request_that_followed() -> None:
    store = _store()
    control, seeking = Control(details()), Details(store)
    row = store.rows[_id("c003")]
    found = await _find(control, seeking, row, "Tools")
    assert found.said is not None and set(found.said) == {"toolu_1", "toolu_2"}
    assert found.said["toolu_2"].text == "2 passed in 0.04s"


async def test_answers_that_come_later_are_asked_for_then() -> None:
    events = conversation()
    at = next(i for i, e in enumerate(events) if getattr(e, "id", "") == _id("c004"))
    store = _store(*events[:at])
    control, seeking = Control(details()), Details(store)
    row = store.rows[_id("c003")]
    assert (await _find(control, seeking, row, "Tools")).said == {}
    assert seeking.wish(row, "Tools") is None
    for event in events[at:]:
        store.apply(event, NOON)
    assert (await _find(control, seeking, row, "Tools")).said != {}


async def test_no_calls_no_questions() -> None:
    store = _store()
    control = Control(details())
    found = await _find(control, Details(store), store.rows[_id("c002")], "Tools")
    assert found.said == {} and control.asked_for == ["c002"] and control.sought == []


# ----------------------------------------------------------------------------- the real log


@pytest.fixture
def rows() -> list[RequestRow]:
    events = [event for n in range(12) for event in request(f"{n:04d}", NOON + n / 4)]
    events += request("titl", NOON + 5, role="title")
    events += request("fail", NOON + 1.1, prompt=0, read=0, status=529, out=0, stop=None)
    return list(_store(*events).rows.values())


async def test_the_log_understands_the_question(tmp_path: Path, rows: list[RequestRow]) -> None:
    log = await RequestLog.open(
        tmp_path / "log.duckdb", retention_days=0, bodies=False, report=lambda event: None
    )
    try:
        for row in rows:
            assert row.record is not None
            call = ToolCallRecord(row.id, "", "Bash", "valid", (), "", "")
            await log.record(row.record, (call,))
        for after, expected in (
            (False, ["0003", "0002", "0001", "0000"]),
            (True, [f"{n:04d}" for n in range(5, 12)]),
        ):
            found = await log.query(neighbours_sql(rows[4], after=after), NEIGHBOURS)
            assert [str(entry[0])[-4:] for entry in found.rows] == expected[:NEIGHBOURS]
        rows[4].session_id = "it's"
        assert (await log.query(neighbours_sql(rows[4], after=True), 9)).rows == ()
    finally:
        await log.close()
