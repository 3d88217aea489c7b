"""Fetches what the inspector shows beyond a request's row, as much as the tab on show needs.

Details of requests that have ended are kept, bounded in characters. Reading and comparing
megabytes happens on a thread; nothing here is textual's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from anyclaude.control import Control
from anyclaude.errors import AnyclaudeError
from anyclaude.records import RequestDetail
from anyclaude.types import Role
from tui.inspect.facts import Facts, Said, facts_of
from tui.inspect.prompt import prompt_page
from tui.inspect.raw import raw_page
from tui.inspect.subject import Found, PromptPage
from tui.request_row import RequestRow
from tui.state import Store

KEEP_CHARS = 32 * 2**20
KEEP = 200
PATIENCE_S = 0.3
"""How long the last events of a stream may take to be written down after its end."""

NEIGHBOURS = 8
"""Requests of the same session that are looked at for the one that came before or after."""

_AGENT = "x-claude-code-agent-id"
_ALONE = "No earlier prompt of this session is known, so this is all of it."


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be looked up: a request at a stage of its life, for one tab.

    ``stage`` is 0 until a backend has it, 1 while it runs, 2 when it has ended; ``after`` is the
    last of the requests here that may hold the answers to its calls.
    """

    id: str
    stage: int
    tab: str
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    detail: RequestDetail
    facts: Facts


class Details:
    """The inspector's questions, each asked once per stage of a request."""

    def __init__(
        self, store: Store, keep_chars: int = KEEP_CHARS, patience: float = PATIENCE_S
    ) -> None:
        self._store = store
        self._keep_chars = keep_chars
        self._patience = patience
        self._kept: OrderedDict[str, _Known] = OrderedDict()
        self._chars = 0
        self._asking: Wish | None = None
        self._answered: set[Wish] = set()

    def wish(self, row: RequestRow | None, tab: str) -> Wish | None:
        """What to :meth:`find` next; ``None`` when it is here already or on its way."""
        if row is None:
            return None
        stage = 2 if not row.active else 1 if row.backend else 0
        after = self._around(row, after=True)[-1:] if tab == "Tools" and row.calls else []
        wish = Wish(row.id, stage, tab, *after)
        if wish == self._asking or wish in self._answered:
            return None
        self._answered = {old for old in self._answered if (old.id, old.stage) == (row.id, stage)}
        self._asking = wish
        return wish

    async def find(self, control: Control, row: RequestRow, wish: Wish) -> Found:
        """Asks the server and works out what the tab shows; a refusal becomes the problem."""
        try:
            known = await self._know(control, row.id, ended=wish.stage == 2)
        except AnyclaudeError as error:
            found = Found(row.id, problem=error.message)
        else:
            found = Found(row.id, known.detail, facts=known.facts)
            match wish.tab:
                case "Prompt":
                    found = replace(found, prompt=await self._prompt(control, row, known))
                case "Tools":
                    found = replace(found, said=await self._said(control, row, known))
                case "Raw":
                    page = await asyncio.to_thread(raw_page, known.detail)
                    found = replace(found, raw=page)
        self._answered.add(wish)
        if self._asking == wish:
            self._asking = None
        return found

    # --------------------------------------------------------------------------- one request

    async def _know(self, control: Control, request_id: str, *, ended: bool) -> _Known:
        known = self._kept.get(request_id)
        if known is None:
            detail = await control.detail(request_id)
            if ended and _unfinished(detail.stream):
                await asyncio.sleep(self._patience)
                detail = await control.detail(request_id)
            known = _Known(detail, await asyncio.to_thread(facts_of, detail))
            if ended:
                self._keep(known)
        else:
            self._kept.move_to_end(request_id)
        return known

    def _keep(self, known: _Known) -> None:
        old = self._kept.pop(known.detail.id, None)
        self._kept[known.detail.id] = known
        self._chars += _size(known.detail) - (_size(old.detail) if old else 0)
        while len(self._kept) > 1 and (self._chars > self._keep_chars or len(self._kept) > KEEP):
            _, gone = self._kept.popitem(last=False)
            self._chars -= _size(gone.detail)

    # ---------------------------------------------------------------------------- neighbours

    async def _prompt(self, control: Control, row: RequestRow, known: _Known) -> PromptPage:
        agent = _agent(known.detail)

        def same_talk(other: _Known) -> bool:
            text = other.detail.prompt or other.facts.messages
            return bool(text) and _agent(other.detail) == agent

        earlier = await self._neighbour(control, row, same_talk, after=False)
        other = earlier.detail if earlier is not None else None
        return await asyncio.to_thread(prompt_page, known.detail, other, _ALONE)

    async def _said(self, control: Control, row: RequestRow, known: _Known) -> Mapping[str, Said]:
        """What the client answered this request's calls with, in a request that followed."""
        ids = {call.tool_use_id for call in row.calls or known.detail.tool_calls} - {""}
        if not ids:
            return {}
        answer = await self._neighbour(
            control, row, lambda other: not ids.isdisjoint(other.facts.said), after=True
        )
        said = answer.facts.said if answer is not None else {}
        return {key: said[key] for key in ids if key in said}

    async def _neighbour(
        self, control: Control, row: RequestRow, fits: Callable[[_Known], bool], *, after: bool
    ) -> _Known | None:
        """The nearest request of the session on one side that fits, as far as its detail is
        still to be had: out of the rows here, else out of the log."""
        tried = {row.id}
        for ask in (self._here, partial(_logged, control)):
            for request_id in await ask(row, after=after):
                if request_id in tried:
                    continue
                tried.add(request_id)
                here = self._store.rows.get(request_id)
                with suppress(AnyclaudeError):
                    ended = here is None or not here.active
                    known = await self._know(control, request_id, ended=ended)
                    if fits(known):
                        return known
        return None

    async def _here(self, row: RequestRow, *, after: bool) -> list[str]:
        return self._around(row, after=after)

    def _around(self, row: RequestRow, *, after: bool) -> list[str]:
        """Ids out of the store, the nearest first."""
        if not row.session_id:
            return []
        roles = _roles(row.role)
        rows = self._store.rows.values()
        found = (
            other.id
            for other in (rows if after else reversed(rows))
            if other.session_id == row.session_id
            and other.role in roles
            and (other.seq > row.seq if after else other.seq < row.seq)
            and (after or other.prompt_tokens is not None)
        )
        return list(islice(found, NEIGHBOURS))


