"""Which addresses belong to which domains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude.search.domains import parts_of, permitted, with_sites, within
from anyclaude.search.values import Query


@pytest.mark.parametrize(
    ("url", "domain", "inside"),
    [
        ("https://example.com/", "example.com", True),
        ("https://docs.example.com/a", "example.com", True),
        ("https://notexample.com/", "example.com", False),
        ("https://example.com.evil.org/", "example.com", False),
        ("https://EXAMPLE.com./x", "Example.COM", True),
        ("https://example.com:8443/x", "example.com", True),
        ("https://example.com/", "docs.example.com", False),
        ("https://a.example.com/", "*.example.com", True),
        ("https://example.com/", "https://example.com/", True),
        ("https://example.com/blog/1", "example.com/blog", True),
        ("https://example.com/blog", "example.com/blog/", True),
        ("https://example.com/blogs", "example.com/blog", False),
        ("https://example.com/Blog", "example.com/blog", False),
        ("https://user@example.com@evil.org/", "example.com", False),
        ("https://example.com/", "", False),
    ],
)
def test_a_domain_covers_its_own(url: str, domain: str, inside: bool) -> None:
    assert within(url, [domain]) is inside


@pytest.mark.parametrize(
    "url", ["", "ftp://a.b/", "javascript:alert(1)", "https://", "http://[", "a"]
)
def test_what_is_not_on_the_web_is_never_shown(url: str) -> None:
    assert parts_of(url) is None
    assert not permitted(url, (), ())


def test_blocked_goes_before_allowed() -> None:
    url = "https://ads.example.com/"
    assert permitted(url, ("example.com",), ())
    assert not permitted(url, ("example.com",), ("ads.example.com",))
    assert not permitted("https://other.org/", ("example.com",), ())


def test_domains_as_engines_know_them() -> None:
    assert with_sites(Query("a b")) == "a b"
    assert with_sites(Query("a", ("x.org",))) == "a site:x.org"
    assert with_sites(Query("a", ("x.org", "*.Y.org/"))) == "a (site:x.org OR site:y.org)"
    assert with_sites(Query("a", (), ("x.org", "y.org/Q"))) == "a -site:x.org -site:y.org/Q"


@given(st.text(), st.text())
def test_nothing_raises(url: str, domain: str) -> None:
    permitted(f"https://{url}", (domain,), (domain,))
