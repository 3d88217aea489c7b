"""Which results are shown, in which order and how much of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from anyclaude.search.choosing import choose, tokens_of
from anyclaude.search.values import Query, Result, SearchOptions
from tests.search.kit import DOCS, PYTHON, SPAM

ASKED = Query("newest python release")
ALL = SearchOptions()


def test_the_order_stays_and_pages_come_once() -> None:
    again = replace(PYTHON, url="http://python.org?utm_source=x", title="Again")
    deeper = replace(PYTHON, url="https://www.python.org/?page=2", title="Deeper")
    assert choose([PYTHON, again, DOCS, deeper], ASKED, ALL) == (PYTHON, DOCS, deeper)


def test_blocked_domains_never_appear() -> None:
    found = [SPAM, PYTHON, replace(SPAM, url="https://a.spam.example.com/x"), DOCS]
    blocked = replace(ASKED, blocked=("spam.example.com",))
    assert choose(found, blocked, ALL) == (PYTHON, DOCS)
    assert choose(found, ASKED, replace(ALL, blocked=("example.com",))) == (PYTHON, DOCS)
    only = replace(ASKED, allowed=("docs.python.org",))
    assert choose(found, only, ALL) == (DOCS,)
    assert choose(found, only, replace(ALL, allowed=("www.python.org",))) == ()


def test_what_has_nothing_of_the_question_goes_last() -> None:
    other = Result("https://cooking.org/", "Soup", "Boil water.")
    assert choose([other, PYTHON], ASKED, ALL) == (PYTHON, other)


def test_a_site_does_not_take_all_places() -> None:
    pages = [replace(PYTHON, url=f"https://python.org/{n}", title=f"Python {n}") for n in range(4)]
    chosen = choose([*pages, DOCS], ASKED, ALL)
    assert chosen == (pages[0], pages[1], DOCS, pages[2], pages[3])
    assert len(choose([*pages, DOCS], ASKED, replace(ALL, max_results=3))) == 3


def test_texts_share_the_tokens() -> None:
    long = [replace(PYTHON, url=f"https://{n}.org/", text="python " * 200) for n in range(5)]
    short = replace(DOCS, text="python docs")
    chosen = choose([*long, short], ASKED, replace(ALL, max_tokens=600))
    assert short in chosen and len(chosen) == 6
    assert all(one.text.endswith("…") for one in chosen if one is not short and one != short)
    assert len({len(one.text) for one in chosen if one != short}) <= 2


def test_control_characters_and_endless_texts_go() -> None:
    one = Result("https://a.org/\x1b", "t\x00\n\u2028x" + "t" * 999, "python \x9b31m" + "y" * 9999)
    (chosen,) = choose([one], ASKED, ALL)
    assert chosen.url == "https://a.org/" and chosen.title.startswith("t x")
    assert len(chosen.title) == 200 and len(chosen.text) == 1200 and "\x9b" not in chosen.text
    assert choose([replace(one, url="https://a.org/" + "x" * 500)], ASKED, ALL) == ()


results = st.builds(
    Result,
    st.one_of(st.text(), st.text().map(lambda t: f"https://{t}")),
    st.text(max_size=300),
    st.text(max_size=2000),
    st.text(max_size=30),
)


@given(st.lists(results, max_size=12), st.integers(1, 20), st.integers(200, 3000))
def test_the_limits_hold_for_whatever_comes(found: list[Result], many: int, tokens: int) -> None:
    chosen = choose(found, ASKED, SearchOptions(max_results=many, max_tokens=tokens))
    assert len(chosen) <= many
    spent = sum(tokens_of(f"{r.title}{r.url}{r.age}\n\n") + tokens_of(r.text) for r in chosen)
    assert spent <= tokens + len(chosen)
    assert choose(found, ASKED, SearchOptions(max_results=many, max_tokens=tokens)) == chosen
