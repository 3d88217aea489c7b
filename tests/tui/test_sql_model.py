"""The SQL room's view model: words, suggestions, earlier queries, questions, cells, file names."""

from __future__ import annotations

import stat
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.logs.database import connect
from anyclaude.logs.migrations import migrate
from anyclaude.logs.queries import run
from anyclaude.logs.questions import questions
from anyclaude.logs.views import VIEWS
from anyclaude.records import SqlResult
from tui.lines import plain_text
from tui.sql import history
from tui.sql.completion import CATALOG_SQL, Catalog, catalog_of, complete
from tui.sql.grid import cell, grid_of, position, row_json, row_lines, summary
from tui.sql.history import Recall
from tui.sql.target import format_of, suggestion, with_format
from tui.sql.words import statement_at, words

CATALOG = Catalog(
    {
        "requests": (("id", "VARCHAR"), ("started_at", "TIMESTAMP"), ("ttft_ms", "DOUBLE")),
        "tool_calls": (("request_id", "VARCHAR"), ("name", "VARCHAR"), ("odd name", "VARCHAR")),
        "latency": (("model", "VARCHAR"), ("ttft_p50_ms", "DOUBLE")),
    },
    frozenset({"latency"}),
)


# ------------------------------------------------------------------------------------- words


def _kinds(text: str) -> list[tuple[str, str]]:
    return [(word.kind, word.text) for word in words(text)]


def test_words_have_kinds() -> None:
    assert _kinds("select count(*), 'it''s' -- end\nFROM \"a b\" where x>1.5e3") == [
        ("keyword", "select"), ("function", "count"), ("sign", "("), ("sign", "*"),
        ("sign", ")"), ("sign", ","), ("string", "'it''s'"), ("comment", "-- end"),
        ("keyword", "FROM"), ("quoted", '"a b"'), ("keyword", "where"), ("name", "x"),
        ("sign", ">"), ("number", "1.5e3"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["'open", "/* open", "$$ open", '"open', "-- open"])
def test_what_is_left_open_goes_to_the_end(text: str) -> None:
    assert _kinds(f"a {text}") == [("name", "a"), (next(words(text)).kind, text)]


@given(st.text(alphabet="ab'\"-/*$;. \n1(é", max_size=40))
def test_words_cover_every_character_that_is_no_space(text: str) -> None:
    rest = list(text)
    for word in words(text):
        assert text[word.start : word.end] == word.text
        rest[word.start : word.end] = " " * (word.end - word.start)
    assert "".join(rest).isspace() or not rest


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("|", ""),
        ("SELECT 1|", "SELECT 1"),
        ("SELECT 1;| SELECT 2", "SELECT 1;"),
        ("SELECT 1; |SELECT 2", "SELECT 1;"),
        ("SELECT 1; S|ELECT 2", "SELECT 2"),
        ("SELECT 1;\n-- more\n|", "SELECT 1;"),
        ("SELECT ';' |; SELECT 2", "SELECT ';' ;"),
        ("SELECT 1; SELECT 2;;|", "SELECT 2;"),
    ],
)
def test_the_statement_at_the_cursor(text: str, statement: str) -> None:
    assert statement_at(text.replace("|", ""), text.index("|")) == statement


# -------------------------------------------------------------------------------- completion


def _offered(text: str, *, asked: bool = False) -> list[str]:
    offer = complete(text.replace("|", ""), text.index("|"), CATALOG, asked=asked)
    return [candidate.text for candidate in offer.candidates]


def test_after_from_come_tables_and_views() -> None:
    assert _offered("SELECT * FROM |") == ["requests", "tool_calls", "latency"]
    assert _offered("SELECT * FROM re|") == ["requests"]
    assert _offered("select * from a join to|") == ["tool_calls"]
    assert _offered("WITH mine AS (SELECT 1) SELECT * FROM mi|") == ["mine"]


def test_columns_of_the_tables_at_hand_come_first() -> None:
    assert _offered("SELECT tt| FROM latency")[0] == "ttft_p50_ms"
    assert _offered("SELECT | FROM tool_calls", asked=True)[:3] == [
        "request_id", "name", '"odd name"'
    ]  # fmt: skip
    assert "ttft_ms" in _offered("SELECT tt| FROM latency")


