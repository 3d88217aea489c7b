"""The store: what events make of it."""

from __future__ import annotations

from anyclaude.events import FirstToken, OutputDelta, PrefillProgress, SystemEvent
from tests.tui.fake_source import MISSING, NOON, admitted, call, received, request, session, vitals
from tui.columns import MARKS, Moment, glyph, status
from tui.request_row import Phase
from tui.state import KEEP_OUTPUTS, Store

ID = "req_0000000000000000aaaa"


def _store(*events: object, now: float = NOON) -> Store:
    store = Store()
    for event in events:
        store.apply(event, now)  # type: ignore[arg-type]
    return store


def test_phases_of_a_request() -> None:
    store = _store(*received("aaaa", NOON))
    row = store.rows[ID]
    assert (row.phase, store.running, store.waiting) == (Phase.QUEUED, 0, 1)
    for event in (*admitted("aaaa", 1000, 900), PrefillProgress(ID, 950, 1000)):
        store.apply(event, NOON)
    assert (row.phase, row.prefill_done) == (Phase.PREFILL, 950)
    assert status(row, Moment(NOON)) == ("prefill 95%", "run")
    store.apply(FirstToken(ID, 400.0), NOON + 1)
    store.apply(OutputDelta(ID, "text", "Hi", 41), NOON + 3)
    assert row.phase is Phase.DECODING
    assert row.tokens_per_second(NOON + 3) == 20.0
    assert (store.running, store.waiting) == (1, 0)
    store.apply(request("aaaa", NOON)[-1], NOON + 4)
    assert (row.phase, store.active) == (Phase.DONE, ())
    assert row.tokens_per_second(NOON + 99) == 42.1


def test_queue_positions_follow_arrival() -> None:
    store = _store(*received("aaaa", NOON), *received("bbbb", NOON))
    first, second = store.rows.values()
    assert [store.queue_position(r) for r in (first, second)] == [1, 2]


def test_glyphs_tell_states_apart() -> None:
    store = _store(*session(), *request("aaaa", NOON, status=499, stop=None))
    marks = {row.id[-4:]: glyph(row)[0] for row in store.rows.values()}
    assert marks == {
        "a3f1": " ",
        "a3f2": " ",
        "a3f3": "!",
        "a3f4": " ",
        "a3f5": "!",
        "a3f6": "x",
        "a3f7": "x",
        "a3f8": ">",
        "a3f9": ".",
        "aaaa": "-",
    }
    assert {mark for mark in marks.values() if mark.strip()} <= {mark for mark, _ in MARKS}


def test_late_ticks_of_an_ended_request_change_nothing() -> None:
    store = _store(*request("aaaa", NOON))
    row = store.rows[ID]
    version = row.version
    store.apply(OutputDelta(ID, "text", "late", 9000), NOON)
    assert (row.version, row.output_tokens, row.phase) == (version, 612, Phase.DONE)


def test_a_record_without_its_beginning_makes_a_row() -> None:
    store = _store(request("aaaa", NOON)[-1])
    assert store.rows[ID].prompt_tokens == 18_400


def test_output_pieces_and_their_calls() -> None:
    store = _store(
        *received("aaaa", NOON),
        OutputDelta(ID, "text", "Hel", 1),
        OutputDelta(ID, "text", "lo", 2),
        OutputDelta(ID, "tool_use", '{"a"', 3),
        call("aaaa", NOON, "Read", "valid", ()),
        OutputDelta(ID, "tool_use", '{"b"', 4),
        call("aaaa", NOON, "Edit", "failed", (MISSING,)),
    )
    row = store.rows[ID]
    assert [(p.kind, p.text) for p in row.pieces] == [
        ("text", "Hello"),
        ("tool_use", '{"a"'),
        ("tool_use", '{"b"'),
    ]
    assert [p.call.name for p in row.pieces if p.call] == ["Read", "Edit"]
    assert row.bad_calls == 1
    assert (store.tool_calls_total, store.tool_calls_bad, len(store.tool_errors)) == (2, 1, 1)


def test_rows_are_bounded_and_the_oldest_goes_first() -> None:
    store = Store(keep_rows=3)
    for index in range(5):
        for event in received(f"{index:04d}", NOON):
            store.apply(event, NOON)
    assert [row.id[-4:] for row in store.rows.values()] == ["0002", "0003", "0004"]
    assert (store.requests_total, store.waiting) == (5, 3)
    assert store.take_changes().removed == 2


def test_old_answers_are_let_go() -> None:
    store = Store()
    for index in range(KEEP_OUTPUTS + 1):
        suffix = f"{index:04d}"
        row_id = f"req_0000000000000000{suffix}"
        events = [*received(suffix, NOON), OutputDelta(row_id, "text", "x", 1)]
        for event in (*events, request(suffix, NOON)[-1]):
            store.apply(event, NOON)
    rows = list(store.rows.values())
    assert rows[0].pieces == []
    assert rows[1].pieces[0].text == "x"


def test_a_still_row_is_untouched_by_later_events() -> None:
    store = _store(*received("aaaa", NOON), OutputDelta(ID, "text", "a", 1))
    still = store.rows[ID].still()
    store.apply(OutputDelta(ID, "text", "b", 2), NOON)
    assert (still.pieces[0].text, still.output_tokens) == ("a", 1)
    assert store.rows[ID].pieces[0].text == "ab"


def test_events_are_noted_at_their_request() -> None:
    store = _store(*received("aaaa", NOON), SystemEvent(NOON, "warning", "input", "hm", ID))
    assert store.rows[ID].notes[0].message == "hm"


def test_seed_orders_by_start_and_skips_what_is_known() -> None:
    old, new = request("aaaa", NOON - 60)[-1], request("bbbb", NOON - 30)[-1]
    store = _store(new)
    store.seed([new.record, old.record])  # type: ignore[union-attr]
    assert len(store.rows) == 2


def test_vitals_make_a_history() -> None:
    store = _store(vitals(decode_tps=1.0), vitals(decode_tps=2.0))
    assert list(store.decode_history) == [1.0, 2.0]
