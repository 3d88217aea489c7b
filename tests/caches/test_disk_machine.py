"""The disk tier against a plain list of what was written, through any order of events.

What it hands out is always right, byte by byte; what it was given and nobody took away is there.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anyclaude.caches.kv.disk import DiskLimits
from anyclaude.caches.kv.tree import common_prefix
from anyclaude.types import Tokens
from tests.caches.disk_kit import DAY, SECONDS, TOKEN_BYTES, Kit, blob_for, tokens_of

PROMPTS = st.builds(
    lambda names, each, cut: tokens_of(*names, each=each)[: cut or None],
    st.lists(st.integers(0, 1), min_size=1, max_size=5),
    st.sampled_from([70, 150, 600]),
    st.integers(0, 40).map(lambda n: -n),
)


class DiskMachine(RuleBasedStateMachine):
    """Writes, reads, damage, deletions, full disks, flushes and restarts in any order."""

    states = False
    limits = DiskLimits(10**9, 0)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="anyclaude-disk-"))
        self.kit = Kit(self.folder / "kv", self.limits)
        self.kit.open(states=self.states)
        self.written: list[Tokens] = []
        self.complete = True

    def teardown(self) -> None:
        self.kit.tier.close(SECONDS)
        shutil.rmtree(self.folder)

    @rule(tokens=PROMPTS, states=st.lists(st.integers(64, 3000), max_size=3))
    def save(self, tokens: Tokens, states: list[int]) -> None:
        self.kit.now += 1
        here = {p: 40 for p in states if p <= len(tokens)} if self.states else None
        self.kit.save(tokens, states=here)
        self.written.append(tokens)
        if self.complete and not self.states:
            assert self.kit.tier.match(tokens).length > len(tokens) - 64
            assert self.kit.save(tokens) == []

    @rule(tokens=PROMPTS, have=st.integers(0, 300))
    def read(self, tokens: Tokens, have: int) -> None:
        self.kit.now += 1
        match = self.kit.tier.match(tokens)
        have = min(have, match.length)
        reached = self.kit.read(tokens, have)
        best = max((common_prefix(old, tokens) for old in self.written), default=0)
        assert have <= reached <= match.length <= best
        if self.complete:
            assert reached == match.length
            assert self.states or match.length > best - 64

    @precondition(lambda self: self.written)
    @rule(which=st.integers(0, 99), place=st.integers(0, 10**6), bit=st.integers(0, 7))
    def flip_a_bit(self, which: int, place: int, bit: int) -> None:
        files = self.kit.files() + self.kit.files("state")
        if files:
            path = files[which % len(files)]
            data = bytearray(path.read_bytes())
            if data:
                data[place % len(data)] ^= 1 << bit
                path.write_bytes(data)
            self.complete = False

    @rule(which=st.integers(0, 99), how=st.sampled_from(["delete", "empty", "cut"]))
    def lose_a_file(self, which: int, how: str) -> None:
        files = self.kit.files() + self.kit.files("state")
        if files:
            path = files[which % len(files)]
            data = path.read_bytes()
            if how == "delete":
                path.unlink()
            else:
                path.write_bytes(data[: len(data) // 2 if how == "cut" else 0])
            self.complete = False

    @rule()
    def lose_the_folder(self) -> None:
        shutil.rmtree(self.folder / "kv", ignore_errors=True)
        self.complete = False

    @rule()
    def restart(self) -> None:
        self.kit.restart(states=self.states)

    @rule()
    def use_another_model(self) -> None:
        self.kit.open("other", states=self.states)
        assert all(self.kit.tier.match(tokens).length == 0 for tokens in self.written[-3:])
        self.kit.open(states=self.states)

    @rule(tokens=PROMPTS)
    def fill_the_disk(self, tokens: Tokens) -> None:
        self.kit.free = 0
        self.kit.save(tokens)
        self.kit.free = 10**12
        self.kit.now += 601

    @rule(days=st.integers(0, 1))
    def flush(self, days: int) -> None:
        self.kit.now += days * DAY
        self.kit.tier.flush().result(SECONDS)
        assert self.kit.files() == []
        self.written.clear()
        self.complete = not self.limits.writes_per_day

    @rule(tokens=PROMPTS)
    def write_and_flush_at_once(self, tokens: Tokens) -> None:
        for run in self.kit.tier.missing(tokens, token_bytes=TOKEN_BYTES):
            self.kit.tier.store(run, blob_for(run, tokens))
        self.kit.tier.flush().result(SECONDS)
        self.kit.settle()
        assert self.kit.files() == []
        self.written.clear()

    @invariant()
    def books_are_sound(self) -> None:
        self.kit.settle()
        stats = self.kit.tier.stats()
        assert stats.queued == 0
        assert stats.nbytes <= stats.limit
        if self.limits.writes_per_day:
            assert stats.written_today <= self.limits.writes_per_day
        if self.complete:
            assert stats.nbytes == sum(
                path.stat().st_size for path in self.kit.files() + self.kit.files("state")
            )
        assert list(self.folder.rglob(".writing-*")) == []
        assert not any(
            event.level == "error" for event in self.kit.events if "GB" not in event.message
        )


class StateMachine(DiskMachine):
    """The same for a model that can only begin at its snapshots."""

    states = True


class SmallMachine(DiskMachine):
    """A tier that has to delete, and may not write all day."""

    limits = DiskLimits(30_000, 60_000)

    def __init__(self) -> None:
        super().__init__()
        self.complete = False


TestDisk = DiskMachine.TestCase
TestStates = StateMachine.TestCase
TestSmall = SmallMachine.TestCase
TestDisk.settings = TestStates.settings = TestSmall.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
