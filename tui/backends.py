"""Backends as lines: a table of them, and all that is known of one."""

from __future__ import annotations

from collections.abc import Sequence

from anyclaude.control import BackendInfo, SlotTarget
from anyclaude.events import EngineState, Vitals
from tui import format as f
from tui.lines import Line, Span, Tone, fit, line, meter

_LOCAL = "mlx"
_LABEL = 13
_MOST = 200
"""Models of one backend that are offered: a hub may list thousands."""


def health(backend: BackendInfo, engine: EngineState) -> tuple[str, str, Tone]:
    """A mark, a word and a tone; a local engine that loads is neither well nor ill."""
    if backend.breaker == "open":
        return "x", "open", "error"
    if backend.breaker == "half-open":
        return "◐", "trying", "warn"
    if backend.healthy:
        return "●", "healthy", "ok"
    if backend.type == _LOCAL and engine.phase in ("loading", "unloaded", "stopped"):
        return ("◐", "loading", "run") if engine.phase == "loading" else ("○", "idle", "muted")
    return "x", "failed" if backend.type == _LOCAL else "down", "error"


def heading(width: int) -> Line:
    """The names of the columns."""
    name, model, detail = _room(width)
    parts = [f" {'':<9}", fit("NAME", name), "RUN", "LATENCY"]
    parts += [fit("MODEL", model)] if model else []
    parts += [fit("DETAIL", detail)] if detail else []
    return Line(((fit(" ".join(parts), width), "muted"),))


def row(backend: BackendInfo, engine: EngineState, width: int) -> Line:
    """One backend in ``width`` cells."""
    mark, word, tone = health(backend, engine)
    name, model, detail = _room(width)
    latency = "-" if backend.latency_ms is None else f.seconds(backend.latency_ms)
    spans: list[Span | str] = [
        (f" {mark} ", tone),
        (f"{word:<7} ", tone),
        (fit(f.one_line(backend.name), name), "strong"),
        f" {f.count(backend.in_flight):>3} {latency:>7}",
    ]
    if model:
        spans.append((f" {fit(_model(backend, engine), model)}", "run"))
    if detail:
        spans.append((f" {fit(f.one_line(backend.detail), detail)}", "muted"))
    return line(*spans)


def _room(width: int) -> tuple[int, int, int]:
    """Cells of name, model and detail: detail goes first, then the model."""
    rest = width - 10 - 13
    if rest >= 60:
        name, model = 14, 30
        return name, model, rest - name - model - 2
    if rest >= 28:
        return 10, rest - 11, 0
    return max(4, rest), 0, 0


def _model(backend: BackendInfo, engine: EngineState) -> str:
    if backend.type == _LOCAL:
        return f.short_model(engine.model) or "-"
    names = [f.short_model(name) for name in backend.models]
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else "-"


def title(backend: BackendInfo) -> str:
    return f.one_line(backend.name)


def facts(backend: BackendInfo, engine: EngineState, vitals: Vitals | None) -> list[Line]:
    """All that is known of one backend, and which key helps where it is not well."""
    mark, word, tone = health(backend, engine)
    local = backend.type == _LOCAL
    latency: Span = ("no request has ended yet", "muted")
    if backend.latency_ms is not None:
        latency = (f.seconds(backend.latency_ms), "text")
    lines = [
        _field("health", (f"{mark} {word}", tone)),
        _field("kind", "the model in this process" if local else f.one_line(backend.type)),
        _field("in flight", f"{backend.in_flight}{_waiting(backend)}"),
        _field("first token", latency, ("  median" if backend.latency_ms else "", "muted")),
    ]
    if local:
        lines += _engine(engine)
        if vitals is not None:
            lines += _load(vitals)
    else:
        lines += _elsewhere(backend)
    if backend.detail and backend.detail != engine.phase:
        how: Tone = tone if tone == "error" else "text"
        lines.append(_field("detail", (f.clean(backend.detail), how)))
    return [*lines, *_remedy(word, local)]


def slots(given: Sequence[SlotTarget]) -> list[tuple[str, Line]]:
    """Claude Code's slots, and where each goes."""
    return [(one.slot, _field(f.one_line(one.slot), _goes(one.target))) for one in given]


