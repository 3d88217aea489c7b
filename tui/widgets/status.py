"""The top of the screen: header, vitals, the tab row of narrow layouts, and the banner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from anyclaude.events import EnginePhase, Vitals
from tui import format as f
from tui.keys import key_name
from tui.lines import fit
from tui.state import Store
from tui.troubles import Severity, Trouble
from tui.view import ListView

_STATES: dict[EnginePhase, tuple[str, str]] = {
    "unloaded": ("○", "$text-muted"),
    "loading": ("◐", "$accent"),
    "ready": ("●", "$success"),
    "failed": ("x", "$error"),
    "stopped": ("○", "$text-muted"),
}
_MARKS: dict[Severity, str] = {"error": "x", "warn": "!", "info": "‖"}
_SPARK = 8
_VITALS = 7
_SHORTEST_NAME = 6
"""Cells of the model's name that are worth more than what stands before it."""


class Row(Static):
    """One line of content that is only repainted when it has changed."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._shown: Content | None = None

    def show(self, content: Content) -> None:
        # Contents with the same text are equal whatever their styles.
        if self._shown is None or not content.is_same(self._shown):
            self._shown = content
            self.update(content, layout=False)


class Header(Row):
    """State, address, model, running and waiting, and how the list behaves."""

    def sync(self, store: Store, view: ListView, address: str, ending: bool) -> None:
        engine = store.engine
        mark, colour = _STATES[engine.phase]
        state: list[tuple[str, str]] = [(f"{mark} ", colour)]
        place: list[tuple[str, str]] = [(f"{_place(address)}  ", "$text-muted")] if address else []
        doing: list[tuple[str, str]] = []
        if engine.phase == "loading":
            doing = [(f"loading {100 * engine.progress:.0f}%  ", "$accent")]
        elif engine.phase != "ready":
            doing = [(f"{engine.phase}  ", colour)]
        after = [(f"  {store.running} run {store.waiting} wait", "")]
        after += [(f"  {word}", "bold $accent") for word in _modes(store, view, ending)]
        # What is after the model's name must stay in sight: our own name gives way to that, then
        # the address, then the model's name.
        name = f.short_model(engine.model)
        heads = (
            [(" anyclaude ", "bold"), *state, *place, *doing],
            [(" ", ""), *state, *place, *doing],
            [(" ", ""), *state, *doing],
        )
        width, least = self.size.width, min(cell_len(name), _SHORTEST_NAME)
        rooms = [(width - _cells([[*head, *after]]), head) for head in heads]
        room, before = next((pair for pair in rooms if pair[0] >= least), rooms[-1 if width else 0])
        if width and cell_len(name) > room:
            name = fit(name, max(1, room))
        self.show(Content.assemble(*before, (name, "$primary"), *after))


def _modes(store: Store, view: ListView, ending: bool) -> list[str]:
    words = ["PAUSED"] if store.vitals is not None and store.vitals.paused else []
    words += ["FROZEN"] if view.frozen else []
    if store.rows and view.follow and not view.frozen:
        words.append("FOLLOW")
    if view.errors_only:
        words.append("ERRORS")
    if view.filter:
        words.append("FILTER")
    return [*words, "STOPPING"] if ending else words


def _place(address: str) -> str:
    """``:8082`` for this machine, host and port for another."""
    parts = urlsplit(address)
    host = "" if parts.hostname in ("127.0.0.1", "::1", "localhost") else parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port is not None else host


class VitalsRow(Row):
    """Speeds, latencies, memory, and how busy the one MLX thread is."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._made_of: tuple[Vitals | None, int] | None = None

    def sync(self, store: Store) -> None:
        vitals = store.vitals
        # New figures come once a second, ticks ten times.
        before, self._made_of = self._made_of, (vitals, self.size.width)
        if before is not None and before[0] is vitals and before[1] == self.size.width:
            return
        if vitals is None:
            self.show(Content.styled(" no figures yet", "$text-muted"))
            return
        ttft = "-" if vitals.ttft_p50_ms is None else f.seconds(vitals.ttft_p50_ms)
        slow = "-" if vitals.ttft_p95_ms is None else f.seconds(vitals.ttft_p95_ms)
        memory = f"{f.gigabytes(vitals.memory_bytes)}/{f.gigabytes(vitals.memory_total_bytes)} GB"
        late = vitals.loop_lag_p99_ms
        history = f.spark(list(store.decode_history)[-_SPARK:]).rjust(_SPARK)
        label = "$text-muted"
        parts: list[list[tuple[str, str]]] = [
            [(" decode ", label), (f"{f.rate(vitals.decode_tps)} tok/s", "")],
            [(f" {history}", "$primary")],
            [("  prefill ", label), (f"{f.rate(vitals.prefill_tps)} tok/s", "")],
            [("  TTFT p50 ", label), (ttft, ""), (" p95 ", label), (slow, "")],
            [("  mem ", label), (memory, "")],
            [("  mlx busy ", label), (f"{100 * vitals.mlx_busy:.0f}%", "")],
            [("  lag ", label), (f"{late:.0f} ms", "$warning" if late >= 50 else "")],
        ]
        # Where room is short the little plot goes first, then figures from the right.
        while self.size.width and _cells(parts) > self.size.width and len(parts) > 1:
            del parts[1 if len(parts) == _VITALS else -1]
        self.show(Content.assemble(*(span for part in parts for span in part)))


