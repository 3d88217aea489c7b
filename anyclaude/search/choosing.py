"""Which of the results are shown, in which order, and how much of each.

The provider's order is better than any that could be made here, so it stays; what is changed is
what stands in the way: the same page twice, one site that takes all places, results that have
nothing of the question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from urllib.parse import parse_qsl, urlencode, urlsplit

from anyclaude.search.domains import parts_of, permitted
from anyclaude.search.values import Query, Result, SearchOptions

CHARS_PER_TOKEN = 3.8
"""Of English prose and addresses; measured on Claude Code's requests."""

PER_SITE = 2
"""Results of one site that keep their place; more of them go behind the other sites'."""
MAX_TITLE_CHARS = 200
MAX_TEXT_CHARS = 1200
MAX_URL_CHARS = 500
_LEAST_TEXT_CHARS = 80
_WORD = re.compile(r"\w{3,}")
_TRACKING = re.compile(r"utm_\w+|gclid|fbclid|msclkid|mc_[ce]id|ref_src", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def tokens_of(text: str) -> int:
    """About how many tokens a model reads it as."""
    return ceil(len(text) / CHARS_PER_TOKEN)


def choose(found: Iterable[Result], query: Query, options: SearchOptions) -> tuple[Result, ...]:
    """The results to show: on the web, permitted by the query and the options, each once, the
    related ones first, and cut to the options' number and tokens."""
    kept: dict[str, Result] = {}
    for one in found:
        if len(one.url) <= MAX_URL_CHARS and may_show(one.url, query, options):
            kept.setdefault(_page(one.url), _cut(one))
    ordered = _ordered(list(kept.values()), query.text)
    return _within(ordered[: options.max_results], query.text, options.max_tokens)


def may_show(url: str, query: Query, options: SearchOptions) -> bool:
    """Whether the domains of both permit the address."""
    blocked = (*query.blocked, *options.blocked)
    return permitted(url, query.allowed, blocked) and permitted(url, options.allowed, ())


def with_pages(found: Iterable[Result], texts: Mapping[str, str]) -> tuple[Result, ...]:
    """The results with what their pages say, by the addresses as they are shown."""
    return tuple(
        replace(one, page=page) if (page := texts.get(_CONTROL.sub("", one.url))) else one
        for one in found
    )


def _page(url: str) -> str:
    """What two addresses of the same page have in common."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removeprefix("www.")
    asked = [pair for pair in parse_qsl(parts.query) if not _TRACKING.fullmatch(pair[0])]
    return f"{host}{parts.path.rstrip('/')}?{urlencode(sorted(asked))}"


def _cut(one: Result) -> Result:
    """Without anything that isn't text, and no longer than it may be."""
    return replace(
        one,
        url=_CONTROL.sub("", one.url),
        title=_CONTROL.sub(" ", one.title)[:MAX_TITLE_CHARS],
        text=_CONTROL.sub(" ", one.text)[:MAX_TEXT_CHARS],
        age=_CONTROL.sub(" ", one.age)[:MAX_TITLE_CHARS],
    )


def _ordered(found: Sequence[Result], asked: str) -> list[Result]:
    """Related before unrelated, and within that a site's third page after the others."""
    words = set(_WORD.findall(asked.lower()))
    seen: Counter[str] = Counter()
    ranks: list[tuple[bool, bool, int]] = []
    for place, one in enumerate(found):
        site = (parts_of(one.url) or ("", ""))[0].removeprefix("www.")
        seen[site] += 1
        said = set(_WORD.findall(f"{one.title} {one.text} {one.url}".lower()))
        ranks.append((bool(words) and not words & said, seen[site] > PER_SITE, place))
    return [found[place] for _, _, place in sorted(ranks)]


def _within(found: Sequence[Result], asked: str, limit: int) -> tuple[Result, ...]:
    """As many as fit into so many tokens; each gets the same room for its text."""
    while found:
        bare = sum(tokens_of(_frame(one)) for one in found)
        room = int((limit - bare) / len(found) * CHARS_PER_TOKEN)
        if room >= _LEAST_TEXT_CHARS or (len(found) == 1 and room >= 0):
            return _shared(found, asked, limit - bare)
        found = found[:-1]
    return ()


def _shared(found: Sequence[Result], asked: str, tokens: int) -> tuple[Result, ...]:
    """Texts cut so that together they have ``tokens``; what short ones leave, longer ones get."""
    left, shares = tokens, {}
    lengths = [len(one.page or one.text) for one in found]
    for waiting, place in enumerate(sorted(range(len(found)), key=lengths.__getitem__)):
        share = int(left / (len(found) - waiting) * CHARS_PER_TOKEN)
        one = found[place]
        shares[place] = excerpt(one.page, asked, share) or _shortened(one.text, share)
        left -= tokens_of(shares[place])
    return tuple(replace(one, text=shares[place]) for place, one in enumerate(found))


def excerpt(page: str, asked: str, room: int) -> str:
    """The paragraphs of a page that have most of what was asked, in the page's order, within
    ``room`` characters; the page's beginning where none has anything of it."""
    if len(page) <= room:
        return page
    words = set(_WORD.findall(asked.lower()))
    lines = [line for line in page.split("\n") if line]
    about = [len(words & set(_WORD.findall(line.lower()))) for line in lines]
    chosen: dict[int, str] = {}
    for place in sorted(range(len(lines)), key=lambda i: (-about[i], i)):
        line = lines[place] if len(lines[place]) < room else _shortened(lines[place], room)
        if line:
            chosen[place] = line
            room -= len(line) + 1
        if room < _LEAST_TEXT_CHARS:
            break
    return "\n".join(chosen[place] for place in sorted(chosen))


def _shortened(text: str, room: int) -> str:
    """The text up to its last whole word within ``room`` characters."""
    if len(text) <= room:
        return text
    cut = text[: max(0, room - 1)]
    return f"{cut.rpartition(' ')[0] or cut}…" if cut else ""


def _frame(one: Result) -> str:
    return f"{one.title}{one.url}{one.age}\n\n"
