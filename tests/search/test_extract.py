"""The text of pages as sites send them, and of what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude.search.choosing import excerpt
from anyclaude.search.extract import MAX_CHARS, text_of

ARTICLE = """<!doctype html><html><head><title>Release notes</title>
<script>var tracking = "do not read";</script><style>p {{ color: red }}</style></head><body>
<nav><a href="/">Home</a> <a href="/about">About us</a></nav>
<article><h1>Python 3.14.2</h1>
<p>Python 3.14.2 was released on the fifth of December with {bugs} bugs mended since 3.14.1.</p>
<p>It is the second maintenance release; nothing in it should break a program that ran before.</p>
<p>The next one, 3.14.3, is planned for February and will be the last before the feature freeze.</p>
</article><footer>Copyright, cookies and terms of service</footer></body></html>"""


def test_the_article_without_what_stands_around_it() -> None:
    text = text_of(ARTICLE.format(bugs="très 12").encode(), "text/html", "", "https://a.org/")
    assert "released on the fifth of December with très 12 bugs" in text
    assert "second maintenance release" in text
    for noise in ("tracking", "color: red", "About us", "terms of service", "<p>"):
        assert noise not in text


@pytest.mark.parametrize("charset", ["latin-1", "windows-1252"])
def test_the_header_s_charset_holds(charset: str) -> None:
    body = ARTICLE.format(bugs="très 12").encode(charset)
    assert "très 12" in text_of(body, "text/html", charset, "https://a.org/")


def test_plain_text_is_taken_as_it_is() -> None:
    assert text_of(b"a\x00b\r\n\r\n  c  d\x1b[31m", "text/plain", "", "u") == "a b\nc d [31m"
    assert text_of("é".encode("utf-16"), "text/markdown", "utf-16", "u") == "é"
    assert text_of(b"\xff\xfe", "text/plain", "no-such-charset", "u") == "��"
    assert len(text_of(b"x " * MAX_CHARS, "text/plain", "", "u")) == MAX_CHARS


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\x00\xff", b"<p", b"<!-- -->"])
def test_what_has_no_text(body: bytes) -> None:
    assert text_of(body, "text/html", "", "https://a.org/") == ""


CHARSETS = st.one_of(
    st.text(max_size=9), st.sampled_from(["hex", "idna", "undefined", "utf-7", "utf-16", "big5"])
)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["text/html", "text/plain"]), CHARSETS)
def test_no_page_makes_it_fail(body: bytes, kind: str, charset: str) -> None:
    text = text_of(body, kind, charset, "https://a.org/")
    assert not any(c < " " and c != "\n" for c in text)


def test_nothing_of_a_page_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert text_of(b"", "text/html", "", "https://a.org/secret") == ""
    assert caplog.records == []


@given(
    st.lists(st.text("abc ", max_size=30), max_size=20).map("\n".join),
    st.text("abc ", max_size=20),
    st.integers(0, 300),
)
def test_an_excerpt_fits_and_was_said(page: str, asked: str, room: int) -> None:
    found = excerpt(page, asked, room)
    assert len(found) <= room
    for line in found.split("\n"):
        assert line.rstrip("…") in page


def test_what_was_asked_for_is_chosen_in_its_order() -> None:
    lines = [f"filler {n} of the page" for n in range(30)]
    lines[20], lines[25] = "the port is 6447", "and its port is closed"
    found = excerpt("\n".join(lines), "which port", 200)
    assert found.index("6447") < found.index("closed") and "filler 0 of" in found
    assert excerpt("\n".join(lines), "nothing like it", 50).startswith("filler 0")
    assert excerpt("short", "x", 100) == "short"
    assert excerpt("", "x", 100) == ""
