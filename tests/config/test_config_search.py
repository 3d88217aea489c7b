"""Web search in the configuration: keys, where they come from, and what contradicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyclaude.config.checks import search as search_checks
from anyclaude.config.document import masked_document, rows_of, to_document
from anyclaude.config.load import check_file, load_settings
from anyclaude.config.settings import SearchSettings, Settings

SECRET = "open-sesame-4711"


def load(folder: Path, text: str, **env: str) -> Settings:
    file = folder / "anyclaude.toml"
    file.write_text(text, "utf-8")
    return load_settings(config=file, env=env, cwd=folder)


def complaints(folder: Path, text: str, **env: str) -> list[str]:
    file = folder / "anyclaude.toml"
    file.write_text(text, "utf-8")
    return [line.removeprefix(f"{file}: ") for line in check_file(file, env)]


def test_the_defaults_ask_duckduckgo_and_nobody_unasked(here: Path) -> None:
    assert load(here, "").search == SearchSettings()
    assert SearchSettings().providers == ("duckduckgo",) and not SearchSettings().proactive


def test_everything_given(here: Path) -> None:
    text = f"""
[search]
providers = ["brave", "searxng"]
brave_key = "{SECRET}"
searxng_url = "http://127.0.0.1:8888/searx"
timeout_s = 3
max_results = 5
max_tokens = 900
pages = 3
cache_ttl_s = 0
cache_mb = 2
allowed_domains = ["python.org", "docs.rs/tokio"]
blocked_domains = ["spam.example.com"]
proactive = true
"""
    found = load(here, text)
    assert found.search == SearchSettings(
        ("brave", "searxng"),
        brave_key=SECRET,
        searxng_url="http://127.0.0.1:8888/searx",
        timeout_s=3.0,
        max_results=5,
        max_tokens=900,
        pages=3,
        cache_ttl_s=0.0,
        cache_mb=2,
        allowed_domains=("python.org", "docs.rs/tokio"),
        blocked_domains=("spam.example.com",),
        proactive=True,
    )
    assert SECRET not in repr(found)
    assert SECRET not in str(masked_document(found)) + str(list(rows_of(found)))


@pytest.mark.parametrize("name", ["brave", "tavily", "serpapi"])
def test_keys_from_the_environment(here: Path, name: str) -> None:
    text = f'[search]\nproviders = ["{name}"]\n{name}_key_env = "MY_KEY"\n'
    found = load(here, text, MY_KEY=SECRET)
    assert getattr(found.search, f"{name}_key") == SECRET
    assert SECRET not in str(to_document(found)), "what is in the environment stays there"
    by_variable = {f"ANYCLAUDE_SEARCH_{name.upper()}_KEY": SECRET}
    direct = load(here, f'[search]\nproviders = ["{name}"]\n', **by_variable)
    assert getattr(direct.search, f"{name}_key") == SECRET


def test_switched_off_by_a_variable(here: Path) -> None:
    assert load(here, "", ANYCLAUDE_SEARCH_PROVIDERS="").search.providers == ()
    two = load(
        here,
        "",
        ANYCLAUDE_SEARCH_PROVIDERS="duckduckgo, searxng",
        ANYCLAUDE_SEARCH_SEARXNG_URL="http://127.0.0.1:1",
    )
    assert two.search.providers == ("duckduckgo", "searxng")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'providers = ["bing"]',
            'search.providers is ["bing"]; expected a list of different words out of "duckduckgo"',
        ),
        ('providers = ["brave"]', 'search.brave_key is missing; provider "brave" needs a key, or'),
        (
            'providers = ["tavily"]\ntavily_key_env = "NOT_THERE"',
            'search.tavily_key_env is "NOT_THERE", and there is no such environment variable',
        ),
        (
            'serpapi_key = "a"\nserpapi_key_env = "B"',
            "search.serpapi_key_env is there beside search.serpapi_key; expected one of them",
        ),
        (
            'providers = ["searxng"]',
            'search.searxng_url is missing; provider "searxng" needs an address such as',
        ),
        ('searxng_url = "127.0.0.1:8888"', "search.searxng_url has no scheme; expected"),
        (
            "providers = []\nproactive = true",
            "search.proactive is true while search.providers is empty; expected a provider",
        ),
        (
            'allowed_domains = ["a.org"]\nblocked_domains = ["a.org"]',
            'search.blocked_domains has "a.org" as search.allowed_domains has; expected one',
        ),
        ('blocked_domains = ["a b"]', 'search.blocked_domains has "a b"; expected domains such'),
        ("max_results = 0", "search.max_results is 0; expected an integer from 1 to 20"),
        ("max_tokens = 10", "search.max_tokens is 10; expected an integer from 200 to 20000"),
        ("timeout_s = 0", "search.timeout_s is 0; expected a number above 0 and at most 60"),
        ("cache_ttl_s = -1", "search.cache_ttl_s is -1; expected a number of at least 0"),
        ("cache_mb = 0", "search.cache_mb is 0; expected an integer from 1 to 10000"),
        (
            'brave_key_env = "small"',
            "search.brave_key_env is ********; expected the name of an environment variable",
        ),
    ],
)
def test_mistakes(here: Path, text: str, expected: str) -> None:
    (line,) = complaints(here, f"[search]\n{text}\n")
    assert line.startswith(expected)


def test_a_key_nobody_needs_is_no_mistake(here: Path) -> None:
    assert complaints(here, '[search]\nbrave_key = "x"\ntavily_key_env = "NOT_THERE"\n') == []


@pytest.mark.parametrize("key", ["brave_key", "tavily_key", "serpapi_key", "brave_key_env"])
@pytest.mark.parametrize("value", ["['SECRET']", "{ a = 'SECRET' }", "3"])
def test_no_complaint_shows_a_key(here: Path, key: str, value: str) -> None:
    lines = complaints(here, f"[search]\n{key} = {value.replace('SECRET', SECRET)}\n")
    assert lines and SECRET not in "\n".join(lines)


def test_pages_need_a_package_and_somebody_to_ask(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = "[search]\nproviders = []\npages = 2\n"
    assert complaints(here, off) == [
        "search.pages is 2 while search.providers is empty; expected a provider, or 0"
    ]
    monkeypatch.setattr(search_checks, "installed", lambda package: package != "trafilatura")
    assert complaints(here, "[search]\npages = 2\n") == [
        "search.pages needs the package trafilatura, which isn't installed; expected 'pip install"
        " anyclaude[pages]' before it, or 0"
    ]
    assert load(here, "[search]\npages = 0\n").search.pages == 0
    assert complaints(here, "[search]\npages = 11\n")[0].startswith("search.pages is 11; expected")