def targets(found: Sequence[BackendInfo], given: str) -> list[tuple[str, Line]]:
    """Where a slot may go: an empty name is where the routes say; ``given`` is marked."""
    names = [""]
    for backend in found:
        names.append(backend.name)
        if backend.type != _LOCAL:
            names += [f"{backend.name}/{model}" for model in backend.models[:_MOST]]
    return [(name, line((" ● " if name == given else "   ", "ok"), _goes(name))) for name in names]


def _goes(target: str) -> Span:
    return (f.one_line(target), "run") if target else ("where the routes say", "muted")


def _waiting(backend: BackendInfo) -> str:
    return f", {backend.waiting} waiting" if backend.waiting else ""


def _elsewhere(backend: BackendInfo) -> list[Line]:
    """Where it is, whether its breaker lets requests through, and what it serves."""
    lines = [_field("address", f.one_line(backend.address))] if backend.address else []
    if backend.breaker:
        lines.append(_field("breaker", *_breaker(backend)))
    if backend.error_ratio:
        lines.append(_field("errors", f"{100 * backend.error_ratio:.0f}% of the last minute's"))
    if backend.models:
        lines.append(_field("models", ", ".join(f.one_line(name) for name in backend.models)))
    return lines


def _breaker(backend: BackendInfo) -> list[Span]:
    match backend.breaker:
        case "open" if backend.open_for_s is None:
            return [("open", "error"), (" until it is reset", "text")]
        case "open":
            return [("open", "error"), (f" for another {f.span(backend.open_for_s or 0)}", "text")]
        case "half-open":
            return [("half-open", "warn"), (": the next answers decide", "text")]
        case state:
            return [(f.one_line(state), "ok")]


def _engine(engine: EngineState) -> list[Line]:
    limit = f"  {engine.context_limit:,} tokens of context" if engine.context_limit else ""
    lines = [_field("model", (engine.model or "none", "strong"), (limit, "muted"))]
    if engine.phase == "loading":
        lines.append(_field("load", *meter(engine.progress, 24), f" {100 * engine.progress:.0f}%"))
    return lines


def _load(vitals: Vitals) -> list[Line]:
    memory = f"{f.size(vitals.mlx_active_bytes)} of {f.size(vitals.memory_total_bytes)}"
    return [
        _field("now", f"{vitals.running} running, {vitals.waiting} waiting"),
        _field(
            "speed",
            f"{f.rate(vitals.decode_tps)} tok/s decode, {f.rate(vitals.prefill_tps)} tok/s prefill",
        ),
        _field("memory", *meter(_share(vitals), 24), f" {memory}"),
        _field("busy", *meter(vitals.mlx_busy, 24), f" {100 * vitals.mlx_busy:.0f}%"),
    ]


def _share(vitals: Vitals) -> float:
    return vitals.mlx_active_bytes / max(1, vitals.memory_total_bytes)


def _remedy(word: str, local: bool) -> list[Line]:
    if word == "open":
        return [Line(), line(("   e", "accent"), " closes the breaker now", hang=3)]
    if not local or word in ("healthy", "loading"):
        return []
    keys: list[Span | str] = [("   m", "accent"), " picks a model to load"]
    if word == "failed":
        keys = [("   R", "accent"), " starts the engine again, ", ("m", "accent"), " picks a model"]
    return [Line(), line(*keys, hang=3)]


def empty_lines() -> list[Line]:
    return [
        Line(),
        line((" There is no backend.", "strong"), hang=1),
        Line(),
        line(
            " A backend answers requests: the model in this process is one. ",
            ("m", "accent"),
            " picks a model to load.",
            hang=1,
        ),
    ]


def problem_lines(problem: str) -> list[Line]:
    """Why nothing is known, and what to do."""
    return [
        Line(),
        line((" x ", "error"), ("The backends are not known: ", "strong"), problem, hang=3),
        Line(),
        line((" ctrl+r", "accent"), " asks again; ", ("esc", "accent"), " leaves", hang=1),
    ]


def _field(label: str, *spans: Span | str) -> Line:
    return line((f" {label:<{_LABEL - 1}}", "muted"), *spans, hang=_LABEL)
