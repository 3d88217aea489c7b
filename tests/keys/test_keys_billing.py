"""What rows cost, and what that does to the keys they came with."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyclaude.config.settings import BackendSettings, KeySettings, RouteSettings, Settings
from anyclaude.errors import RateLimited
from anyclaude.keys.billing import Billing, tokens_of
from anyclaude.keys.counters import DAY_S, MemoryCounters, Spent
from anyclaude.keys.limiter import Limiter
from anyclaude.keys.secret import digest
from anyclaude.records import RequestRecord

NOON = 1_700_000_000.0 - 1_700_000_000.0 % DAY_S + DAY_S / 2
PAID = BackendSettings("openai", base_url="http://127.0.0.1:1/v1", price_in=2.0, price_out=10.0)
CLAUDE = BackendSettings("anthropic", price_in=2.0, price_out=10.0)
ROUTES = (RouteSettings("*", ("paid", "claude", "mlx")),)


def billing(
    folder: Path, counters: MemoryCounters | None = None, **backends: BackendSettings
) -> Billing:
    settings = Settings(
        folder,
        folder / "x.duckdb",
        backends=(("mlx", BackendSettings()), *backends.items()),
        routes=ROUTES,
        keys=(("mine", KeySettings(digest("mine"), budget_usd=1.0)),),
    )
    return Billing.of(settings, Limiter.of(settings, counters, lambda: NOON))


def row(**values: object) -> RequestRecord:
    figures: dict[str, object] = {
        "input_tokens": 1_000_000,
        "cache_read_tokens": 1_000_000,
        "cache_creation_tokens": 1_000_000,
        "output_tokens": 100_000,
        **values,
    }
    return RequestRecord("req_1", NOON, **figures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "usd"),
    [
        ({"backend": "paid"}, 7.0),
        ({"backend": "claude"}, 2.0 + 0.2 + 2.5 + 1.0),
        ({"backend": "paid", "cache_tier": "kv"}, 7.0),
        ({"backend": "paid", "cache_tier": "response"}, 0.0),
        ({"backend": "paid", "cache_tier": "semantic"}, 0.0),
        ({"backend": "paid", "role": "count"}, 0.0),
        ({"backend": "mlx"}, 0.0),
        ({"backend": ""}, 0.0),
    ],
)
def test_what_a_row_costs(tmp_path: Path, values: dict[str, object], usd: float) -> None:
    assert billing(tmp_path, paid=PAID, claude=CLAUDE).cost(row(**values)) == pytest.approx(usd)


async def test_a_row_is_put_on_its_keys_account(tmp_path: Path) -> None:
    counters = MemoryCounters()
    bills = billing(tmp_path, counters, paid=PAID)
    await bills.settle(row(key_name="mine", cost_usd=0.25))
    await bills.settle(row(key_name="mine", cost_usd=0.25))
    await bills.settle(row(key_name="", cost_usd=5.0))
    await bills.settle(row(key_name="mine", role="count"))
    assert tokens_of(row()) == 3_100_000
    assert counters.spent("mine", NOON) == Spent(6_200_000, 0.5)
    # One that was taken back while its request ran is known again under its name.
    await bills.settle(row(key_name="gone"))
    assert counters.spent("gone", NOON) == Spent(3_100_000, 0.0)


def test_a_budget_wants_a_price(tmp_path: Path) -> None:
    told = (
        "the budget_usd of mine is never used up: no backend that a request may be sent to has a"
        " price_in or price_out"
    )
    assert billing(tmp_path, paid=PAID).warning == ""
    free = BackendSettings("openai", base_url="http://127.0.0.1:1/v1")
    assert billing(tmp_path, paid=free).warning == told
    # One that no route leads to takes nothing either.
    assert billing(tmp_path, elsewhere=PAID).warning == told


async def test_today_goes_on_from_what_was_used(tmp_path: Path) -> None:
    limits = KeySettings(digest("mine"), tokens_per_day=100)
    settings = Settings(tmp_path, tmp_path / "x.duckdb", keys=(("mine", limits),))
    resumed = Billing.resumed(settings, (("mine", 99, 0.0),), lambda: NOON).limiter
    key = resumed.named("mine")
    await resumed.check(key, "any")
    await resumed.settle(key, 1, 0.0)
    with pytest.raises(RateLimited):
        await resumed.check(key, "any")
