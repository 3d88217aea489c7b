"""Which addresses may be among the results.

A domain stands for itself and its sub-domains; with a path behind it, only for what begins so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from anyclaude.search.values import Query


def parts_of(url: str) -> tuple[str, str] | None:
    """Host, in small letters, and path of an address on the web; ``None`` for anything else."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host:
        return None
    return host.rstrip("."), parts.path or "/"


def within(url: str, domains: Iterable[str]) -> bool:
    """Whether the address belongs to one of the domains."""
    found = parts_of(url)
    return found is not None and any(_covers(domain, *found) for domain in domains)


def permitted(url: str, allowed: Sequence[str], blocked: Sequence[str]) -> bool:
    """Whether an address may be shown: one on the web, allowed, and not blocked."""
    if parts_of(url) is None or within(url, blocked):
        return False
    return not allowed or within(url, allowed)


def with_sites(query: Query) -> str:
    """The words of a query with its domains as the ``site:`` operators that engines know."""
    if query.allowed:
        sites = " OR ".join(f"site:{_bare(domain)}" for domain in query.allowed)
        return f"{query.text} ({sites})" if len(query.allowed) > 1 else f"{query.text} {sites}"
    return " ".join([query.text, *(f"-site:{_bare(domain)}" for domain in query.blocked)])


def _covers(domain: str, host: str, path: str) -> bool:
    name, _, rest = _bare(domain).partition("/")
    if not name or (host != name and not host.endswith(f".{name}")):
        return False
    return not rest or path == f"/{rest}" or path.startswith(f"/{rest}/")


def _bare(domain: str) -> str:
    """``*.Example.com/`` and ``https://example.com`` as ``example.com``; a path keeps its case."""
    text = domain.strip()
    name, _, path = (text.partition("://")[2] or text).partition("/")
    name = name.lower().removeprefix("*.").rstrip(".")
    return f"{name}/{path.strip('/')}".rstrip("/")
