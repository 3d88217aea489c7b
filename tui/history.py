"""The log's requests and sessions as far as they were loaded, a page at a time, newest first.

Days are headings between the rows. The cursor stands on a row; what is drawn are lines.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar, cast, get_args

from anyclaude.records import RequestRecord, SqlResult, ToolCallRecord, Verdict
from tui.columns import Moment, cells, columns, heading
from tui.filters import Filter
from tui.history_sql import (
    PAGE,
    conditions,
    request_count_sql,
    requests_sql,
    session_count_sql,
    sessions_sql,
)
from tui.lines import Line
from tui.request_row import RequestRow
from tui.sessions import SessionRow, session_of
from tui.state import Store

KEEP = 20_000
"""Rows that are loaded at most; a filter leads further back."""

AHEAD = 60
"""Lines before the end at which the next page is asked for."""

_RECORD = tuple(field.name for field in dataclasses.fields(RequestRecord))


View: TypeAlias = Literal["Requests", "Sessions"]
VIEWS: tuple[View, ...] = get_args(View)


class _Dated(Protocol):
    @property
    def at(self) -> float: ...


Row = TypeVar("Row", bound=_Dated)


class Pages(Generic[Row]):
    """Rows loaded so far, and where one is among them."""

    noun = ""

    def __init__(self) -> None:
        self.where = "true"
        self.rows: list[Row] = []
        self.total: int | None = None
        self.complete = False
        self.cursor = 0
        self.loads = 0
        self._lines: list[int | str] = []
        self._places: list[int] = []

    def restart(self, where: str) -> None:
        """Forgets the rows; the next page is the first under this condition."""
        self.where = where
        self.rows, self._lines, self._places = [], [], []
        self.total, self.complete, self.cursor = None, False, 0
        self.loads += 1

    @property
    def height(self) -> int:
        """Lines there are: rows, the days above them, and what stands at the end."""
        return len(self._lines) + 1 if self.rows else 0

    def at(self, index: int) -> Row | str:
        """What is on a line: a row, a day, or the words at the end."""
        if index >= len(self._lines):
            return self.ending
        found = self._lines[index]
        return found if isinstance(found, str) else self.rows[found]

    def row_at(self, index: int) -> int | None:
        """The row on a line, or ``None``."""
        found = self._lines[index] if 0 <= index < len(self._lines) else ""
        return found if isinstance(found, int) else None

    @property
    def line(self) -> int:
        """The line of the cursor."""
        return self._places[self.cursor] if self.rows else 0

    @property
    def selected(self) -> Row | None:
        return self.rows[self.cursor] if self.rows else None

    @property
    def ending(self) -> str:
        """The words below the last row."""
        if not self.complete:
            return "…"
        if len(self.rows) >= KEEP:
            return f"{KEEP:,} loaded; a filter leads further back"
        return "the log begins here" if self.where == "true" else "that is all"

    def wants_more(self, last_line: int) -> bool:
        """Whether someone who sees up to this line may soon want the next page."""
        return not self.complete and last_line >= len(self._lines) - AHEAD

    def move(self, rows: int) -> None:
        self.cursor = max(0, min(len(self.rows) - 1, self.cursor + rows))

    def add(self, rows: Sequence[Row]) -> None:
        """Takes in a page; a short one was the last."""
        for row in rows:
            day = self._day(row)
            if not self.rows or day != self._day(self.rows[-1]):
                self._lines.append(day)
            self._places.append(len(self._lines))
            self._lines.append(len(self.rows))
            self.rows.append(row)
        self.complete = len(rows) < PAGE or len(self.rows) >= KEEP
        if self.complete and len(self.rows) < KEEP:
            self.total = len(self.rows)

    def _day(self, row: Row) -> str:
        return day_of(row.at)

    @property
    def summary(self) -> str:
        """How many there are: ``15 of 10,214 requests``."""
        total, count = self.total, len(self.rows)
        if not count and not self.complete:
            return ""
        if count == total == 1:
            return f"1 {self.noun.removesuffix('s')}"
        if total is None or total == count:
            return f"{count:,}{'' if self.complete else '+'} {self.noun}"
        return f"{count:,} of {total:,} {self.noun}"


def day_of(at: float) -> str:
    """``Thursday 9 October 2025``, of a Unix instant in local time."""
    then = time.localtime(at)
    return f"{time.strftime('%A', then)} {then.tm_mday} {time.strftime('%B %Y', then)}"


# --------------------------------------------------------------------------------- requests


class RequestPages(Pages[RequestRow]):
    """Requests; those that the console has seen itself are the rows it has already."""

    noun = "requests"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    @property
    def page_sql(self) -> str:
        last = self.rows[-1] if self.rows else None
        after = None if last is None else (round(last.at * 1_000_000), last.id)
        return requests_sql(self.where, after)

    @property
    def count_sql(self) -> str:
        return request_count_sql(self.where)

    def reader(self, result: SqlResult) -> Callable[[], None]:
        """Reads the rows of :attr:`page_sql`, work for a thread; what it returns adds them."""
        return partial(self._take, requests_of(result))

    def _take(self, rows: Sequence[RequestRow]) -> None:
        for at, row in enumerate(rows, len(self.rows)):
            # Older than anything the console has seen itself.
            row.seq = -1 - at
        self.add([self._store.rows.get(row.id, row) for row in rows])


def requests_of(result: SqlResult) -> list[RequestRow]:
    """The rows of :func:`tui.history_sql.requests_sql` as the list shows them."""
    records: list[RequestRecord] = []
    calls: dict[str, list[ToolCallRecord]] = {}
    for values in result.rows:
        fields = dict(zip(_RECORD, values, strict=False))
        fields["started_at"] = _number(fields["started_at"]) / 1_000_000
        record = RequestRecord(**fields)  # type: ignore[arg-type]
        records.append(record)
        calls[record.id] = [_call(record.id, call) for call in _calls(values[len(_RECORD)])]
    store = Store()
    store.seed(records)
    rows = [store.rows[record.id] for record in records]
    for row in rows:
        row.calls = calls[row.id]
    return rows


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _call(request_id: str, call: Mapping[str, object]) -> ToolCallRecord:
    """As much of a call as the list shows; the rest comes with the request's detail."""
    name, verdict = str(call["name"]), cast(Verdict, call["verdict"])
    return ToolCallRecord(request_id, "", name, verdict, (), "", "")