def test_a_dot_asks_for_the_columns_of_one_table() -> None:
    assert _offered("SELECT r.| FROM requests r") == ["id", "started_at", "ttft_ms"]
    assert _offered("SELECT t.name| FROM tool_calls AS t") == []  # it is all there already
    assert _offered("SELECT t.n| FROM tool_calls AS t") == ["name"]
    assert _offered("SELECT latency.| FROM latency") == ["model", "ttft_p50_ms"]
    assert _offered("SELECT x.| FROM latency") == []


def test_parts_of_names_are_found_too() -> None:
    assert "started_at" in _offered("SELECT at| FROM requests")
    assert "ttft_ms" in _offered("SELECT ms| FROM requests")


def test_keywords_follow_the_hand_that_writes() -> None:
    assert _offered("sel|")[0] == "select"
    assert _offered("SEL|")[0] == "SELECT"
    assert "count(" in _offered("select cou|")


@pytest.mark.parametrize(
    "text", ["|", "SELECT 'fr|", "SELECT 'from |", "-- fr|", "/* fr|", "SELECT 1 |", "SELECT |"]
)
def test_nothing_is_offered_unasked_where_there_is_nothing_to_go_by(text: str) -> None:
    assert _offered(text) == []


def test_behind_a_closed_string_things_are_offered_again() -> None:
    assert _offered("SELECT 'it''s' fr|")[0] == "from"
    assert _offered("SELECT 'it''|") == []


def test_what_is_offered_takes_the_place_of_the_whole_word() -> None:
    text = "SELECT sta_at FROM requests"
    offer = complete(text, text.index("_"), CATALOG)
    assert (offer.start, offer.end) == (7, 13)
    assert offer.candidates[0].text == "started_at"


@given(st.text(max_size=60), st.integers(0, 60))
def test_any_text_can_be_completed(text: str, cursor: int) -> None:
    offer = complete(text, min(cursor, len(text)), CATALOG, asked=True)
    assert 0 <= offer.start <= offer.end <= len(text)


def test_the_catalog_comes_out_of_the_log_itself() -> None:
    with connect(":memory:") as con:
        migrate(con)
        catalog = catalog_of(run(con, CATALOG_SQL, 5_000))
    assert ("ttft_ms", "DOUBLE") in catalog.columns["requests"]
    assert {view.name for view in VIEWS} == catalog.views
    assert next(iter(catalog.columns)) not in catalog.views


# ----------------------------------------------------------------------------------- history


def test_queries_are_remembered_privately(tmp_path: Path) -> None:
    path = tmp_path / "data" / history.FILE_NAME
    assert history.load(path) == []
    history.remember(path, "SELECT 1\nFROM 'é' -- \u2028x")
    history.remember(path, "SELECT 2")
    assert history.remember(path, " SELECT 1\nFROM 'é' -- \u2028x ")[0] == "SELECT 2"
    assert history.load(path) == ["SELECT 2", "SELECT 1\nFROM 'é' -- \u2028x"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_history_is_bounded(tmp_path: Path) -> None:
    queries: list[str] = []
    for number in range(history.KEEP + 5):
        queries = history.add(queries, f"SELECT {number}")
    assert (len(queries), queries[0]) == (history.KEEP, "SELECT 5")
    assert history.add([], "x" * (history.LONGEST + 1)) == []
    assert history.add(["a"], "  ") == ["a"]


def test_a_broken_history_costs_only_its_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_bytes(b'"SELECT 1"\n{"a": 1}\nnot json\n\xff\n""\n"SELECT 2"\n')
    assert history.load(path) == ["SELECT 1", "SELECT 2"]


def test_back_and_forth_through_earlier_queries() -> None:
    past = Recall(["a", "b", "c"])
    assert [past.older("draft"), past.older("c"), past.older("b")] == ["c", "b", "a"]
    assert past.older("a") is None
    assert [past.newer(), past.newer(), past.newer()] == ["b", "c", "draft"]
    assert past.newer() is None
    assert past.older("c") == "b"  # what is on show already is passed over


# --------------------------------------------------------------------------------- questions


def test_every_view_is_a_question_and_every_question_can_be_asked() -> None:
    found = questions()
    assert [q.name for q in found[: len(VIEWS)]] == [view.name for view in VIEWS]
    assert len({q.title for q in found}) == len(found)
    with connect(":memory:") as con:
        migrate(con)
        for question in found:
            assert question.title.endswith("?") and question.about.endswith(".")
            assert run(con, question.sql, 5).columns


# -------------------------------------------------------------------------------------- grid


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (12345, "12345"),
        (0.1 + 0.2, "0.3"),
        (41.8333333, "41.833"),
        (0.000123456, "0.000123456"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (3.0, "3"),
        (datetime(2026, 1, 2, 3, 4, 5, 600_000), "2026-01-02 03:04:05"),
        ("2026-01-02T03:04:05.600000", "2026-01-02 03:04:05"),
        ("a\n\tb\x1b[31m", "a b␛[31m"),
        ("[bold]x[/]", "[bold]x[/]"),
        ([1, None], "[1, null]"),
        ({"a": "é"}, '{"a": "é"}'),
        (b"\x01\xff", "01ff"),
        ("", ""),
    ],
)
def test_values_as_cells(value: object, text: str) -> None:
    assert cell(value).text == text


