"""A query as its words, for colours and to know what the cursor stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

WordKind: TypeAlias = Literal[
    "keyword", "function", "name", "quoted", "number", "string", "comment", "sign"
]

KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "WITH", "AS"),
    *("JOIN", "LEFT JOIN", "ON", "USING", "AND", "OR", "NOT", "IN", "IS NULL", "IS NOT NULL"),
    *("LIKE", "ILIKE", "BETWEEN", "DISTINCT", "DESC", "ASC", "NULLS LAST", "CASE"),
    *("WHEN", "THEN", "ELSE", "END", "CAST", "INTERVAL", "UNION ALL", "EXISTS", "QUALIFY"),
    *("OFFSET", "OVER", "PARTITION BY", "FILTER", "GROUP BY ALL", "ORDER BY ALL", "EXCLUDE"),
    *("DESCRIBE", "SHOW TABLES", "SUMMARIZE", "EXPLAIN", "PIVOT", "VALUES", "TRUE", "FALSE"),
    *("NULL", "TABLE", "INNER JOIN", "CROSS JOIN", "ASOF JOIN", "UNNEST", "TIMESTAMP", "DATE"),
)
"""What a reading statement is written with, the usual ones first."""

FUNCTIONS = (
    *("count", "sum", "avg", "min", "max", "median", "quantile_cont", "round", "coalesce"),
    *("nullif", "date_trunc", "date_diff", "epoch", "strftime", "now", "today", "lower", "upper"),
    *("length", "substr", "left", "replace", "regexp_replace", "regexp_matches", "contains"),
    *("starts_with", "string_agg", "list", "any_value", "arg_max", "arg_min", "mode", "histogram"),
    *("json_extract_string", "json_extract", "row_number", "lag", "lead", "range", "greatest"),
    *("least", "abs", "floor", "ceil", "format", "concat", "time_bucket", "approx_count_distinct"),
)

_KEYWORD_WORDS = frozenset(
    part for word in KEYWORDS for part in re.findall(r"[A-Z]+", word)
) | frozenset(
    (
        *("ALL", "ANY", "ARRAY", "BY", "CROSS", "FETCH", "FIRST", "FOLLOWING", "FULL", "GLOB"),
        *("INNER", "INTERSECT", "LAST", "LATERAL", "NATURAL", "NULLS", "OUTER", "PRECEDING"),
        *("RIGHT", "ROWS", "SEMI", "ANTI", "SOME", "UNBOUNDED", "UNION", "UNPIVOT", "WINDOW"),
        *("EXCEPT", "ESCAPE", "SIMILAR", "TO", "IS", "OF", "POSITIONAL", "MATERIALIZED"),
        *("RECURSIVE", "ANALYZE", "COLUMNS", "REPLACE"),
    )
)
_WORD = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<string> '(?:[^']|'')*(?:'|\Z) | \$\$.*?(?:\$\$|\Z) )
  | (?P<quoted> "(?:[^"]|"")*(?:"|\Z) )
  | (?P<number> (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
  | (?P<name> [^\W\d]\w* )
  | (?P<sign> [^\s\w] )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a query and the characters it takes."""

    kind: WordKind
    start: int
    end: int
    text: str

    def holds(self, at: int) -> bool:
        """Whether a cursor at ``at`` is in it: behind an open end, but not behind a closed one."""
        if self.start < at < self.end:
            return True
        return at == self.end and at > self.start and not self._closed

    @property
    def _closed(self) -> bool:
        match self.kind:
            case "string":
                mark = "$$" if self.text.startswith("$$") else "'"
                inside = self.text[len(mark) :]
                # An even number of quotes at the end are escaped ones and no end at all.
                tail = len(inside) - len(inside.rstrip("'"))
                return inside.endswith(mark) if mark == "$$" else tail % 2 == 1
            case "comment":
                return self.text.startswith("/*") and self.text.endswith("*/")
            case _:
                return True


def words(text: str) -> Iterator[Word]:
    """The words of ``text`` in order; what is between them is white space."""
    for found in _WORD.finditer(text):
        kind = cast(WordKind, found.lastgroup)
        word = found.group()
        if kind == "name":
            follows = text[found.end() : found.end() + 1]
            if word.upper() in _KEYWORD_WORDS:
                kind = "keyword"
            elif follows == "(":
                kind = "function"
        yield Word(kind, found.start(), found.end(), word)


def statement_at(text: str, cursor: int) -> str:
    """Of several statements the one that the cursor is in, or right behind."""
    ends = [word.end for word in words(text) if word.kind == "sign" and word.text == ";"]
    starts = [0, *ends]
    parts = [text[low:high] for low, high in zip(starts, [*ends, len(text)], strict=True)]
    at = sum(end <= cursor for end in ends)
    # Behind a closing semicolon the statement is still the one before it.
    while at > 0 and not _says_something(text[starts[at] : cursor]):
        at -= 1
        cursor = starts[at + 1]
    return parts[at].strip()


def _says_something(text: str) -> bool:
    return any(word.kind != "comment" and word.text != ";" for word in words(text))
