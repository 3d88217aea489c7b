"""The memory guard's policy on a simulated machine: levels, resets, admission, events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from anyclaude.config.model_shape import ModelShape
from anyclaude.config.settings import MemorySettings
from anyclaude.engine.footprint import Reading
from anyclaude.engine.memory import (
    CHECK_SECONDS,
    DECODE_TOKENS,
    FUTILE_SECONDS,
    MemoryGuard,
)
from anyclaude.engine.memory_policy import (
    GIB,
    MIB,
    Freed,
    Holdings,
    Need,
    Relief,
    ResetRules,
    memory_limits,
    room,
)
from anyclaude.engine.row_size import RowSize
from anyclaude.errors import Overloaded, PromptTooLong, Unavailable

MB_A_TOKEN = ModelShape(per_token=MIB // 2)
LIMITS = memory_limits(MemorySettings(limit_gb=100), 200 * GIB)
CHUNK = 512


@dataclass
class Machine:
    """A process of ``other`` bytes beside what it holds, with a clock that stands still."""

    held: Holdings = field(default_factory=Holdings)
    other: int = 10 * GIB
    available: int = 150 * GIB
    critical: bool = False
    leased: int = 0
    slack: int = 0
    now: float = 0.0
    probes: int = 0
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def probe(self) -> Reading:
        self.probes += 1
        mlx = self.held.active + self.held.buffers
        return Reading(self.other + self.slack + mlx, 200 * GIB, self.available, self.critical)

    def look(self) -> Holdings:
        return self.held

    def report(self, level: str, kind: str, text: str) -> None:
        self.events.append((level, kind, text))

    def hold(self, **sizes: int) -> None:
        self.held = replace(self.held, **sizes)

    def store(self, nbytes: int, kept: int = 0) -> None:
        """KV in the tree, which MLX counts too."""
        active = self.held.active - self.held.tree + nbytes
        self.hold(active=active, tree=nbytes, kept=kept, tree_tokens=nbytes // MIB)

    def carry_out(self, relief: Relief) -> Freed:
        """What the worker would do; leased bytes can't go."""
        tree = self.held.tree
        if relief.reset:
            self.store(min(tree, self.leased))
        elif relief.evict_to is not None:
            keep = max(relief.evict_to, self.leased, self.held.kept)
            self.store(min(tree, keep), self.held.kept)
        buffers = self.held.buffers if relief.clear_buffers else 0
        if relief.clear_buffers:
            self.hold(buffers=0)
        if relief.give_back or relief.clear_buffers:
            self.slack = 0
        shed = "req_young" if relief.shed else ""
        if shed:
            self.hold(running=self.held.running - 1)
        return Freed(tree - self.held.tree, buffers, shed)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def guard_of(machine: Machine, **options: object) -> MemoryGuard:
    guard = MemoryGuard(
        LIMITS,
        machine.probe,
        machine.report,
        max_rows=8,
        clock=lambda: machine.now,
        **options,  # type: ignore[arg-type]
    )
    guard.model_loaded(RowSize(MB_A_TOKEN, 2), CHUNK, machine.look)
    return guard


def relieve(guard: MemoryGuard, machine: Machine) -> Relief | None:
    """One forced check, carried out and reported."""
    relief = guard.check(machine.look, force=True)
    if relief is not None:
        guard.done(relief, machine.carry_out(relief))
    return relief


# --------------------------------------------------------------------------------- the limits


