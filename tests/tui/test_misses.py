"""What the console says of a miss and of each system prompt, and when it asks."""

from __future__ import annotations

from dataclasses import replace

from anyclaude.errors import InvalidRequest
from anyclaude.events import RequestFinished
from anyclaude.records import RequestRecord, SqlResult
from anyclaude.types import PrefixBreak, PrefixMiss
from tests.tui.conftest import Opener
from tests.tui.fake_source import CHANGED, HEADS, MODEL, NOON, admitted, received, request
from tui.app import HEADS_S
from tui.columns import cache
from tui.filters import parse
from tui.lines import plain_text
from tui.misses import (
    HEADS_SQL,
    KEEP_HEADS,
    Miss,
    head_lines,
    heads_of,
    miss_lines,
    miss_of_record,
    read_lines,
)
from tui.state import Store


def says(miss: Miss) -> str:
    return plain_text(miss_lines(miss))


def test_nothing_is_said_of_a_prompt_that_only_went_on() -> None:
    assert miss_lines(Miss()) == miss_lines(Miss("none")) == []


def test_the_differing_place_stands_out_and_markup_stays_text() -> None:
    miss = Miss("history_changed", 9, 12, "def [b]one[/b]", "def [b]two[/b]", 30, 1500.0)
    cause, lost, then, now = miss_lines(miss)
    assert cause.plain == " prefix    history changed at token 9, in message 12"
    assert lost.plain == " lost      30 tokens to be read again, about 1.50s"
    assert then.spans[1:] == (("…def [b]", "muted"), ("one[/b]", "error"))
    assert now.spans[1:] == (("…def [b]", "muted"), ("two[/b]", "ok"))


def test_a_text_that_ends_at_the_place_says_so() -> None:
    miss = Miss("history_changed", 9, 2, "same", "same and more")
    assert [entry.plain for entry in miss_lines(miss)[1:]] == [
        " then      …same(its end)",
        " now       …same and more",
    ]


def test_line_ends_show_and_nothing_moves_the_cursor() -> None:
    miss = Miss("tools_changed", 9, -1, "a\n\x1b[2Jb", "a\nc")
    text = says(miss)
    assert "at token 9, in the head" in text
    assert "…a␊␛[2Jb" in text.splitlines()[1]


def test_what_is_gone_has_a_place_to_go_on_from_and_no_texts() -> None:
    evicted = says(Miss("evicted", 20, 3, tokens=700, ms=0.0))
    assert evicted == (
        " prefix    evicted, from token 20 on, in message 3\n lost      700 tokens to be read again"
    )
    assert (
        says(Miss("new_session", 20, -1)) == " prefix    new session, from token 20 on, in the head"
    )


def test_a_first_prompt_is_no_warning_unless_it_lost_something() -> None:
    assert miss_lines(Miss("new_session", 0, -1))[0].spans[1][1] == "muted"
    assert miss_lines(Miss("new_session", 0, -1, tokens=9))[0].spans[1][1] == "warn"
    assert miss_lines(Miss("flushed", 0, -1))[0].spans[1][1] == "warn"


def test_where_the_tokens_came_from() -> None:
    assert read_lines(0, 0, 100) == []
    assert read_lines(90, 0, 100)[0].plain == " cache     90 tokens from memory (90%)"
    assert read_lines(90, 90, 100)[0].plain.endswith("90 tokens from disk (90%)")
    assert read_lines(90, 30, 100)[0].plain.endswith(": 60 from memory, 30 from disk")


def test_the_list_tells_disk_from_memory_in_seven_cells() -> None:
    store = Store()
    for event in request("aaaa", NOON, prompt=1000, read=999, from_disk=600):
        store.apply(event, NOON)
    (row,) = store.rows.values()
    row.cache_tier = "kv-disk"
    assert cache(row) == ("ssd 99%", "ok")


def test_texts_that_the_log_must_not_keep_stay_until_the_console_is_closed() -> None:
    store = Store()
    for event in [*received("aaaa", NOON), *admitted("aaaa", 100, 40, miss=CHANGED, from_disk=9)]:
        store.apply(event, NOON)
    row = store.rows["req_0000000000000000aaaa"]
    assert (row.miss.cause, row.miss.tokens, row.from_disk) == ("history_changed", 10_600, 9)
    record = RequestRecord(row.id, NOON, status=200, prefix_break_cause="history_changed")
    store.apply(RequestFinished(replace(record, tokens_lost=7, tokens_from_disk=8)), NOON)
    assert (row.miss.before, row.miss.after) == (CHANGED.before, CHANGED.after)
    assert (row.miss.tokens, row.from_disk) == (7, 8)
    refused = RequestRecord("r", NOON, status=529)
    assert miss_of_record(refused, row.miss) is row.miss