def test_long_and_wide_texts_are_cut_to_their_cells() -> None:
    found = grid_of(SqlResult(("wide", "long"), (("建" * 10, "x" * 5_000),)))
    assert found.cells[0][0].width == 20
    assert found.columns[1].width == 48
    assert len(found.cells[0][1].text) == 201


def test_columns_lie_beside_each_other_and_figures_to_the_right() -> None:
    found = grid_of(SqlResult(("n", "name", "none"), ((1, "a", None), (None, "bcd", None))))
    assert [(c.start, c.width, c.right) for c in found.columns] == [
        (1, 4, True), (7, 4, False), (13, 4, False)
    ]  # fmt: skip
    assert found.width == 17
    assert [position(found.columns, x) for x in (0, 6, 7, 99)] == [0, 0, 1, 2]


def test_how_many_rows_is_said_as_it_is() -> None:
    rows = tuple((n,) for n in range(1_500))
    assert summary(SqlResult(("n",), rows[:1])) == "1 row"
    assert summary(SqlResult(("n",), rows)) == "1,500 rows"
    assert summary(SqlResult(("n",), rows[:500], truncated=True)) == "500 of more than 500 rows"


def test_a_row_in_full() -> None:
    result = SqlResult(
        ("id", "body", "text", "none", "at"),
        (("a", '{"x": [1]}', "one\ntwo\x1b", None, "2026-01-02T03:04:05.6"),),
    )
    text = plain_text(row_lines(grid_of(result), 0))
    assert '   {\n     "x": [\n       1' in text
    assert "   one\n   two␛" in text
    assert "none  null" in text and "at    2026-01-02 03:04:05.6" in text
    assert row_json(result, 0).startswith('{"id": "a", "body": "{')


@given(st.text() | st.binary() | st.floats() | st.lists(st.text(max_size=5), max_size=3))
def test_no_value_can_act_on_the_terminal(value: object) -> None:
    text = cell(value).text
    assert "\n" not in text
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)


# ------------------------------------------------------------------------------------ target


def test_a_file_name_says_what_and_when_and_is_free(tmp_path: Path) -> None:
    first = suggestion("select * from Latency where 1", 1_760_011_740.0, tmp_path)
    assert first == tmp_path / "anyclaude-latency-20251009-120900.csv"
    first.touch()
    again = suggestion("select * from Latency", 1_760_011_740.0, tmp_path)
    assert again == tmp_path / "anyclaude-latency-20251009-120900-2.csv"
    assert suggestion("SELECT 1", 0.0, tmp_path).name == "anyclaude-query-19700101-000000.csv"


def test_the_ending_is_the_format() -> None:
    assert [format_of(p) for p in ("a.csv", "a.JSON", "a.parquet ", "a.txt", "csv", "")] == [
        "csv", "json", "parquet", None, None, None
    ]  # fmt: skip
    assert with_format("~/a.b/out.csv", "parquet") == "~/a.b/out.parquet"
    assert with_format("out", "json") == "out.json"
    assert with_format("out.v2", "json") == "out.v2.json"
