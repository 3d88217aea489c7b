"""The filter language of the request list.

Words match anywhere in a request's fields. ``status: model: tool: cache: role: id: search:``
look at one field, ``ttft>1 in>20k out<100 lost>500 tps<20 time>5`` compare a figure, a leading
``!`` inverts a term, quotes keep a phrase together, and all terms must hold. Text that is half
typed is never an error: a term that can't be used is left out and named in ``problem``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from tui.request_row import RequestRow

Predicate: TypeAlias = Callable[[RequestRow], bool]

_TERM = re.compile(r'!?(?:[a-z]+:)?"[^"]*"?|\S+', re.IGNORECASE)
_COMPARE = re.compile(r"([a-z]+)(>=|<=|>|<|=)(.*)", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(k|m|ms|s|)")
_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "s": 1.0, "ms": 1e-3}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
}


def status_text(row: RequestRow) -> str:
    """What ``status:`` looks at: the phase, and once ended the code and the reason."""
    words = [row.phase.value]
    if row.record is not None:
        words += [str(row.record.status), row.record.stop_reason or ""]
        words.append(row.record.error_category or "")
    return " ".join(words)


def _cache_text(row: RequestRow) -> str:
    if row.prompt_tokens is None:
        return ""
    hit = "hit" if row.cache_read_tokens else "miss"
    return f"{hit} {row.cache_tier or ''} {row.miss.cause}"


def _tool_text(row: RequestRow) -> str:
    return " ".join(f"{call.name} {call.verdict}" for call in row.calls)


_FIELDS: dict[str, Callable[[RequestRow], str]] = {
    "status": status_text,
    "model": lambda r: f"{r.model_requested} {r.model} {r.backend}",
    "tool": _tool_text,
    "cache": _cache_text,
    "role": lambda r: r.role,
    "id": lambda r: f"{r.id} {r.session_id}",
    "search": lambda r: " ".join(f"{m.search.provider} {m.search.query}" for m in r.searches),
}


def _time(row: RequestRow) -> float | None:
    return row.record.duration_ms / 1000 if row.record else None


_FIGURES: dict[str, Callable[[RequestRow], float | None]] = {
    "ttft": lambda r: None if r.ttft_ms is None else r.ttft_ms / 1000,
    "in": lambda r: r.prompt_tokens,
    "out": lambda r: r.output_tokens,
    "lost": lambda r: r.miss.tokens if r.prompt_tokens is not None else None,
    "tps": lambda r: r.record.tokens_per_second if r.record else None,
    "time": _time,
}


FIELDS = tuple(_FIELDS)
"""The names before a colon."""
FIGURES = tuple(_FIGURES)
"""The names before a sign."""


def _anything(row: RequestRow) -> str:
    error = row.record.error_message or "" if row.record else ""
    return " ".join((*(get(row) for get in _FIELDS.values()), row.route_reason, error))


@dataclass(frozen=True, slots=True)
class Part:
    """A term as it was written: ``value`` is to be found in ``field``, anywhere without one;
    with a ``sign`` the figure ``field`` is compared to ``limit``."""

    field: str = ""
    value: str = ""
    sign: str = ""
    limit: float = 0.0
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Terms that must all hold; ``problem`` names the first one that was left out.

    ``parts`` are the same terms for who must put them in other words.
    """

    text: str = ""
    terms: tuple[Predicate, ...] = ()
    problem: str = ""
    parts: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def matches(self, row: RequestRow) -> bool:
        return all(term(row) for term in self.terms)


def parse(text: str) -> Filter:
    """The filter that ``text`` stands for; never raises."""
    parts: list[Part] = []
    problem = ""
    for word in _TERM.findall(text):
        inverted = word.startswith("!") and len(word) > 1
        try:
            parts.append(_part(word[1:] if inverted else word, inverted))
        except ValueError as error:
            problem = problem or str(error)
    return Filter(text, tuple(_predicate(part) for part in parts), problem, tuple(parts))


def _part(word: str, inverted: bool) -> Part:
    name, colon, value = word.partition(":")
    if colon and name.lower() in _FIELDS:
        return Part(name.lower(), value.strip('"'), inverted=inverted)
    compared = _COMPARE.fullmatch(word)
    if compared and compared[1].lower() in _FIGURES:
        name, sign = compared[1].lower(), compared[2]
        return Part(name, sign=sign, limit=_limit(name, sign, compared[3]), inverted=inverted)
    return Part(value=word.strip('"'), inverted=inverted)


def _predicate(part: Part) -> Predicate:
    if part.sign:
        term = _compares(part.field, part.sign, part.limit)
    else:
        term = _contains(_FIELDS[part.field] if part.field else _anything, part.value)
    return _not(term) if part.inverted else term


def _not(term: Predicate) -> Predicate:
    return lambda row: not term(row)


def _contains(get: Callable[[RequestRow], str], value: str) -> Predicate:
    wanted = value.casefold()
    return lambda row: wanted in get(row).casefold()


def _limit(name: str, sign: str, value: str) -> float:
    number = _NUMBER.fullmatch(value.lower())
    if number is None:
        raise ValueError(f"{name}{sign} needs a number, as in {name}>1 or {name}>20k")
    return float(number[1]) * _SCALE[number[2]]


def _compares(name: str, sign: str, limit: float) -> Predicate:
    figure, holds = _FIGURES[name], _OPERATORS[sign]

    def term(row: RequestRow) -> bool:
        found = figure(row)
        return found is not None and holds(found, limit)

    return term
