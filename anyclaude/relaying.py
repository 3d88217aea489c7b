"""One request whose answer is passed on byte for byte: from its admission to its row."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from anyclaude.backend import Admission, Finish
from anyclaude.backends import faults
from anyclaude.errors import ApiError
from anyclaude.events import FirstToken, OutputDelta, ToolCallSeen
from anyclaude.exchange import CLIENT_CLOSED_REQUEST
from anyclaude.gateway import Passing
from anyclaude.keeping import Keep, RawKeep
from anyclaude.ledger import Ledger
from anyclaude.record import Recorder
from anyclaude.records import RequestRecord, ToolCallRecord
from anyclaude.routing.dispatch import Handle
from anyclaude.tools.judge import judge_aside
from anyclaude.types import ToolDefinition, Usage

_EVENT_ENDS = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Relayable:
    """A request as the pipeline hands it over; ``tools`` are those that may be called.

    ``keep`` takes the answer down for the same request.
    """

    passing: Passing
    handle: Handle
    recorder: Recorder
    reason: str
    tools: Sequence[ToolDefinition]
    admission: Admission
    keep: Keep | None = None


class Relay:
    """Read its :meth:`body` to the end, or close that early.

    ``headers`` are upstream's as far as they may be passed back.
    """

    def __init__(self, request: Relayable, ledger: Ledger, ended: Callable[[str], None]) -> None:
        passing = request.passing
        self.id = request.recorder.id
        self.route_reason = request.reason
        self.admission = request.admission
        self.status = passing.relayed.status
        self.headers = passing.relayed.headers
        self._streams = passing.tap.streams
        self._passing = passing
        self._tap = passing.tap
        self._handle = request.handle
        self._recorder = request.recorder
        self._tools = request.tools
        self._ledger = ledger
        self._ended = ended
        self._interrupted: ApiError | None = None
        self._done = False
        keep = request.keep
        self._keep = RawKeep(keep, streams=self._streams) if keep is not None else None
        self.cache_note = f"key={keep.key}" if keep is not None else ""

    @property
    def so_far(self) -> RequestRecord:
        """The row as it stands now."""
        return self._recorder.so_far

    async def interrupt(self, error: ApiError) -> None:
        """Ends the answer with ``error``."""
        self._interrupted = self._interrupted or error
        await self._passing.relayed.close()

    @property
    def takes_events(self) -> bool:
        """Whether an event of ours may follow what was sent: not in a whole or a packed body."""
        return self._streams and self._tap.readable

    @property
    def is_here(self) -> bool:
        """Whether nothing is left to wait for: a body that is no stream, with all of its bytes."""
        return not self._streams and self._tap.finished

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come, of a stream as far as events are whole.

        The row is handed to the log before the last of them, but nobody waits for it: that would
        take longer than all the rest. Raises :class:`ApiError` when the answer breaks off, but not
        when only the connection does; closing it early closes upstream.
        """
        chunks = self._chunks()
        held, read = b"", False
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    if self._over and not self._done:
                        await self._finish()
                    if self._streams:
                        ready, held = self._whole_events(held + chunk)
                    else:
                        ready, held = held, chunk
                    if ready:
                        yield ready
            if not self._done:
                await self._finish()
            if held:
                yield held
            read = True
        except ApiError as error:
            if self._done:
                return
            await self._fail(self._interrupted or error)
            raise (self._interrupted or error) from error
        finally:
            if self._keep is not None and not read:
                self._keep.unread()
            if not self._done:
                self._done = True
                self._ledger.spawn(self._abandon())

    @property
    def _over(self) -> bool:
        return self._tap.ended or self._tap.error is not None

    def _whole_events(self, data: bytes) -> tuple[bytes, bytes]:
        """``data`` up to the end of its last event, and the rest: half an event can't be mended."""
        if data.endswith(b"\n\n") or not self._tap.readable:
            return data, b""
        end = max((match.end() for match in _EVENT_ENDS.finditer(data)), default=0)
        return data[:end], data[end:]

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        """Every chunk, watched; those that were read ahead were seen by the tap already."""
        tap = self._tap
        try:
            self._watch("")
            for chunk in self._passing.ahead:
                self._take(chunk)
                yield chunk
            async for chunk in self._passing.body:
                self._watch(tap.feed(chunk))
                self._take(chunk)
                yield chunk
            self._watch(tap.finish())
        finally:
            await self._passing.relayed.close()

    def _take(self, chunk: bytes) -> None:
        if self._keep is not None:
            self._keep.add(chunk)

    def _watch(self, text: str) -> None:
        tap, ledger = self._tap, self._ledger
        if tap.first_content_at is not None and self._recorder.first_token():
            usage = tap.usage
            self._handle.first_content(usage.input_tokens + usage.cache_creation_tokens)
            ledger.publish(FirstToken(self.id, self._recorder.ttft_ms))
        if text:
            ledger.recent.add_output(self.id, text)
            ledger.publish(OutputDelta(self.id, "text", text, tap.usage.output_tokens))

    # ------------------------------------------------------------------------------- endings

    async def _finish(self) -> None:
        """The row of an answer that is over, well or with an error of upstream's own.

        Raises UpstreamError for one that ended without its end.
        """
        tap = self._tap
        if tap.cut_off:
            raise faults.cut_off(self._passing.backend.name)
        self._done = True
        self._recorder.set(model=tap.model or self.admission.model)
        if tap.error is not None:
            error = faults.in_stream(self._passing.backend.name, tap.error.payload)
            await self._write_failure(error)
            return
        usage = tap.usage
        self._handle.finished(usage.prompt_tokens, usage.output_tokens)
        if self._keep is not None and tap.ended:
            self._keep.ended(self._recorder.elapsed_ms / 1000, usage)
        finish = Finish("stop", usage, decode_ms=self._decode_ms())
        record = self._recorder.finished(finish, tap.stop_reason or "")
        await self._write(record, await self._calls())

    async def _fail(self, error: ApiError) -> None:
        self._done = True
        await self._write_failure(error)

    async def _write_failure(self, error: ApiError) -> None:
        self._handle.failed(error)
        await self._write(self._recorder.refused(error), await self._calls())

    async def _abandon(self) -> None:
        """The client left, or the server is going down."""
        await self._passing.relayed.close()
        self._handle.client_gone()
        tokens = self._tap.usage.output_tokens
        record = self._recorder.failed(
            CLIENT_CLOSED_REQUEST, "network", self._ledger.why_left, tokens=tokens
        )
        await self._write(record, await self._calls())

    async def _calls(self) -> tuple[ToolCallRecord, ...]:
        """What the answer called, judged by the client's schemas; nothing is mended."""
        records = []
        for call in self._tap.calls:
            judged = await judge_aside(call.name, call.input_json or "{}", self._tools, mend=False)
            records.append(
                ToolCallRecord(
                    self.id,
                    call.id,
                    call.name,
                    judged.verdict,
                    judged.issues,
                    call.input_json,
                    call.input_json,
                )
            )
        return tuple(records)

    async def _write(self, record: RequestRecord, calls: Sequence[ToolCallRecord]) -> None:
        self._ended(self.id)
        self._ledger.recent.add_calls(self.id, tuple(calls))
        for call in calls:
            self._ledger.publish(ToolCallSeen(self._ledger.wall(), call))
        await self._ledger.finish_later(record, calls)

    def _decode_ms(self) -> float:
        since = self._tap.first_content_at
        if since is None or not self._streams:
            return 0.0
        return (self._ledger.clock() - since) * 1000


def admission_of(passing: Passing, model: str) -> Admission:
    """What is known of a relayed answer at its beginning."""
    usage = passing.tap.usage
    known = Usage(usage.input_tokens, usage.cache_read_tokens, usage.cache_creation_tokens)
    return Admission(
        backend=passing.backend.name,
        model=passing.tap.model or model,
        usage=known,
        tier=None,
        estimated=not passing.tap.started,
    )