@pytest.mark.parametrize(
    ("total", "working_set", "expected"),
    [
        (8, 0, 6), (16, 0, 14), (128, 0, 112), (2, 0, 1.5),
        (16, 10.67, 10.67), (64, 48, 48), (64, 63, 56),
    ],
)  # fmt: skip
def test_the_limit_leaves_the_system_room(
    total: float, working_set: float, expected: float
) -> None:
    limits = memory_limits(MemorySettings(), int(total * GIB), int(working_set * GIB))
    assert limits.footprint == int(expected * GIB)
    assert limits.buffers == min(4 * GIB, limits.footprint // 16)
    assert limits.wired == 0
    assert 0 < limits.hard_free < limits.soft_free <= total * GIB / 8


def test_the_configuration_decides() -> None:
    settings = MemorySettings(limit_gb=20, buffer_cache_gb=0.5, wired_gb=12)
    limits = memory_limits(settings, 64 * GIB, 48 * GIB)
    assert limits.footprint == 20 * GIB
    assert limits.buffers == GIB // 2
    assert limits.wired == 12 * GIB
    assert memory_limits(settings, 8 * GIB).footprint == 8 * GIB


# --------------------------------------------------------------------------------- the levels


def test_with_plenty_nothing_happens(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(50 * GIB)
    assert relieve(guard, machine) is None
    assert (guard.rows, guard.view.level, machine.events) == (8, "normal", [])


def test_it_looks_only_so_often(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(85 * GIB)
    before = machine.probes
    assert guard.check(machine.look) is not None
    machine.now += CHECK_SECONDS / 2
    assert guard.check(machine.look) is None
    assert machine.probes == before + 1
    machine.now += CHECK_SECONDS / 2
    assert guard.check(machine.look) is not None


def test_soft_pressure_frees_just_enough(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(80 * GIB)
    machine.hold(buffers=2 * GIB)  # 92 of 100 GB.
    relief = guard.check(machine.look, force=True)
    assert relief is not None
    assert (relief.level, relief.reset, relief.clear_buffers) == ("soft", False, True)
    assert relief.evict_to == 70 * GIB  # 12 GB too much for 80: 2 of buffers, 10 of the tree.
    assert guard.rows == 4
    guard.done(relief, machine.carry_out(relief))
    assert machine.events == [
        (
            "info",
            "memory",
            "memory is tight: process 92.0 GB of 100.0 GB, 150.0 GB free on the machine; "
            "evicted 10.0 GB of the prefix cache, cleared 2.0 GB of MLX's buffers; "
            "now process 80.0 GB of 100.0 GB, 150.0 GB free on the machine, 4 rows at once",
        )
    ]
    assert relieve(guard, machine) is None
    assert (guard.view.level, guard.rows) == ("normal", 8)
    assert machine.events[1][2].startswith("memory is plentiful again")


def test_buffers_go_before_the_cache(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(70 * GIB)
    machine.hold(buffers=12 * GIB)
    relief = relieve(guard, machine)
    assert relief is not None
    assert (relief.clear_buffers, relief.evict_to) == (True, None)
    assert machine.held.tree == 70 * GIB


def test_few_buffers_are_left_alone_when_they_are_all_there_is(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 90 * GIB
    machine.hold(buffers=MIB)
    assert relieve(guard, machine) is None
    assert machine.events == [
        (
            "info",
            "memory",
            "memory is tight: process 90.0 GB of 100.0 GB, 150.0 GB free on the machine; "
            "4 rows at once from now on",
        )
    ]


def test_others_can_press_too(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(20 * GIB)
    machine.available = LIMITS.soft_free - GIB
    relief = relieve(guard, machine)
    assert relief is not None
    assert relief.level == "soft"
    assert relief.evict_to == 20 * GIB - (int(LIMITS.soft_free * 1.35) - machine.available)


def test_a_level_ends_later_than_it_begins(machine: Machine) -> None:
    guard = guard_of(machine)
    levels = []
    for footprint in (87, 88, 87, 83, 81, 96, 93, 91, 81):
        machine.other = footprint * GIB
        guard.check(machine.look, force=True)
        levels.append(guard.view.level)
    assert levels == [
        "normal", "soft", "soft", "soft", "normal", "hard", "hard", "soft", "normal",
    ]  # fmt: skip


def test_hard_pressure_empties_the_cache_pins_and_all(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 90 * GIB
    machine.store(8 * GIB, kept=6 * GIB)
    relief = relieve(guard, machine)
    assert relief is not None
    assert (relief.level, relief.reset) == ("hard", True)
    assert guard.rows == 1
    [(level, kind, text)] = machine.events
    assert (level, kind) == ("warning", "reset")
    assert "emptied the prefix cache (8.0 GB)" in text and "1 rows" in text


def test_hard_pressure_spares_the_pins_when_the_rest_is_enough(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 10 * GIB
    machine.store(87 * GIB, kept=6 * GIB)
    relief = relieve(guard, machine)
    assert relief is not None
    assert (relief.level, relief.reset, relief.evict_to) == ("hard", False, 70 * GIB)


def test_the_kernels_alarm_is_hard_pressure(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(30 * GIB)
    machine.critical = True
    relief = relieve(guard, machine)
    assert relief is not None
    assert relief.level == "hard" and relief.evict_to == 30 * GIB - LIMITS.footprint // 16
    assert guard.admit(Need("r", 10, 0, CHUNK), machine.look).kind == "relieve"
    assert room(machine.probe(), LIMITS) == 0


def test_what_brings_nothing_is_not_repeated_at_once(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 80 * GIB
    machine.store(10 * GIB)
    machine.leased = 10 * GIB
    assert relieve(guard, machine) is not None
    told = len(machine.events)
    machine.now += CHECK_SECONDS
    assert guard.check(machine.look) is None
    machine.now += FUTILE_SECONDS
    relief = guard.check(machine.look)
    assert relief is not None
    guard.done(relief, machine.carry_out(relief))
    assert len(machine.events) == told == 1


def test_the_last_resort_is_the_youngest_row_but_never_the_only_one(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 95 * GIB
    machine.store(6 * GIB)
    machine.leased = 6 * GIB
    machine.hold(running=2)
    first = relieve(guard, machine)
    assert first is not None and first.reset and not first.shed
    second = relieve(guard, machine)
    assert second is not None and second.shed and not second.reset
    assert machine.events[-1][0] == "warning"
    assert "ended request req_young" in machine.events[-1][2]
    third = relieve(guard, machine)
    assert machine.held.running == 1
    assert third is None or not third.shed


# ------------------------------------------------------------------ what the C library keeps


def test_freed_memory_that_is_kept_goes_back_when_it_is_more_than_buffers_may_be(
    machine: Machine,
) -> None:
    guard = guard_of(machine, gives_back=True)
    machine.slack = LIMITS.buffers
    assert relieve(guard, machine) is None, "so much is worth keeping for the next prompt"
    machine.slack += 600 * MIB
    relief = relieve(guard, machine)
    assert relief == Relief("normal", "4.6 GB were freed and are kept for later", give_back=True)
    assert machine.events == [
        (
            "info",
            "memory",
            "4.6 GB were freed and are kept for later; gave 4.6 GB back to the system; now "
            "process 10.0 GB of 100.0 GB, 150.0 GB free on the machine, 8 rows at once",
        )
    ]
    assert relieve(guard, machine) is None


def test_what_does_not_go_back_is_asked_for_once(machine: Machine) -> None:
    guard = guard_of(machine, gives_back=True)
    machine.other += 5 * GIB  # In use, by whoever it is.
    assert relieve(guard, machine) is not None
    assert machine.events == [], "nothing came of it"
    assert relieve(guard, machine) is None
    machine.slack = 5 * GIB
    assert relieve(guard, machine) is not None
    assert len(machine.events) == 1


def test_kept_memory_is_no_business_of_ours_where_it_can_not_be_asked_for(
    machine: Machine,
) -> None:
    guard = guard_of(machine)
    machine.slack = 20 * GIB
    assert relieve(guard, machine) is None


# --------------------------------------------------------------------------------- the resets


def test_a_reset_after_so_many_requests(machine: Machine) -> None:
    guard = guard_of(machine, resets=ResetRules(after_requests=3))
    machine.store(GIB)
    for _ in range(2):
        guard.request_finished(1000, 0)
    assert relieve(guard, machine) is None
    guard.request_finished(1000, 0)
    assert relieve(guard, machine) == Relief(
        "normal",
        "3 requests since the last reset (cache.reset_after_requests = 3)",
        reset=True,
        clear_buffers=True,
    )
    assert machine.events[0][:2] == ("info", "reset")
    assert "emptied the prefix cache (1.0 GB)" in machine.events[0][2]
    assert relieve(guard, machine) is None


def test_a_reset_waits_for_a_quiet_moment_but_not_for_ever(machine: Machine) -> None:
    guard = guard_of(machine, resets=ResetRules(after_requests=3))
    machine.hold(running=1)
    for _ in range(5):
        guard.request_finished(1000, 0)
        assert relieve(guard, machine) is None
    guard.request_finished(1000, 0)
    assert relieve(guard, machine) is not None


def test_a_flush_by_hand_counts_as_a_reset(machine: Machine) -> None:
    guard = guard_of(machine, resets=ResetRules(after_requests=2))
    guard.request_finished(1000, 0)
    guard.cache_emptied()
    guard.request_finished(1000, 0)
    assert relieve(guard, machine) is None


def test_a_reset_over_so_many_tokens(machine: Machine) -> None:
    guard = guard_of(machine, resets=ResetRules(over_tokens=2000))
    machine.store(2001 * MIB)
    machine.leased = 2001 * MIB
    guard.request_finished(2001, 0)
    relief = relieve(guard, machine)
    assert relief is not None and relief.reset
    assert relief.reason == "2001 tokens are cached (cache.reset_over_tokens = 2000)"
    assert relieve(guard, machine) is None  # All in use: not again before the next request.


# ------------------------------------------------------------------------- before a prefill


def prompt(tokens: int, reused: int = 0) -> Need:
    return Need("req_1", tokens, reused, CHUNK)


def test_a_prompt_that_fits_may_start(machine: Machine) -> None:
    guard = guard_of(machine)
    fitting = 86 * 1024 - DECODE_TOKENS  # A MB each: to the 96 GB where hard pressure begins.
    assert guard.admit(prompt(fitting), machine.look).kind == "go"
    assert guard.longest_prompt == fitting
    guard.preflight(fitting)


def test_a_prompt_that_never_fits_makes_the_client_compact(machine: Machine) -> None:
    guard = guard_of(machine)
    longest = guard.longest_prompt
    with pytest.raises(PromptTooLong) as raised:
        guard.preflight(longest + 1)
    assert str(raised.value) == (f"prompt is too long: {longest + 1} tokens > {longest} maximum")
    machine.store(80 * GIB)  # A full cache doesn't change what fits without one.
    machine.hold(running=3)
    verdict = guard.admit(prompt(longest + 1), machine.look)
    assert isinstance(verdict.error, PromptTooLong)
    assert verdict.error.maximum == longest
    assert "was refused: prompt is too long" in machine.events[-1][2]


def test_a_limit_without_room_for_prompts_says_what_to_do(machine: Machine) -> None:
    machine.other = 95 * GIB
    guard = guard_of(machine)
    with pytest.raises(Unavailable, match=r"raise memory\.limit_gb or choose a smaller") as raised:
        guard.preflight(10)
    assert raised.value.context == {"retry": False}


def test_old_prefixes_make_room(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(80 * GIB)
    machine.hold(buffers=GIB)
    need = prompt(10 * 1024 - DECODE_TOKENS)
    verdict = guard.admit(need, machine.look)
    assert verdict.kind == "relieve" and verdict.relief is not None
    assert verdict.relief.evict_to == 80 * GIB - (10 - 5 - 1) * GIB
    guard.done(verdict.relief, machine.carry_out(verdict.relief))
    assert "a prompt of 9216 tokens needs 10.0 GB" in machine.events[-1][2]
    assert guard.admit(need, machine.look, tried=1).kind == "go"


def test_its_own_prefix_and_the_pins_stay(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.store(80 * GIB, kept=30 * GIB)
    whole = 56 * 1024 - DECODE_TOKENS
    verdict = guard.admit(prompt(whole), machine.look)
    assert verdict.relief is not None and verdict.relief.evict_to == 30 * GIB
    again = guard.admit(prompt(whole, reused=31 * 1024), machine.look)
    assert again.relief is not None and again.relief.reset


def test_what_running_rows_have_still_to_read_is_taken(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.hold(running=1, ahead=60 * 1024)
    assert guard.admit(prompt(30 * 1024), machine.look).kind == "wait"
    machine.now += CHECK_SECONDS
    machine.hold(ahead=40 * 1024)
    assert guard.admit(prompt(30 * 1024), machine.look).kind == "go"


def test_waiting_is_told_once_and_costs_no_probes(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 90 * GIB
    machine.hold(running=1)
    need = prompt(20 * 1024)
    assert guard.admit(need, machine.look).kind == "wait"
    probes = machine.probes
    assert guard.admit(need, machine.look).kind == "wait"
    assert machine.probes == probes
    machine.now += CHECK_SECONDS
    assert guard.admit(need, machine.look).kind == "wait"
    assert len(machine.events) == 1
    assert machine.events[0][2].startswith("req_1 waits for a running request: a prompt of 20480")
    machine.hold(running=0)
    machine.other = 10 * GIB
    guard.request_finished(1000, 0)
    assert guard.admit(need, machine.look).kind == "go"


def test_with_nothing_left_to_free_it_refuses_for_now(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 90 * GIB
    machine.store(2 * GIB, kept=2 * GIB)
    need = prompt(20 * 1024)
    with pytest.raises(Overloaded):
        guard.preflight(need.prompt)
    verdict = guard.admit(need, machine.look)
    assert verdict.relief is not None and verdict.relief.reset
    guard.done(verdict.relief, machine.carry_out(verdict.relief))
    verdict = guard.admit(need, machine.look, tried=1)
    assert verdict.kind == "refuse" and isinstance(verdict.error, Overloaded)
    assert verdict.error.retry_after == 10
    assert str(verdict.error) == (
        "not enough memory just now: a prompt of 20480 tokens needs 21.0 GB, process 90.0 GB of "
        "100.0 GB, 150.0 GB free on the machine; close other programs, raise memory.limit_gb, or "
        "try again"
    )
    assert machine.events[-1] == ("warning", "memory", f"req_1 was refused: {verdict.error}")


def test_preflight_leaves_the_queue_to_sort_out_what_rows_hold(machine: Machine) -> None:
    guard = guard_of(machine)
    machine.other = 90 * GIB
    machine.hold(running=1)
    guard.check(machine.look, force=True)
    guard.preflight(20 * 1024)


def test_kv_that_would_go_over_the_limit_is_not_kept(machine: Machine) -> None:
    guard = guard_of(machine)
    assert guard.keep(80 * 1024, 80 * GIB, machine.look).kind == "go"
    machine.store(80 * GIB, kept=75 * GIB)
    verdict = guard.keep(10 * 1024, 10 * GIB, machine.look)
    assert verdict.relief is not None and verdict.relief.evict_to == 76 * GIB
    assert guard.keep(20 * 1024, 20 * GIB, machine.look).kind == "refuse"
    assert machine.events == [
        (
            "warning",
            "memory",
            "20480 new tokens take 20.0 GB of the prefix cache, and are not kept: process 90.0 GB "
            "of 100.0 GB, 150.0 GB free on the machine",
        )
    ]


def test_rows_seen_replace_the_estimate(machine: Machine) -> None:
    guard = guard_of(machine)
    before = guard.longest_prompt
    guard.request_finished(1000, 1000 * MIB // 2)
    assert guard.longest_prompt > 1.9 * before


def test_another_model_is_planned_for_anew(machine: Machine) -> None:
    guard = guard_of(machine)
    before = guard.longest_prompt
    machine.hold(active=40 * GIB)  # Heavier weights.
    guard.model_loaded(RowSize(MB_A_TOKEN, 2), CHUNK, machine.look)
    assert guard.longest_prompt == before - 40 * 1024
