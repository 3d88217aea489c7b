"""The text of a page without menus, banners and scripts; the one home of trafilatura.

Parsing takes a tenth of a second and more, and importing it half a second: for other threads.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from typing import cast

MAX_CHARS = 20_000
"""Of a page's text; a search's results have no place for more."""
MARKUP = ("text/html", "application/xhtml+xml")
PLAIN = ("text/plain", "text/markdown")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]+")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


def text_of(body: bytes, content_type: str, charset: str, address: str) -> str:
    """What the page says, a paragraph a line; empty where nothing that reads like text is in it.

    ``content_type`` is one of :data:`MARKUP` or :data:`PLAIN`. A page that the parser can't make
    anything of is empty too.
    """
    if content_type in PLAIN:
        return _tidy(_decoded(body, charset))
    # Without a word in the header it is looked for in the page.
    found = _extractor()(
        _decoded(body, charset) if charset else body,
        url=address,
        output_format="txt",
        include_comments=False,
        include_tables=True,
        include_links=False,
        include_images=False,
        fast=True,
    )
    return _tidy(found or "")


@functools.cache
def _extractor() -> Callable[..., str | None]:
    from trafilatura import extract

    # Of pages that it can't read it says so by the way, address and all, on a terminal of ours.
    for name in ("trafilatura", "htmldate"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return cast("Callable[..., str | None]", extract)


def _decoded(body: bytes, charset: str) -> str:
    """The body's text; UTF-8 where the charset is none, or none of texts."""
    try:
        return body.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def _tidy(text: str) -> str:
    text = _CONTROL.sub(" ", text[: 4 * MAX_CHARS])
    text = _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()
    return text[:MAX_CHARS]
