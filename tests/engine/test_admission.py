"""Which tier an admission names."""

from __future__ import annotations

import pytest

from anyclaude.engine.admission import _tier
from anyclaude.types import Tier


@pytest.mark.parametrize(
    ("reused", "from_disk", "tier"),
    [
        (0, 0, None),
        (100, 0, Tier.KV),
        (100, 50, Tier.KV),
        (100, 51, Tier.KV_DISK),
        (100, 100, Tier.KV_DISK),
    ],
)
def test_the_tier_is_where_most_of_the_tokens_came_from(
    reused: int, from_disk: int, tier: Tier | None
) -> None:
    assert _tier(reused, from_disk) is tier
