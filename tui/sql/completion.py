"""What may be written at the cursor of a query: the log's tables, their columns, SQL's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from anyclaude.records import SqlResult
from tui.sql.words import FUNCTIONS, KEYWORDS, Word, words

CandidateKind: TypeAlias = Literal["table", "view", "column", "function", "keyword"]

MOST = 40
"""Candidates of one offer."""

_REACH = 20_000
"""Characters around the cursor that are looked at."""

CATALOG_SQL = (
    "SELECT c.table_name, t.table_type, c.column_name, c.data_type "
    "FROM information_schema.columns c JOIN information_schema.tables t "
    "USING (table_schema, table_name) WHERE c.table_schema = 'main' "
    "ORDER BY t.table_type, c.table_name, c.ordinal_position"
)
CATALOG_ROWS = 5_000

_USUAL = ("requests", "tool_calls", "sessions")
_BEFORE_TABLES = frozenset({"FROM", "JOIN", "TABLE", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNPIVOT"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that may be written; ``note`` says what it is."""

    text: str
    kind: CandidateKind
    note: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """Candidates in place of the text between ``start`` and ``end``, the likeliest first."""

    start: int = 0
    end: int = 0
    candidates: tuple[Candidate, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.candidates)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables and views of the log by name, each with its columns and their types."""

    columns: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    views: frozenset[str] = frozenset()


def catalog_of(result: SqlResult) -> Catalog:
    """The rows of :data:`CATALOG_SQL`."""
    columns: dict[str, list[tuple[str, str]]] = {}
    views: set[str] = set()
    for table, kind, column, type_ in result.rows:
        columns.setdefault(str(table), []).append((str(column), str(type_)))
        if kind == "VIEW":
            views.add(str(table))
    return Catalog({name: tuple(found) for name, found in columns.items()}, frozenset(views))


def complete(text: str, cursor: int, catalog: Catalog, *, asked: bool = False) -> Offer:
    """What may go where the cursor is; unasked only once there is something to go by."""
    low = max(0, cursor - _REACH)
    text, cursor = text[low : cursor + _REACH], cursor - low
    found = list(words(text))
    if any(w.kind in ("string", "comment") and w.holds(cursor) for w in found):
        return Offer()
    before = [w for w in found if w.end < cursor or (w.end == cursor and not _may_grow(w))]
    here = next((w for w in found if w.start < cursor <= w.end and _may_grow(w)), None)
    start, end = (here.start, here.end) if here else (cursor, cursor)
    prefix = text[start:cursor]
    statement = _statement(found, cursor)
    candidates = _candidates(before, statement, catalog, bool(prefix) or asked)
    matching = _matching(candidates, prefix)
    if len(matching) == 1 and matching[0].text == text[start:end]:
        return Offer()
    return Offer(low + start, low + end, tuple(matching[:MOST]))


def _may_grow(word: Word) -> bool:
    return word.kind in ("name", "keyword", "function")


def _statement(found: Sequence[Word], cursor: int) -> list[Word]:
    """The words of the statement that the cursor is in."""
    first, last = 0, len(found)
    for index, word in enumerate(found):
        if word.text == ";" and word.kind == "sign":
            if word.end <= cursor:
                first = index + 1
            else:
                last = index
                break
    return list(found[first:last])


def _candidates(
    before: Sequence[Word], statement: Sequence[Word], catalog: Catalog, wanted: bool
) -> Iterable[Candidate]:
    names = _names(statement, catalog)
    last = before[-1] if before else None
    if last is not None and last.text == "." and len(before) > 1:
        owner = names.get(_bare(before[-2]).lower(), "")
        yield from _columns(catalog, [owner])
        return
    if last is not None and last.text.upper() in _BEFORE_TABLES:
        yield from _tables(catalog, statement)
        return
    if not wanted:
        return
    used = list(dict.fromkeys(names.values())) if _mentions(statement, catalog) else []
    yield from _columns(catalog, used)
    yield from _tables(catalog, statement)
    yield from (Candidate(word, "keyword") for word in KEYWORDS)
    yield from (Candidate(f"{name}(", "function", "function") for name in FUNCTIONS)
    yield from _columns(catalog, [name for name in catalog.columns if name not in used])


def _tables(catalog: Catalog, statement: Sequence[Word]) -> Iterable[Candidate]:
    usual = [name for name in _USUAL if name in catalog.columns]
    for name in dict.fromkeys((*usual, *catalog.columns)):
        kind: CandidateKind = "view" if name in catalog.views else "table"
        yield Candidate(name, kind, kind)
    for name in _defined(statement):
        yield Candidate(name, "table", "in this query")


def _columns(catalog: Catalog, tables: Iterable[str]) -> Iterable[Candidate]:
    seen: set[str] = set()
    for table in tables:
        for name, type_ in catalog.columns.get(table, ()):
            if name not in seen:
                seen.add(name)
                yield Candidate(_written(name), "column", f"{type_.lower()}  {table}")


def _mentions(statement: Sequence[Word], catalog: Catalog) -> bool:
    return any(_bare(word) in catalog.columns for word in statement)


def _names(statement: Sequence[Word], catalog: Catalog) -> dict[str, str]:
    """Tables of the statement by every name they go by in it, in lower case."""
    names: dict[str, str] = {}
    for index, word in enumerate(statement):
        table = _bare(word)
        if table not in catalog.columns:
            continue
        names[table.lower()] = table
        follows = [w for w in statement[index + 1 : index + 3] if w.text.upper() != "AS"]
        if follows and follows[0].kind in ("name", "quoted"):
            names[_bare(follows[0]).lower()] = table
    return names


def _defined(statement: Sequence[Word]) -> list[str]:
    """The names that WITH gives to queries."""
    if not any(word.text.upper() == "WITH" for word in statement):
        return []
    return [
        _bare(one)
        for one, two, three in zip(statement, statement[1:], statement[2:], strict=False)
        if one.kind in ("name", "quoted") and two.text.upper() == "AS" and three.text == "("
    ]


def _bare(word: Word) -> str:
    return word.text.strip('"') if word.kind == "quoted" else word.text


def _written(name: str) -> str:
    """A column's name as it must be written."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _matching(candidates: Iterable[Candidate], prefix: str) -> list[Candidate]:
    """Those that begin with ``prefix``, then those with a part that does, each once."""
    wanted = prefix.lower()
    begins: dict[str, Candidate] = {}
    within: dict[str, Candidate] = {}
    for candidate in candidates:
        name = candidate.text.lower()
        if name.startswith(wanted):
            begins.setdefault(name, _in_case(candidate, prefix))
        elif len(wanted) > 1 and f"_{wanted}" in f"_{name}":
            within.setdefault(name, candidate)
    return [*begins.values(), *(c for name, c in within.items() if name not in begins)]


def _in_case(candidate: Candidate, prefix: str) -> Candidate:
    """A keyword in small letters for who writes so."""
    if candidate.kind == "keyword" and prefix.islower():
        return Candidate(candidate.text.lower(), "keyword", candidate.note)
    return candidate
