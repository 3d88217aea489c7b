"""The MCP servers as the configuration has them: found, started, closed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude.config.settings import Settings
from anyclaude.events import Event

if TYPE_CHECKING:
    from anyclaude.mcp.client.hub import Hub


async def open_hub(
    settings: Settings, parts: AsyncExitStack, publish: Callable[[Event], None]
) -> Hub | None:
    """The servers whose tools run here, which ``parts`` closes; without any nothing is imported.

    Raises UsageError when the SDK isn't installed, ConfigError for a file that can't be read.
    """
    if not (settings.mcp or settings.tools.mcp_file):
        return None
    from anyclaude.mcp.client.file import servers_of
    from anyclaude.mcp.client.hub import Hub, check_installed

    check_installed()
    file = Path(settings.tools.mcp_file) if settings.tools.mcp_file else None
    hub = Hub(servers_of(dict(settings.mcp), file, os.environ), publish)
    parts.push_async_callback(hub.close)
    await hub.start()
    return hub
