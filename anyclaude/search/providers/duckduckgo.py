"""DuckDuckGo's page of results, by way of the ddgs library: no key, and nobody else is asked.

ddgs takes every status but 200 for "no results", while DuckDuckGo answers 202 to those who ask
too much; so its engine is driven from here, which leaves asking and reading the page to it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from math import ceil
from urllib.parse import parse_qs, urlsplit

from anyclaude.search.domains import with_sites
from anyclaude.search.http import result
from anyclaude.search.values import Asking, Result, SearchFailed

_REFUSED = frozenset({202, 403, 418, 429})
_NO_REGION = "wt-wt"


class DuckDuckGo:
    """Asks in a thread, for the library has no other way; nothing waits for one that hangs."""

    name = "duckduckgo"

    async def search(self, asking: Asking) -> tuple[Result, ...]:
        answer: Future[tuple[Result, ...]] = Future()

        def work() -> None:
            try:
                found = self._ask(asking)
            except BaseException as error:
                _settle(answer, error)
            else:
                _settle(answer, found)

        # A pool's threads are waited for when the interpreter ends.
        threading.Thread(target=work, name="anyclaude-ddgs", daemon=True).start()
        return await asyncio.wrap_future(answer)

    def _ask(self, asking: Asking) -> tuple[Result, ...]:
        # Imported here: half a second, and only whoever searches needs it.
        from ddgs.engines.duckduckgo import Duckduckgo
        from ddgs.exceptions import DDGSException, TimeoutException

        engine = Duckduckgo(timeout=ceil(asking.timeout_s))
        payload = engine.build_payload(with_sites(asking.query), _NO_REGION, "moderate", None)
        try:
            reply = engine.http_client.request(
                engine.search_method, engine.search_url, data=payload
            )
        except TimeoutException as error:
            text = f"{self.name} gave no answer in {asking.timeout_s:g} s"
            raise SearchFailed("unavailable", text) from error
        except DDGSException as error:
            text = f"{self.name} can't be reached: {str(error)[:200]}"
            raise SearchFailed("unavailable", text) from error
        if reply.status_code in _REFUSED:
            text = f"{self.name} wants fewer searches (status {reply.status_code})"
            raise SearchFailed("too_many_requests", text)
        if reply.status_code != 200:
            raise SearchFailed("unavailable", f"{self.name} answered {reply.status_code}")
        found = engine.post_extract_results(engine.extract_results(reply.text or "<html/>"))
        return tuple(result(_target(one.href), one.title, one.body) for one in found)


def _settle(answer: Future[tuple[Result, ...]], what: tuple[Result, ...] | BaseException) -> None:
    """Unless nobody waits for it any more."""
    if not answer.set_running_or_notify_cancel():
        return
    if isinstance(what, BaseException):
        answer.set_exception(what)
    else:
        answer.set_result(what)


def _target(href: str) -> str:
    """Where a link leads that goes by way of DuckDuckGo's own counter."""
    whole = f"https:{href}" if href.startswith("//") else href
    try:
        parts = urlsplit(whole)
    except ValueError:
        return whole
    if (parts.hostname or "").endswith("duckduckgo.com") and parts.path == "/l/":
        # ddgs has unquoted the link already, so that its own parameters are the first ones.
        _, _, target = whole.partition("uddg=")
        return target.partition("&rut=")[0] or parse_qs(parts.query).get("uddg", [""])[0]
    return whole