def test_the_filter_finds_misses_by_cause_and_cost() -> None:
    store = Store()
    for event in [*request("aaaa", NOON, miss=CHANGED), *request("bbbb", NOON)]:
        store.apply(event, NOON)
    one, other = store.rows.values()
    for text in ("cache:history", "lost>10k"):
        assert parse(text).matches(one)
        assert not parse(text).matches(other)


# ---------------------------------------------------------------------------- system prompts


def test_each_system_prompt_has_a_row_of_the_panes_width() -> None:
    heads = heads_of(SqlResult((), HEADS))
    assert head_lines((), 37) == []
    for width in (30, 37, 49, 50, 80):
        lines = head_lines(heads, width)
        assert {len(entry.plain) for entry in lines} == {width}
        assert ("main 3f2a" in lines[1].plain) == (width > 30)
        assert "13.2k  97% 8.42s 0.38s" in lines[1].plain
        assert ("512k" in lines[1].plain) == (width >= 50)
        assert lines[3].plain.split()[4 if width > 30 else 3 :][:2] == ["0.61s", "-"]


def test_figures_the_log_does_not_have_yet() -> None:
    (head,) = heads_of(SqlResult((), ((None, None, "title", None, 1, 0, None, None, None),)))
    assert (head.tokens, head.first_ms, head.saved) == (0, None, 0)
    assert "-" in head_lines((head,), 40)[1].plain


async def test_the_pane_asks_the_log_when_something_ended_and_not_all_the_time(
    console: Opener,
) -> None:
    async with console() as stage:
        fake = stage.source.fake
        await stage.settle()
        assert fake.asked == []
        fake.heads = HEADS[:1]
        await stage.send(*request("aaaa", NOON))
        assert fake.asked == [HEADS_SQL]
        assert "main 3f2a" in stage.text()
        fake.heads = HEADS
        stage.clock.advance(HEADS_S - 1)
        await stage.send(*request("bbbb", NOON))
        assert len(fake.asked) == 1
        stage.clock.advance(1)
        await stage.settle()
        assert len(fake.asked) == 2
        assert "subagent b07d" in stage.text()
        stage.clock.advance(10 * HEADS_S)
        await stage.settle()
        assert len(fake.asked) == 2


async def test_a_server_that_cannot_say_changes_nothing(console: Opener) -> None:
    async with console() as stage:
        stage.source.fake.heads = HEADS[:1]
        await stage.send(*request("aaaa", NOON))
        stage.source.fake.failure = InvalidRequest("there is no such view")
        stage.clock.advance(HEADS_S)
        await stage.send(*request("bbbb", NOON))
        assert len(stage.source.fake.asked) == 2
        assert "main 3f2a" in stage.text()
        assert "no such view" not in stage.text()


def test_the_question_is_one_that_the_log_can_answer() -> None:
    from anyclaude.logs.database import connect
    from anyclaude.logs.migrations import migrate
    from anyclaude.logs.queries import run

    with connect(":memory:") as con:
        migrate(con)
        con.execute(
            "INSERT INTO requests (id, started_at, status, role, model, system_id, "
            "system_tokens, tokens_reused, ttft_ms) "
            "VALUES ('r', TIMESTAMP '2026-01-01', 200, 'main', ?, 'abcdef', 900, 899, 120.0)",
            [MODEL],
        )
        (head,) = heads_of(run(con, HEADS_SQL, KEEP_HEADS))
    assert (head.name, head.tokens, head.hits) == ("main abcd", 900, 1)
    assert (head.first_ms, head.cached_ms, head.saved) == (None, 120.0, 899)


def test_causes_without_a_change_are_known_by_name() -> None:
    for cause in PrefixBreak:
        text = says(Miss(cause.value, 5))
        gone = cause in ("cold", "new_session", "other_model", "evicted", "flushed")
        assert ("from token 5 on" in text) == gone
        assert PrefixMiss(cause).cause is cause
