"""The accounts of virtual keys as the configuration has them: begun, or taken up again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anyclaude.config.settings import Settings
from anyclaude.events import SystemEvent
from anyclaude.keys.billing import Billing
from anyclaude.keys.counters import DAY_S
from anyclaude.keys.limiter import Limiter
from anyclaude.keys.shared import SharedCounters

if TYPE_CHECKING:
    from anyclaude.caches.shared.state import SharedState
    from anyclaude.logs.log import RequestLog


async def open_accounts(
    settings: Settings,
    requests: RequestLog,
    state: SharedState | None,
    *,
    report: Callable[[SystemEvent], None],
    wall: Callable[[], float],
) -> Billing:
    """The keys, with what they have used today already: by ``state`` that instances share, or by
    the log of this one."""
    now = wall()
    if state is not None:
        billing = Billing.of(settings, Limiter.of(settings, SharedCounters(state), wall))
    else:
        used = await requests.used_since(now - now % DAY_S)
        billing = Billing.resumed(settings, used, wall)
    if billing.warning:
        report(SystemEvent(now, "warning", "server", billing.warning))
    return billing