async def _logged(control: Control, row: RequestRow, *, after: bool) -> list[str]:
    """Ids out of the log, the nearest first; none when it can't be asked."""
    if not row.session_id:
        return []
    with suppress(AnyclaudeError):
        found = await control.sql(neighbours_sql(row, after=after), NEIGHBOURS)
        return [str(entry[0]) for entry in found.rows]
    return []


def neighbours_sql(row: RequestRow, *, after: bool) -> str:
    """The query for requests with a prompt of the same session and role, the nearest first."""
    roles = ", ".join(_quoted(role) for role in _roles(row.role))
    sign, order = (">", "ASC") if after else ("<", "DESC")
    return (
        f"SELECT id FROM requests WHERE session_id = {_quoted(row.session_id)} "
        f"AND role IN ({roles}) AND id <> {_quoted(row.id)} "
        f"AND started_at {sign} make_timestamp({round(row.at * 1_000_000)}) "
        "AND input_tokens + cache_read_tokens + cache_creation_tokens > 0 "
        f"ORDER BY started_at {order}, id {order} LIMIT {NEIGHBOURS}"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _roles(role: str) -> tuple[str, ...]:
    """The roles whose prompts go on from each other; a summary is asked for at the end of one."""
    return (Role.COMPACT, Role.MAIN) if role == Role.COMPACT else (role,)


def _agent(detail: RequestDetail) -> str:
    return next((value for name, value in detail.headers if name == _AGENT), "")


def _unfinished(stream: str) -> bool:
    """Whether a stream that has ended lacks its last event."""
    last = stream[stream.rfind("\n", 0, -1) + 1 :]
    return bool(stream) and not any(f'"{kind}"' in last for kind in ("message_stop", "error"))


def _size(detail: RequestDetail) -> int:
    parts = (detail.body, detail.prompt, detail.output, detail.response, detail.stream)
    return sum(len(part) for part in parts) + 1_000