def _calls(value: object) -> list[Mapping[str, object]]:
    found = json.loads(value) if isinstance(value, str) else value
    return found if isinstance(found, list) else []


def request_heading(width: int) -> str:
    """The line above the requests."""
    return heading(columns(width), width)


def request_line(row: RequestRow, width: int) -> Line:
    """A request as the live list shows it."""
    return Line(tuple(cells(row, columns(width), Moment(row.at), width)))


# --------------------------------------------------------------------------------- sessions


class SessionPages(Pages[SessionRow]):
    """Sessions, by their last request."""

    noun = "sessions"

    @property
    def page_sql(self) -> str:
        last = self.rows[-1] if self.rows else None
        after = None if last is None else (round(last.at * 1_000_000), last.id)
        return sessions_sql(self.where, after)

    @property
    def count_sql(self) -> str:
        return session_count_sql(self.where)

    def reader(self, result: SqlResult) -> Callable[[], None]:
        """Reads the rows of :attr:`page_sql`; what it returns adds them."""
        return partial(self.add, [session_of(row) for row in result.rows])


# ------------------------------------------------------------------------------ the history


class History:
    """Both views, and the filter and the session that narrow them."""

    def __init__(self, store: Store) -> None:
        self.requests = RequestPages(store)
        self.sessions = SessionPages()
        self.view: View = "Requests"
        self.filter = Filter()
        self.session: str | None = None
        self.left_out = ""

    @property
    def pages(self) -> RequestPages | SessionPages:
        """Those on show."""
        return self.requests if self.view == "Requests" else self.sessions

    @property
    def rows(self) -> Sequence[RequestRow] | Sequence[SessionRow]:
        return self.pages.rows

    @property
    def total(self) -> int:
        """Rows under the filter, as far as that is known."""
        return len(self.rows) if self.pages.total is None else self.pages.total

    def set_filter(self, new: Filter) -> None:
        """Another filter, for requests and for the sessions they belong to."""
        if new.parts != self.filter.parts:
            self.filter = new
            self.restart()
        self.filter = new

    def enter(self, session: str | None) -> None:
        """One session's requests, or with ``None`` everyone's again."""
        self.session = session
        self.requests.restart(conditions(self.filter.parts, session)[0])

    def restart(self) -> None:
        """Both views from their first page on, as the log is now."""
        where, self.left_out = conditions(self.filter.parts, self.session)
        self.requests.restart(where)
        self.sessions.restart(conditions(self.filter.parts)[0])
