"""Web search: what each provider needs, and domains that can't both be meant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from anyclaude.config.checks.addresses import HTTP, complaint, split
from anyclaude.config.checks.case import Case, Finding
from anyclaude.config.checks.extras import installed, missing
from anyclaude.config.settings import SearchSettings

KEYED = ("brave", "tavily", "serpapi")
"""Providers that need a key."""


def with_keys(search: SearchSettings, env: Mapping[str, str]) -> SearchSettings:
    """The settings with the keys that come from the environment."""

    def key(given: str, variable: str) -> str:
        return env.get(variable, "") if variable else given

    return replace(
        search,
        brave_key=key(search.brave_key, search.brave_key_env),
        tavily_key=key(search.tavily_key, search.tavily_key_env),
        serpapi_key=key(search.serpapi_key, search.serpapi_key_env),
    )


def check_search(case: Case) -> Iterator[Finding]:
    search = case.settings.search
    for name in KEYED:
        yield from _key(case, name)
    if search.searxng_url and case.sound("search.searxng_url"):
        if text := complaint(search.searxng_url, HTTP, '"http://127.0.0.1:8888"'):
            yield "search.searxng_url", text
    elif "searxng" in search.providers and case.sound("search.searxng_url"):
        yield (
            "search.searxng_url",
            'is missing; provider "searxng" needs an address such as "http://127.0.0.1:8888"',
        )
    if search.proactive and not search.providers and case.sound("search.providers"):
        yield (
            "search.proactive",
            "is true while search.providers is empty; expected a provider, or this one false",
        )
    if search.pages and not installed("trafilatura") and case.sound("search.pages"):
        yield "search.pages", missing("trafilatura", "pages", "or 0")
    elif search.pages and not search.providers and case.sound("search.providers"):
        yield (
            "search.pages",
            f"is {search.pages} while search.providers is empty; expected a provider, or 0",
        )
    for key in ("allowed_domains", "blocked_domains"):
        yield from _domains(f"search.{key}", getattr(search, key))
    for domain in search.allowed_domains:
        if domain in search.blocked_domains:
            yield (
                "search.blocked_domains",
                f"has {json.dumps(domain)} as search.allowed_domains has; expected one of them",
            )


def _key(case: Case, name: str) -> Iterator[Finding]:
    key, search = f"search.{name}_key", case.settings.search
    given, variable = getattr(search, f"{name}_key"), getattr(search, f"{name}_key_env")
    if not case.sound(key, f"{key}_env"):
        return
    if given and variable:
        yield f"{key}_env", f"is there beside {key}; expected one of them"
    elif name not in search.providers:
        return
    elif variable and not case.env.get(variable):
        yield (
            f"{key}_env",
            f"is {json.dumps(variable)}, and there is no such environment variable; expected one"
            " with the key in it",
        )
    elif not given and not variable:
        yield key, f'is missing; provider "{name}" needs a key, or {key}_env'


def _domains(key: str, domains: tuple[str, ...]) -> Iterator[Finding]:
    for domain in domains:
        parts = split(f"https://{domain.partition('://')[2] or domain}")
        if parts is None or not parts.hostname or any(c.isspace() for c in domain):
            text = f'has {json.dumps(domain)}; expected domains such as "docs.python.org"'
            yield key, text