def _cells(parts: list[list[tuple[str, str]]]) -> int:
    return sum(len(text) for part in parts for text, _ in part)


class PaneTabs(Row):
    """The panes by number where there is room for one of them at a time."""

    class Picked(Message):
        """Someone clicked a pane's name."""

        def __init__(self, pane: int) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._ends: list[tuple[int, int]] = []

    def sync(self, store: Store, current: int) -> None:
        tiers = store.vitals.tiers if store.vitals else ()
        hits = sum(t.hits for t in tiers)
        share = f.percent(hits, hits + sum(t.misses for t in tiers))
        requests, events = f.count(store.requests_total), len(store.events)
        bad = f.count(store.tool_calls_bad)
        wordings = (
            (f"1 Requests {requests}", f"2 Cache {share}", f"3 Errors {bad}", f"4 Events {events}"),
            (f"1 Req {requests}", f"2 Hit {share}", f"3 Err {bad}", f"4 Ev {events}"),
            ("1 Req", f"2 {share}", f"3 Err {bad}", "4 Ev"),
        )
        room = self.size.width
        fitting = (names for names in wordings if sum(map(len, names)) + 3 * len(names) <= room + 1)
        names = next(fitting, wordings[-1 if room else 0])
        parts: list[tuple[str, str]] = []
        self._ends = []
        at = 0
        for number, name in enumerate(names, 1):
            if parts:
                parts.append((" ", ""))
                at += 1
            text = f" {name} "
            parts.append((text, "bold $accent underline" if number == current else "$text-muted"))
            at += len(text)
            self._ends.append((at, number))
        self.show(Content.assemble(*parts))

    def places(self) -> Iterator[tuple[int, int]]:
        """Each pane's number and the cell where its name begins."""
        at = 0
        for end, number in self._ends:
            yield number, at
            at = end + 1

    def on_click(self, event: Click) -> None:
        for end, number in self._ends:
            if event.x < end:
                self.post_message(self.Picked(number))
                return


class Banner(Static):
    """What is wrong right now, with the keys that mend it; absent when all is well."""

    def __init__(self, keys: Mapping[str, str], *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._keys = keys
        self._troubles: tuple[Trouble, ...] = ()

    def sync(self, store: Store) -> None:
        troubles = store.watch.troubles(store.waiting)
        if troubles == self._troubles:
            return
        self._troubles = troubles
        self.display = bool(troubles)
        if troubles:
            for severity in _MARKS:
                self.set_class(troubles[0].severity == severity, f"-{severity}")
            self.update(Content("\n").join(self._row(trouble) for trouble in troubles))

    def _row(self, trouble: Trouble) -> Content:
        parts: list[tuple[str, str | Style]] = [
            (f" {_MARKS[trouble.severity]} ", ""),
            (trouble.title, "bold"),
        ]
        for number, remedy in enumerate(trouble.remedies):
            key = self._keys[remedy.binding]
            press = Style.from_meta({"@click": f"app.simulate_key({key!r})"})
            parts += [
                (", " if number else " ", ""),
                (key_name(key), Style(bold=True, underline=True) + press),
                (f" {remedy.text}", press),
            ]
        parts.append((f"{'.' if trouble.remedies else ''}  {f.one_line(trouble.why)}", ""))
        return Content.assemble(*parts)
