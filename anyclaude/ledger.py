"""Where a request's end is written: the row, the announcement, and what outlives its client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from anyclaude.events import (
    Bus,
    Event,
    RequestFinished,
    SearchMade,
    SystemEvent,
    SystemKind,
)
from anyclaude.recent import RecentDetails
from anyclaude.records import (
    RequestDetail,
    RequestRecord,
    SearchRecord,
    StoredMessage,
    ToolCallRecord,
)


class RecordSink(Protocol):
    """Where rows go; returning means they are durable."""

    async def record(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
        *,
        hurry: bool = True,
    ) -> None: ...


class TraceSink(Protocol):
    """Where finished requests go whole; it neither waits nor raises."""

    def put(self, record: RequestRecord, detail: RequestDetail) -> None: ...


class Bills(Protocol):
    """What a request cost, and whose account it goes to; neither raises."""

    def cost(self, record: RequestRecord) -> float: ...

    async def settle(self, record: RequestRecord) -> None: ...


class Ledger:
    """The log, the bus and the recent details, as one request needs them."""

    def __init__(
        self,
        sink: RecordSink,
        bus: Bus,
        recent: RecentDetails,
        *,
        traces: TraceSink | None = None,
        bills: Bills | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.recent = recent
        self.clock = clock
        self.wall = wall
        self.stopping = False
        self._sink = sink
        self._bus = bus
        self._traces = traces
        self._bills = bills
        self._background: set[asyncio.Task[None]] = set()

    @property
    def why_left(self) -> str:
        """What ended a request that nobody waits for any more."""
        return "anyclaude stopped" if self.stopping else "the client hung up"

    def publish(self, event: Event) -> None:
        self._bus.publish(event)

    def event(
        self,
        kind: SystemKind,
        message: str,
        request_id: str | None = None,
        *,
        level: Literal["info", "warning"] = "info",
    ) -> None:
        """Publishes something a person may want to look up."""
        self._bus.publish(SystemEvent(self.wall(), level, kind, message, request_id))

    def search_made(
        self, search: SearchRecord, troubles: Sequence[str] = (), *, inserted: bool = False
    ) -> None:
        """Publishes a search, and what went wrong on its way."""
        for trouble in troubles:
            self.event("search", trouble, search.request_id, level="warning")
        self.publish(SearchMade(self.wall(), search, inserted))

    async def finish(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
    ) -> None:
        """Writes the row, then tells the bus; a caller that is cancelled doesn't stop it."""

        async def write() -> None:
            await self._write(await self._billed(record), calls, messages)

        await asyncio.shield(self.spawn(write()))

    async def finish_later(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord] = (),
        messages: Sequence[StoredMessage] = (),
    ) -> None:
        """As :meth:`finish`, but only the account is waited for; :meth:`settle` waits for the rest.

        Whoever has the answer's last byte can't ask again before it was paid for.
        """

        async def bill() -> None:
            self.spawn(self._write(await self._billed(record), calls, messages, hurry=False))

        if record.key_name:
            await asyncio.shield(self.spawn(bill()))
        else:  # It is on nobody's account: there is nothing to wait for.
            self.spawn(self._write(self._priced(record), calls, messages, hurry=False))
        await asyncio.sleep(0)  # Now the log has it, and who asks for it waits for it.

    async def _billed(self, record: RequestRecord) -> RequestRecord:
        """The record with its cost, which is on its key's account."""
        record = self._priced(record)
        if self._bills is not None:
            await self._bills.settle(record)
        return record

    def _priced(self, record: RequestRecord) -> RequestRecord:
        cost = self._bills.cost(record) if self._bills is not None else 0.0
        return replace(record, cost_usd=cost) if cost else record

    async def _write(
        self,
        record: RequestRecord,
        calls: Sequence[ToolCallRecord],
        messages: Sequence[StoredMessage],
        *,
        hurry: bool = True,
    ) -> None:
        await self._sink.record(record, calls, messages, hurry=hurry)
        if self._traces is not None:
            kept = self.recent.get(record.id)
            self._traces.put(record, kept or RequestDetail(record.id, tool_calls=tuple(calls)))
        self._bus.publish(RequestFinished(record))

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs ``work`` to its end even if the caller is being cancelled."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def settle(self) -> None:
        """Waits for rows that are still being written."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
