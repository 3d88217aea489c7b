"""What the banner says: which troubles there are, and when they are over."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from anyclaude.events import Bus, EngineState, SystemEvent, SystemKind, TierStats
from anyclaude.routing.breaker import Breaker, BreakerOptions
from anyclaude.upstreams import _tell
from tests.routing.routing_kit import HandClock
from tests.tui.fake_source import NOON, vitals
from tui.troubles import Watch

DISK = TierStats("kv-disk", True, entries=57, bytes=18_000_000)
FULL = "/data/kv can't be written (No space left on device); the disk cache tries again"


def _watch(*events: object) -> Watch:
    watch = Watch()
    for event in events:
        watch.apply(event)  # type: ignore[arg-type]
    return watch


def _said(
    kind: SystemKind, message: str, level: Literal["info", "warning", "error"] = "error"
) -> SystemEvent:
    return SystemEvent(NOON, level, kind, message)


def _titles(watch: Watch) -> list[str]:
    return [trouble.title for trouble in watch.troubles()]


def test_nothing_is_wrong_at_first() -> None:
    assert _titles(_watch(EngineState("ready", "m"), vitals())) == []
    assert _titles(_watch(EngineState("unloaded"))) == []


def test_a_failed_engine_is_restarted_and_a_missing_model_replaced() -> None:
    (dead,) = _watch(EngineState("failed", "m", 0.0, "the MLX thread died: x")).troubles()
    assert [remedy.binding for remedy in dead.remedies] == ["engine.restart", "engine.models"]
    (missing,) = _watch(EngineState("failed", "m", 0.0, "loading m failed: no such")).troubles()
    assert missing.title == "The model is not loaded."
    assert [remedy.binding for remedy in missing.remedies] == ["engine.models", "engine.restart"]
    (off,) = _watch(EngineState("unloaded", "", 0.0, "model.default is off")).troubles()
    assert (off.severity, off.remedies[0].binding) == ("warn", "engine.models")


def test_the_log_is_in_trouble_until_it_says_otherwise() -> None:
    full = _said("log", "the log database x can't be written: disk full; rows are kept")
    slow = _said("log", "the log database x doesn't answer; rows are kept in memory")
    for said, over in (
        (full, _said("log", "the log database x can be written again", "info")),
        (slow, _said("log", "the log database x answers again", "info")),
        (full, _said("log", "the log database x can be written again; 3 rows … lost", "warning")),
    ):
        assert _titles(_watch(said)) == ["The log is not written."]
        assert _titles(_watch(said, over)) == []
    row = _said("log", "the row of request r was refused by the log database and is lost: odd")
    assert _titles(_watch(row)) == [] and _titles(_watch(full, row)) == ["The log is not written."]


def test_the_disk_cache_rests_until_it_grows_or_is_flushed() -> None:
    before = vitals(tiers=(DISK,))
    watch = _watch(before, _said("cache", FULL), before)
    (trouble,) = watch.troubles()
    assert trouble.title == "The disk cache rests." and "No space left" in trouble.why
    assert trouble.remedies[0].binding == "cache.flush"
    watch.apply(vitals(tiers=(replace(DISK, bytes=DISK.bytes - 5),)))
    assert _titles(watch) == ["The disk cache rests."]
    watch.apply(vitals(tiers=(DISK,)))
    assert _titles(watch) == []
    assert _titles(_watch(before, _said("cache", FULL), _said("flush", "x", "info"))) == []


def test_a_lost_server_hides_what_it_last_said_of_its_engine() -> None:
    watch = _watch(EngineState("failed", "m"), _said("server", "Lost http://x; trying again"))
    assert _titles(watch) == ["The server is gone."]
    watch.apply(_said("server", "Connected to http://x again", "info"))
    assert _titles(watch) == ["The engine failed."]


def test_a_backend_is_out_of_service_until_its_breaker_closes() -> None:
    def breaker(name: str, change: str, why: str = "5 failures in a row") -> SystemEvent:
        return _said("breaker", f"{name}: {change}, {why}", "warning")

    watch = _watch(breaker("studio: 2", "closed to open", "refused: to closed to open, twice"))
    (lost,) = watch.troubles()
    assert lost.title == "The backend studio: 2 is out of service."
    assert lost.why == "refused: to closed to open, twice"
    assert (lost.severity, lost.remedies[0].binding) == ("warn", "room.backends")
    watch.apply(breaker("anthropic", "closed to open"))
    (both,) = watch.troubles()
    assert both.title == "2 backends are out of service."
    assert both.why == "anthropic: 5 failures in a row"
    for change in ("open to half-open", "half-open to open", "open to half-open"):
        watch.apply(breaker("studio: 2", change, "tried"))
        assert _titles(watch) == ["2 backends are out of service."]
    assert watch.troubles()[0].why == "studio: 2: tried"
    watch.apply(breaker("studio: 2", "half-open to closed", "2 probes answered"))
    assert _titles(watch) == ["The backend anthropic is out of service."]
    watch.apply(_said("breaker", "something else", "info"))
    watch.apply(breaker("anthropic", "open to closed", "reset by hand"))
    assert _titles(watch) == []


def test_the_routing_says_it_in_these_words() -> None:
    watch, bus, clock = Watch(), Bus(), HandClock()
    heard = bus.subscribe()
    breaker = Breaker("studio", BreakerOptions(successes=1), clock, lambda e: _tell(e, bus, NOON))
    titles = []
    for step in (breaker.trip, lambda: breaker.half_open("tried"), breaker.reset):
        step()
        for event in heard.drain():
            watch.apply(event)
        titles.append(_titles(watch))
    lost = ["The backend studio is out of service."]
    assert titles == [lost, lost, []]


def test_a_pause_says_how_many_wait_and_comes_last() -> None:
    watch = _watch(EngineState("failed", "m"), vitals(paused=True))
    assert _titles(watch) == ["The engine failed.", "Admission is paused."]
    assert [watch.troubles(n)[-1].why for n in (0, 1, 3)] == [
        "New requests will wait.",
        "1 request waits.",
        "3 requests wait.",
    ]
    watch.apply(vitals())
    assert _titles(watch) == ["The engine failed."]
