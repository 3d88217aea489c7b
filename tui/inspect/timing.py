"""Timing: where the time went, each phase as a bar in its place along the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tui import format as f
from tui.inspect.subject import Subject
from tui.lines import Line, Span, Tone, labelled, meter
from tui.request_row import Phase, RequestRow

_SHOWN_MS = 1.0  # what is shorter and isn't measured by itself is left out


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase: its name, what it is for, and its milliseconds."""

    name: str
    note: str
    ms: float
    tone: Tone


def timing_lines(subject: Subject) -> list[Line]:
    """The phases, then what came of them: speeds, what was saved and what was lost."""
    row, now = subject.row, subject.moment.now
    total = row.elapsed_ms(now)
    lines = _bars(tuple(stretches(row, now)), total, subject.width)
    lines += _progress(row, subject.width)
    if row.ttft_ms is not None:
        lines += [Line(), labelled("TTFT", f"{f.seconds(row.ttft_ms):>8}")]
    return [*lines, *_speeds(row, now), *_lost(row)]


def stretches(row: RequestRow, now: float) -> Iterator[Stretch]:
    """The phases that the request is known to have had, in their order.

    What is left between the measured ones is named when it is more than nothing: before the
    queue a request is read, rendered and looked up in the caches, at its end it is logged.
    """
    record, ttft = row.record, row.ttft_ms
    if record is None:
        yield from _so_far(row, row.elapsed_ms(now))
        return
    queue, prefill, decode = record.queue_ms, record.prefill_ms, record.decode_ms
    measured = queue > 0 or prefill > 0
    if ttft is None or not measured:
        if ttft is not None:
            yield Stretch("to token 1", "waiting and reading the prompt", ttft, "warn")
            yield Stretch("after it", "writing, until it ended", record.duration_ms - ttft, "run")
        return
    searched = sum(made.search.ms for made in row.searches if made.inserted)
    lookup, rest = ttft - queue - prefill - searched, record.duration_ms - ttft - decode
    if searched >= _SHOWN_MS:
        yield Stretch("search", "searching the web for the newest turn", searched, "accent")
    if lookup >= _SHOWN_MS:
        yield Stretch("lookup", "rendering, and looking in the caches", lookup, "accent")
    if queue > 0:
        yield Stretch("queue", "waiting for the model", queue, "muted")
    if prefill > 0:
        yield Stretch("prefill", "reading the prompt", prefill, "warn")
    if decode > 0:
        yield Stretch("decode", "writing the answer", decode, "run")
    if rest >= _SHOWN_MS:
        yield Stretch("rest", "ending and logging it", rest, "muted")


def _so_far(row: RequestRow, total: float) -> Iterator[Stretch]:
    """Of a running request only what has been told: when its first token came."""
    if row.phase is Phase.QUEUED:
        yield Stretch("waiting", "for the model, so far", total, "muted")
    elif row.ttft_ms is None:
        yield Stretch("to token 1", "waiting and reading the prompt, so far", total, "warn")
    else:
        yield Stretch("to token 1", "waiting and reading the prompt", row.ttft_ms, "warn")
        yield Stretch("decode", "writing the answer, so far", total - row.ttft_ms, "run")


def _bars(phases: tuple[Stretch, ...], total: float, width: int) -> list[Line]:
    notes = max((len(phase.note) for phase in phases), default=0) if width >= 90 else 0
    room = max(8, width - 27 - (notes + 2 if notes else 0))
    lines: list[Line] = []
    start = 0.0
    for phase in phases:
        ms = max(0.0, phase.ms)
        before = round(min(1.0, start / total) * room) if total > 0 else 0
        before = min(before, room - 1)
        cells = min(max(1, round(ms / total * room)), room - before) if total > 0 else 1
        share: Span = (f"{f.percent(ms, total):>5}  ", "muted")
        bar: Span = (" " * before + "█" * cells, phase.tone)
        spans: list[Span | str] = [f"{f.seconds(ms):>8}", share, bar]
        if notes:
            spans.append((" " * (room - before - cells) + f"  {phase.note}", "muted"))
        lines.append(labelled(phase.name, *spans))
        start += ms
    lines.append(labelled("total", (f"{f.seconds(total):>8}", "strong")))
    return lines


def _progress(row: RequestRow, width: int) -> list[Line]:
    """How far the prompt is read, while it is."""
    if not row.active or row.ttft_ms is not None or not row.prompt_tokens or not row.prefill_done:
        return []
    bar = meter(row.prefill_done / row.prompt_tokens, max(8, min(40, width - 40)))
    read = f"  {row.prefill_done:,} of {row.prompt_tokens:,} tokens"
    return [Line(), labelled("read", *bar, read)]


def _speeds(row: RequestRow, now: float) -> list[Line]:
    record = row.record
    lines: list[Line] = []
    if record is not None and record.prefill_ms > 0 and row.prompt_tokens:
        new = row.prompt_tokens - row.cache_read_tokens
        speed = f"{f.rate(new * 1000 / record.prefill_ms):>8} tok/s"
        lines.append(labelled("prefill", speed, (f"  {new:,} tokens", "muted")))
    pace = row.tokens_per_second(now)
    if pace is not None:
        size: Span = (f"  {row.output_tokens:,} tokens", "muted")
        lines.append(labelled("decode", f"{f.rate(pace):>8} tok/s", size))
    if record is not None and record.tokens_reused:
        saved = f"{f.seconds(record.time_saved_ms):>8} by {record.tokens_reused:,} reused tokens"
        lines.append(labelled("saved", (saved, "ok")))
    return lines


def _lost(row: RequestRow) -> list[Line]:
    """What a broken prefix cost, since it is a part of the prefill."""
    if not row.miss.tokens or not row.miss.ms:
        return []
    cause = row.miss.cause.replace("_", " ")
    text = f"{f.seconds(row.miss.ms):>8} by {row.miss.tokens:,} tokens read again: {cause}"
    return [labelled("lost", (text, "warn"))]
