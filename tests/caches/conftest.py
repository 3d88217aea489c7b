"""Disk tiers that are closed when the test ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anyclaude.caches.kv.disk import DiskLimits
from tests.caches.disk_kit import SECONDS, Kit, MakeKit


@pytest.fixture
def make_kit(tmp_path: Path) -> Iterator[MakeKit]:
    kits: list[Kit] = []

    def make(limits: DiskLimits | None = None, *, name: str = "model", **shape: bool) -> Kit:
        kit = Kit(tmp_path / "kv", limits)
        kits.append(kit)
        kit.open(name, **shape)
        return kit

    yield make
    for kit in kits:
        kit.tier.close(SECONDS)


@pytest.fixture
def kit(make_kit: MakeKit) -> Kit:
    return make_kit()
